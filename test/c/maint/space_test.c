/* SPDX-License-Identifier: Apache-2.0 */
/* Counting what a layer holds from its map. */
#include "disk.h"
#include "maint/maint.h"

static struct stack s;
static struct pl_chain *ch;

static bool begin(void)
{
	return stack_init(&s, 4096) && stack_add(&s, 1 * GIB) &&
	       (ch = stack_chain(&s));
}

static void finish(void)
{
	pl_chain_abandon(ch);
	stack_fini(&s);
}

pl_test("tells how full clusters are: an eighth is 8 of 64 blocks")
{
	static const unsigned blocks[] = { 1, 8, 9, 32, 33, 57, 63, 64 };
	static const uint64_t full[PL_FULLNESS] = { 2, 1, 0, 1, 1, 0, 0, 3 };
	struct pl_layer_count count;

	require(begin());
	for (unsigned i = 0; i < 8; i++)
		is_int(put(ch, i * 64, blocks[i], 'a'), 0);
	is_int(pl_layer_count(pl_chain_top(ch), &count), 0);
	is_int(count.clusters, 8);
	is_int(count.data, 1 + 8 + 9 + 32 + 33 + 57 + 63 + 64);
	is_int(count.owned, count.data);
	for (unsigned i = 0; i < PL_FULLNESS; i++)
		is_int(count.full[i], full[i]);
	finish();
}

pl_test("zeros that hide a layer below are owned, but no data")
{
	struct pl_layer_count count;

	require(begin());
	is_int(put(ch, 0, 64, 'a'), 0);
	require((ch = disk_snapshot(&s, ch, 1 * GIB)) != NULL);
	is_int(pl_chain_discard(ch, 64 * 4096, 0), 0);
	is_int(pl_layer_count(pl_chain_top(ch), &count), 0);
	is_int(count.owned, 64);
	is_int(count.data, 0);
	is_int(count.clusters, 0);
	finish();
}

int main(void)
{
	return pl_tap_main();
}
