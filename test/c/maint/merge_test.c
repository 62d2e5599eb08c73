/* SPDX-License-Identifier: Apache-2.0 */
/* Merging a layer into the one above it. */
#include "three.h"

/* The top has 30-34 'c', 60-64 'c', 400 'c'; all are closed. */
static bool prepared(void)
{
	return three_layers() && put(ch, 30, 5, 'c') == 0 &&
	       put(ch, 60, 5, 'c') == 0 && put(ch, 400, 1, 'c') == 0 &&
	       pl_chain_close(ch, &s.err) == 0;
}

static bool shows(struct pl_chain *chain)
{
	static const struct run want[] = { { 0, 20, 'a' },   { 20, 10, 'b' },
					   { 30, 5, 'c' },   { 35, 5, 'b' },
					   { 40, 10, 'a' },  { 50, 10, 0 },
					   { 60, 5, 'c' },   { 65, 15, 0 },
					   { 80, 120, 'a' }, { 200, 100, 0 },
					   { 300, 10, 'b' }, { 310, 90, 0 },
					   { 400, 1, 'c' },  { 401, 900, 0 } };

	return shows_runs(chain, want, sizeof(want) / sizeof(want[0]));
}

/* Merges the middle into the top; the top stays open as s.ly[2]. */
static int merge(const struct pl_maint_progress *progress)
{
	int rc;

	if (!stack_open(&s, 1, 0) ||
	    !stack_open(&s, 2, PL_LAYER_WRITE | PL_LAYER_MAINTAIN))
		return -EINVAL;
	rc = pl_merge_up(s.ly[2], s.ly[1], NULL, 1, progress);
	stack_abandon(&s, 1);
	return rc;
}

/* Base and top alone, without the middle. */
static bool shows_without_middle(void)
{
	struct pl_uuid base = stack_uuid(0);
	struct pl_layer *two[2];
	bool fine;

	is_int(pl_layer_set_parent(s.ly[2], &base), 0);
	if (!stack_close(&s, 2) || !stack_open(&s, 0, 0) ||
	    !stack_open(&s, 2, PL_LAYER_WRITE))
		return false;
	two[0] = s.ly[0];
	two[1] = s.ly[2];
	s.ly[0] = s.ly[2] = NULL;
	if (pl_chain_new(&ch, two, 2, &s.err) < 0)
		return false;
	fine = shows(ch);
	pl_chain_abandon(ch);
	return fine;
}

pl_test("the child alone says what both said (FMT-084)")
{
	require(prepared());
	is_int(merge(NULL), 0);
	ok(shows_without_middle());
	stack_fini(&s);
}

pl_test("what the parent owns as zeros takes no host space")
{
	struct pl_entry e;

	require(prepared());
	is_int(merge(NULL), 0);
	is_int(pl_layer_entry(s.ly[2], 0, &e), 0);
	ok(e.owned >> 50 == (1 << 14) - 1);
	is_int(pl_layer_entry(s.ly[2], 2, &e), 0);
	is_int(e.where, 0);
	stack_fini(&s);
}

pl_test("the chain shows the same with the merge half done, and done")
{
	bool fired = true;

	for (int64_t n = 1; fired && n < 100; n++) {
		require(prepared());
		require(stack_open(&s, 1, 0) &&
			stack_open(&s, 2, PL_LAYER_WRITE));
		s.spy[2].fail_in = n;
		fired = pl_merge_up(s.ly[2], s.ly[1], NULL, 1, NULL) < 0;
		stack_abandon(&s, 1);
		stack_abandon(&s, 2);
		ch = stack_chain(&s);
		require(ch);
		if (!ok(shows(ch)))
			printf("# operation %lld failed\n", (long long)n);
		pl_chain_abandon(ch);
		is_int(merge(NULL), 0); /* and once more */
		ok(shows_without_middle());
		stack_fini(&s);
	}
	ok(!fired);
}

pl_test("what a failed merge wrote is not shown by a discard (FMT-080)")
{
	bool fired = true;

	for (int64_t n = 1; fired && n < 100; n++) {
		require(prepared());
		require(stack_open(&s, 1, 0) &&
			stack_open(&s, 2, PL_LAYER_WRITE));
		s.spy[2].fail_errno = ENOSPC;
		s.spy[2].fail_in = n;
		fired = pl_merge_up(s.ly[2], s.ly[1], NULL, 1, NULL) < 0;
		s.spy[2].failing = false;
		s.spy[2].fail_in = 0;
		stack_abandon(&s, 1);
		pl_layer_close(s.ly[2], NULL);
		s.ly[2] = NULL;
		ch = stack_chain(&s);
		require(ch);
		is_int(put(ch, 0, 1, 'd'), 0);
		is_int(put(ch, 255, 1, 'd'), 0);
		is_int(put(ch, 319, 1, 'd'), 0);
		is_int(pl_chain_discard(ch, 254 * 4096, 4096), 0);
		is_int(pl_chain_discard(ch, 63 * 4096, 256 * 4096), 0);
		ok(holds(ch, 1, 254, 0) && holds(ch, 256, 63, 0));
		pl_chain_abandon(ch);
		stack_fini(&s);
	}
	ok(!fired);
}

static bool stop(void *arg, uint64_t done, uint64_t total)
{
	ok(done <= total && total > 0);
	return --*(unsigned *)arg > 0;
}

pl_test("it can be stopped, and changes nothing that shows")
{
	unsigned left = 1;
	struct pl_maint_progress p = { .fn = stop, .arg = &left };

	require(prepared());
	is_int(merge(&p), -ECANCELED);
	ok(stack_close(&s, 2));
	ch = stack_chain(&s);
	require(ch);
	ok(shows(ch));
	pl_chain_abandon(ch);
	stack_fini(&s);
}

pl_test("what the parent says beyond the child's end is left out (FMT-061)")
{
	require(stack_init(&s, 4096) && stack_add(&s, GIB));
	ch = stack_chain(&s);
	require(ch && put(ch, 0, 200, 'a') == 0);
	is_int(put(ch, 100000, 10, 'a'), 0);
	ch = disk_snapshot(&s, ch, 100 * 4096);
	require(ch && put(ch, 5, 1, 'b') == 0);
	is_int(pl_chain_close(ch, &s.err), 0);
	require(stack_open(&s, 0, 0) && stack_open(&s, 1, PL_LAYER_WRITE));
	is_int(pl_merge_up(s.ly[1], s.ly[0], NULL, 1, NULL), 0);
	ok(stack_close(&s, 1));
	stack_abandon(&s, 0);
	ch = stack_chain(&s);
	require(ch);
	ok(holds(ch, 0, 5, 'a') && holds(ch, 5, 1, 'b'));
	ok(holds(ch, 6, 94, 'a'));
	pl_chain_abandon(ch);
	stack_fini(&s);
}

int main(void)
{
	return pl_tap_main();
}
