/* SPDX-License-Identifier: Apache-2.0 */
/* Merging a layer into the one below it. */
#include "three.h"

/* The top has 25 'c', 60 'c'; all are closed. */
static bool prepared(void)
{
	return three_layers() && put(ch, 25, 1, 'c') == 0 &&
	       put(ch, 60, 1, 'c') == 0 && pl_chain_close(ch, &s.err) == 0;
}

static bool shows(struct pl_chain *chain)
{
	static const struct run want[] = { { 0, 20, 'a' },   { 20, 5, 'b' },
					   { 25, 1, 'c' },   { 26, 14, 'b' },
					   { 40, 10, 'a' },  { 50, 10, 0 },
					   { 60, 1, 'c' },   { 61, 19, 0 },
					   { 80, 120, 'a' }, { 200, 100, 0 },
					   { 300, 10, 'b' }, { 310, 90, 0 } };

	return shows_runs(chain, want, sizeof(want) / sizeof(want[0]));
}

static bool open_both(void)
{
	return stack_open(&s, 0, PL_LAYER_WRITE | PL_LAYER_MAINTAIN) &&
	       stack_open(&s, 1, PL_LAYER_WRITE | PL_LAYER_MAINTAIN);
}

static bool chain_shows(void)
{
	bool fine;

	ch = stack_chain(&s);
	fine = ch && shows(ch);
	pl_chain_abandon(ch);
	return fine;
}

pl_test("the parent takes over, and the child owns nothing (FMT-085)")
{
	struct pl_merge_cost cost;
	struct pl_layer_count count;

	require(prepared() && open_both());
	is_int(pl_merge_cost(s.ly[1], s.ly[0], &cost), 0);
	is_int(cost.down, (30 + 14) * 4096); /* zeros beside data count */
	is_int(cost.up, (200 - 20 - 30) * 4096);
	is_int(pl_merge_down(s.ly[1], s.ly[0], NULL, cost.down, NULL), 0);
	is_int(pl_layer_count(s.ly[1], &count), 0);
	is_int(count.clusters, 0);
	is_int(count.owned, 0);
	ok(stack_close(&s, 0) && stack_close(&s, 1));
	ok(chain_shows());
	stack_fini(&s);
}

pl_test("what was in the child gives its host space back")
{
	uint64_t before, after;

	require(prepared() && open_both());
	is_int(pl_store_usage(pl_layer_store(s.ly[1]), &before), 0);
	is_int(pl_merge_down(s.ly[1], s.ly[0], NULL, 0, NULL), 0);
	is_int(pl_store_usage(pl_layer_store(s.ly[1]), &after), 0);
	ok(after + 30 * 4096 <= before + 8192); /* its journal */
	stack_fini(&s);
}

pl_test("the chain shows the same wherever it fails, and goes on (FMT-085)")
{
	bool fired = true;

	for (int64_t n = 1; fired && n < 200; n++) {
		require(prepared() && open_both());
		s.spy[n % 2].fail_in = n / 2 + 1;
		fired = pl_merge_down(s.ly[1], s.ly[0], NULL, 0, NULL) < 0;
		stack_abandon(&s, 0);
		stack_abandon(&s, 1);
		if (!ok(chain_shows()))
			printf("# operation %lld failed\n", (long long)n);
		require(open_both());
		is_int(pl_merge_down(s.ly[1], s.ly[0], NULL, 0, NULL), 0);
		ok(stack_close(&s, 0) && stack_close(&s, 1) && chain_shows());
		stack_fini(&s);
	}
	ok(!fired);
}

static bool stop(void *arg, uint64_t done, uint64_t total)
{
	ok(done <= total);
	return --*(unsigned *)arg > 0;
}

pl_test("what has moved does not move again after an interruption")
{
	unsigned left = 2;
	struct pl_maint_progress p = { .fn = stop, .arg = &left };
	uint64_t moved;

	require(prepared() && open_both());
	is_int(pl_merge_down(s.ly[1], s.ly[0], NULL, 0, &p), -ECANCELED);
	disk_forget_counts(&s);
	is_int(pl_merge_down(s.ly[1], s.ly[0], NULL, 0, NULL), 0);
	moved = s.spy[0].n.data_bytes;
	ok(moved > 0 && moved < 30 * 4096);
	ok(stack_close(&s, 0) && stack_close(&s, 1) && chain_shows());
	stack_fini(&s);
}

int main(void)
{
	return pl_tap_main();
}
