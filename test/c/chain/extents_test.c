/* SPDX-License-Identifier: Apache-2.0 */
/* Extents: who owns what, in the fewest runs, covering the range exactly. */
#include "disk.h"

#define MOST 64

static struct stack s;
static struct pl_chain *ch;
static struct pl_chain_extent got[MOST];
static unsigned n, stop_at;

static bool note(void *arg, const struct pl_chain_extent *e)
{
	(void)arg;
	if (n < MOST)
		got[n] = *e;
	return ++n != stop_at;
}

static bool extents(uint64_t off, uint64_t len)
{
	n = 0;
	return pl_chain_extents(ch, off, len, note, NULL) == 0 && n <= MOST;
}

static bool two(void)
{
	ch = disk_over_base(&s);
	return ch != NULL;
}

static void finish(void)
{
	pl_chain_abandon(ch);
	stack_fini(&s);
	stop_at = 0;
}

static void is_extent(unsigned i, uint64_t off, uint64_t len, int layer,
		      bool data)
{
	if (i >= n) {
		ok(!"an extent");
		return;
	}
	is_int(got[i].off, off * 4096);
	is_int(got[i].len, len * 4096);
	ok(got[i].layer ==
	   (layer < 0 ? NULL : pl_chain_layer(ch, (unsigned)layer)));
	ok((got[i].host_off != UINT64_MAX) == data);
}

pl_test("an empty disk is one extent that nobody owns")
{
	require(stack_init(&s, 4096) && stack_add(&s, GIB));
	ch = stack_chain(&s);
	require(ch && extents(0, UINT64_MAX));
	is_int(n, 1);
	is_extent(0, 0, GIB / 4096, -1, false);
	finish();
}

pl_test("neighbours of one layer are merged, also over clusters")
{
	require(two() && extents(0, GIB));
	is_int(n, 2);
	is_extent(0, 0, 200, 0, true);
	is_extent(1, 200, GIB / 4096 - 200, -1, false);
	finish();
}

pl_test("tells layers, zeros and what nobody owns apart (FMT-060)")
{
	require(two());
	is_int(put(ch, 10, 5, 'b'), 0);
	is_int(pl_chain_discard(ch, 64 * 4096, 64 * 4096), 0);
	is_int(put(ch, 300, 1, 'b'), 0);
	require(extents(0, GIB));
	is_int(n, 8);
	is_extent(0, 0, 10, 0, true);
	is_extent(1, 10, 5, 1, true);
	is_extent(2, 15, 49, 0, true);
	is_extent(3, 64, 64, 1, false);
	is_extent(4, 128, 72, 0, true);
	is_extent(5, 200, 100, -1, false);
	is_extent(6, 300, 1, 1, true);
	is_extent(7, 301, GIB / 4096 - 301, -1, false);
	finish();
}

pl_test("says where in the layer's file the data is (FMT-020)")
{
	require(two());
	is_int(put(ch, 130, 2, 'b'), 0);
	require(extents(130 * 4096, 2 * 4096));
	is_int(n, 1);
	require(got[0].host_off != UINT64_MAX);
	is_int(pl_store_read(pl_layer_store(got[0].layer), disk_buf, 8192,
			     got[0].host_off, 0),
	       0);
	is_int(disk_buf[0], 'b');
	is_int(disk_buf[8191], 'b');
	finish();
}

pl_test("covers just the range that was asked for, cut at the disk's end")
{
	require(two() && extents(50 * 4096, 7 * 4096));
	is_int(n, 1);
	is_extent(0, 50, 7, 0, true);
	require(extents(195 * 4096, 10 * 4096));
	is_int(n, 2);
	is_extent(0, 195, 5, 0, true);
	is_extent(1, 200, 5, -1, false);
	require(extents(GIB - 4096, 4 * GIB));
	is_int(n, 1);
	is_int(got[0].len, 4096);
	require(extents(GIB, 4096));
	is_int(n, 0);
	is_int(pl_chain_extents(ch, 512, 4096, note, NULL), -EINVAL);
	is_int(pl_chain_extents(ch, 4096, UINT64_MAX, note, NULL), -EINVAL);
	finish();
}

pl_test("stops when it is told to")
{
	require(two());
	is_int(put(ch, 10, 5, 'b'), 0);
	stop_at = 2;
	require(extents(0, GIB));
	is_int(n, 2);
	finish();
}

int main(void)
{
	return pl_tap_main();
}
