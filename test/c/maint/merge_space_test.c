/* SPDX-License-Identifier: Apache-2.0 */
/* What a merge costs the host. */
#include "disk.h"
#include "maint/maint.h"

static struct stack s;

pl_test("data of zeros becomes holes")
{
	struct pl_chain *ch;
	uint64_t before, after;

	require(stack_init(&s, 4096) && stack_add(&s, GIB));
	ch = stack_chain(&s);
	require(ch && put(ch, 0, 64, 0) == 0);
	ch = disk_snapshot(&s, ch, GIB);
	require(ch && put(ch, 3, 1, 'x') == 0 && put(ch, 200, 1, 'x') == 0);
	is_int(pl_chain_close(ch, &s.err), 0);
	require(stack_open(&s, 0, 0) && stack_open(&s, 1, PL_LAYER_WRITE));
	is_int(pl_store_usage(pl_layer_store(s.ly[1]), &before), 0);
	is_int(pl_merge_up(s.ly[1], s.ly[0], NULL, 1, NULL), 0);
	is_int(pl_store_usage(pl_layer_store(s.ly[1]), &after), 0);
	ok(after <= before + 8192); /* its journal */
	stack_fini(&s);
}

pl_test("what the child has already is not copied")
{
	struct pl_chain *ch;

	require(stack_init(&s, 4096) && stack_add(&s, GIB));
	ch = stack_chain(&s);
	require(ch && put(ch, 0, 2000, 'a') == 0);
	ch = disk_snapshot(&s, ch, GIB);
	require(ch && put(ch, 0, 1990, 'b') == 0);
	is_int(pl_chain_close(ch, &s.err), 0);
	require(stack_open(&s, 0, 0) && stack_open(&s, 1, PL_LAYER_WRITE));
	disk_forget_counts(&s);
	is_int(pl_merge_up(s.ly[1], s.ly[0], NULL, 1, NULL), 0);
	is_int(s.spy[1].n.data_bytes, 10 * 4096);
	is_int(s.spy[0].n.data_reads, 1);
	stack_fini(&s);
}

int main(void)
{
	return pl_tap_main();
}
