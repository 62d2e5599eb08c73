/* SPDX-License-Identifier: Apache-2.0 */
/* Shrinking a layer. */
#include "disk.h"

static struct stack s;

static bool set(uint64_t cno, uint64_t owned)
{
	struct pl_store *st = pl_layer_store(s.ly[0]);
	uint64_t where, cs = pl_cluster_size(pl_layer_header(s.ly[0]));

	memset(disk_buf, 'd', cs);
	if (pl_layer_map(s.ly[0], cno, &where) < 0 ||
	    pl_store_write(st, disk_buf, cs, where * cs, 0) < 0)
		return false;
	pl_layer_touch(s.ly[0]);
	return pl_layer_own(s.ly[0], cno, owned, true) == 0;
}

static uint64_t owned(uint64_t cno)
{
	struct pl_entry e = { 0 };

	is_int(pl_layer_entry(s.ly[0], cno, &e), 0);
	return e.owned;
}

static bool shrink(uint64_t size)
{
	return stack_says(&s, pl_layer_shrink(s.ly[0], size, &s.err));
}

static bool grow(uint64_t size)
{
	return stack_says(&s, pl_layer_grow(s.ly[0], size, &s.err));
}

/* Whatever is free or not owned reads as zeros. */
static void rest_is_zeros(void)
{
	const struct pl_header *h = pl_layer_header(s.ly[0]);
	uint64_t cs = pl_cluster_size(h), c;

	while ((c = pl_layer_take_below(s.ly[0], UINT64_MAX)) != 0) {
		is_int(pl_store_read(pl_layer_store(s.ly[0]), disk_buf, cs,
				     c * cs, 0),
		       0);
		if (!ok(disk_buf[0] == 0 &&
			memcmp(disk_buf, disk_buf + 1, cs - 1) == 0))
			printf("# host cluster %llu\n", (unsigned long long)c);
	}
}

/* Data all over, the last cluster of 4 MiB and 5 blocks in part. */
static bool begin(void)
{
	return stack_one(&s, 4096, GIB) && set(0, 7) && set(16, ~0ull) &&
	       set(17, 1) && set(255, 1) && set(256, 1) && set(4095, 1);
}

#define CUT (4 * MIB + 5 * 4096)

static void is_cut(void)
{
	is_int(pl_layer_header(s.ly[0])->virtual_size, CUT);
	is_int(owned(0), 7);
	is_int(owned(16), 0x1f);
	is_int(owned(17), 0);
	is_int(pl_layer_page_count(s.ly[0]), 1);
}

pl_test("a shrunk layer keeps what is before the end, and is durable (FMT-088)")
{
	require(begin());
	ok(shrink(CUT));
	is_cut();
	stack_abandon(&s, 0);
	require(stack_open(&s, 0, 0));
	is_cut();
	stack_fini(&s);
}

pl_test("what was beyond the end is free and reads as zeros (FMT-088)")
{
	struct pl_entry e;
	uint64_t cs = MIB / 4, size;

	require(begin());
	is_int(pl_layer_clusters(s.ly[0]), 6);
	ok(shrink(CUT));
	is_int(pl_layer_clusters(s.ly[0]), 2);
	is_int(pl_layer_entry(s.ly[0], 16, &e), 0);
	is_int(pl_store_read(pl_layer_store(s.ly[0]), disk_buf, cs,
			     e.where * cs, 0),
	       0);
	ok(disk_buf[5 * 4096 - 1] == 'd' && disk_buf[5 * 4096] == 0 &&
	   memcmp(disk_buf + 5 * 4096, disk_buf + 5 * 4096 + 1,
		  cs - 5 * 4096 - 1) == 0);
	rest_is_zeros();
	ok(stack_close(&s, 0));
	require(stack_open(&s, 0, PL_LAYER_WRITE));
	ok(!pl_layer_stale(s.ly[0]));
	is_cut();
	rest_is_zeros();
	is_int(pl_store_size(pl_layer_store(s.ly[0]), &size), 0);
	stack_fini(&s);
}

pl_test("what was cut off does not come back by growing (FMT-088)")
{
	require(begin());
	ok(shrink(CUT) && grow(GIB));
	is_int(owned(16), 0x1f);
	is_int(owned(17), 0);
	is_int(owned(255), 0);
	is_int(owned(256), 0);
	is_int(owned(4095), 0);
	ok(set(4095, 2));
	ok(shrink(64 * MIB) && grow(2 * GIB) && shrink(32 * MIB));
	ok(stack_close(&s, 0));
	require(stack_open(&s, 0, PL_LAYER_WRITE));
	is_int(owned(16), 0x1f);
	ok(grow(GIB));
	is_int(owned(4095), 0);
	rest_is_zeros();
	stack_fini(&s);
}

pl_test("shrinking may fail anywhere: old or new size, nothing lost (FMT-088)")
{
	uint64_t size;
	bool fired = true;

	for (int64_t n = 1; fired && n < 200; n++) {
		require(begin());
		is_int(pl_layer_flush(s.ly[0]), 0);
		s.spy[0].fail_in = n;
		fired = pl_layer_shrink(s.ly[0], CUT, &s.err) < 0;
		fired = fired || s.spy[0].failing;
		stack_abandon(&s, 0);
		require(stack_open(&s, 0, PL_LAYER_WRITE));
		size = pl_layer_header(s.ly[0])->virtual_size;
		ok(size == CUT || (fired && size == GIB));
		if (size == GIB)
			ok(owned(4095) == 1 && owned(16) == ~0ull &&
			   owned(256) == 1 && owned(255) == 1);
		ok(shrink(CUT));
		is_cut();
		ok(stack_close(&s, 0));
		require(stack_open(&s, 0, PL_LAYER_WRITE));
		is_cut();
		rest_is_zeros();
		stack_fini(&s);
	}
	ok(!fired);
}

int main(void)
{
	return pl_tap_main();
}
