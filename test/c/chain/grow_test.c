/* SPDX-License-Identifier: Apache-2.0 */
/* A disk that grows over a layer which is larger than the disk was. */
#include "disk.h"

static struct stack s;

/* A base with data up to 1 GiB under a layer of 20 blocks. */
static struct pl_chain *small_over_large(void)
{
	struct pl_chain *ch;

	if (!stack_init(&s, 4096) || !stack_add(&s, GIB))
		return NULL;
	ch = stack_chain(&s);
	if (!ch || put(ch, 0, 200, 'b') < 0 || put(ch, 20000, 4, 'b') < 0 ||
	    put(ch, 262143, 1, 'b') < 0)
		return NULL;
	ch = disk_snapshot(&s, ch, GIB);
	if (!ch || put(ch, 10, 100, 't') < 0 || put(ch, 30000, 1, 't') < 0 ||
	    !stack_says(&s, pl_chain_shrink(ch, 20 * 4096, &s.err)))
		return NULL;
	return ch;
}

static void is_grown(struct pl_chain *ch)
{
	ok(holds(ch, 0, 10, 'b') && holds(ch, 10, 10, 't'));
	ok(holds(ch, 20, 180, 0) && holds(ch, 20000, 4, 0));
	ok(holds(ch, 30000, 1, 0) && holds(ch, 262143, 1, 0));
}

pl_test("growing over a larger layer shows zeros, not what it holds (FMT-089)")
{
	struct pl_chain *ch = small_over_large();

	require(ch != NULL);
	ok(holds(ch, 0, 10, 'b') && holds(ch, 10, 10, 't'));
	ok(stack_says(&s, pl_chain_grow(ch, GIB, &s.err)));
	is_grown(ch);
	ch = disk_reopen(&s, ch, true);
	require(ch != NULL);
	is_grown(ch);
	is_int(put(ch, 20000, 1, 'n'), 0);
	is_int(pl_chain_discard(ch, 4096, 20000 * 4096), 0);
	is_grown(ch);
	is_int(pl_chain_close(ch, &s.err), 0);
	stack_fini(&s);
}

pl_test("it may fail anywhere: the new size comes with its zeros (FMT-089)")
{
	struct pl_chain *ch;
	bool fired = true;

	for (int64_t n = 1; fired && n < 200; n++) {
		ch = small_over_large();
		require(ch != NULL);
		s.spy[1].fail_in = n;
		pl_chain_grow(ch, GIB, &s.err);
		fired = s.spy[1].failing;
		ch = disk_reopen(&s, ch, true);
		require(ch != NULL);
		if (pl_chain_size(ch) != GIB)
			ok(fired && pl_chain_size(ch) == 20 * 4096 &&
			   stack_says(&s, pl_chain_grow(ch, GIB, &s.err)));
		is_grown(ch);
		is_int(pl_chain_close(ch, &s.err), 0);
		stack_fini(&s);
	}
	ok(!fired);
}

int main(void)
{
	return pl_tap_main();
}
