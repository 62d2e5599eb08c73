/* SPDX-License-Identifier: Apache-2.0 */
/* Growing, with and without moving the directory. */
#include "entries.h"

#define TIB (1024ull * GIB)

static bool grow(uint64_t size)
{
	return stack_says(&s, pl_layer_grow(s.ly[0], size, &s.err));
}

pl_test("a grown layer has what it had, and nothing in the new part")
{
	require(stack_one(&s, 4096, 10 * MIB + 4096));
	ok(set(0, 1) && set(40, 1));
	ok(grow(GIB));
	is_int(pl_layer_header(s.ly[0])->virtual_size, GIB);
	is_int(owned(0), 1);
	is_int(owned(40), 1);
	is_int(owned(4095), 0);
	ok(set(40, 0x8000) && set(4095, ~0ull));
	ok(stack_close(&s, 0));
	require(stack_open(&s, 0, 0));
	is_int(owned(40), 0x8000);
	ok(owned(4095) == ~0ull);
	stack_fini(&s);
}

pl_test("the new size is durable when grow returns (FMT-079)")
{
	require(stack_one(&s, 4096, MIB));
	ok(set(0, 1));
	ok(grow(2 * MIB));
	stack_abandon(&s, 0);
	require(stack_open(&s, 0, 0));
	is_int(pl_layer_header(s.ly[0])->virtual_size, 2 * MIB);
	is_int(owned(0), 1);
	stack_fini(&s);
}

pl_test("growing may fail anywhere: old or new size, nothing lost (FMT-079)")
{
	uint64_t size;
	bool fired = true;

	for (int64_t n = 1; fired && n < 200; n++) {
		require(stack_one(&s, 4096, TIB / 2));
		ok(set(0, 1) && set(2000000, 2));
		is_int(pl_layer_flush(s.ly[0]), 0);
		s.spy[0].fail_in = n;
		fired = pl_layer_grow(s.ly[0], 2 * TIB, &s.err) < 0;
		stack_abandon(&s, 0);
		require(stack_open(&s, 0, PL_LAYER_WRITE));
		size = pl_layer_header(s.ly[0])->virtual_size;
		ok(size == 2 * TIB || (fired && size == TIB / 2));
		is_int(owned(0), 1);
		is_int(owned(2000000), 2);
		ok(grow(2 * TIB) && set(8000000, 3));
		ok(stack_close(&s, 0));
		require(stack_open(&s, 0, 0));
		is_int(owned(8000000), 3);
		stack_fini(&s);
	}
	ok(!fired);
}

pl_test("a directory that gets too small moves to host clusters (FMT-079)")
{
	const struct pl_header *h;

	require(stack_one(&s, 4096, TIB / 2));
	ok(set(0, 1) && set(2000000, 2));
	ok(grow(2 * TIB));
	h = pl_layer_header(s.ly[0]);
	ok(h->dir_off >= h->first_cluster * pl_cluster_size(h));
	ok(h->dir_pages >= pl_dir_page_count(h));
	ok(set(8000000, 3));
	is_int(pl_layer_flush(s.ly[0]), 0);
	stack_abandon(&s, 0);
	require(stack_open(&s, 0, PL_LAYER_WRITE));
	is_int(owned(0), 1);
	is_int(owned(2000000), 2);
	is_int(owned(8000000), 3);
	ok(stack_close(&s, 0));
	require(stack_open(&s, 0, PL_LAYER_WRITE));
	is_int(owned(8000000), 3);
	stack_fini(&s);
}

/* Takes every free host cluster there is, and looks whether it is zeros. */
static void free_clusters_are_zeros(void)
{
	const struct pl_header *h = pl_layer_header(s.ly[0]);
	uint64_t cs = pl_cluster_size(h), c;
	char *buf = malloc(cs);

	while ((c = pl_layer_take_below(s.ly[0], UINT64_MAX)) != 0) {
		is_int(pl_store_read(pl_layer_store(s.ly[0]), buf, cs, c * cs,
				     0),
		       0);
		if (!ok(buf[0] == 0 && memcmp(buf, buf + 1, cs - 1) == 0))
			printf("# host cluster %llu\n", (unsigned long long)c);
	}
	free(buf);
}

pl_test("where the directory was is free and reads as zeros (FMT-079)")
{
	require(stack_one(&s, 4096, TIB / 2));
	ok(set(0, 1));
	ok(grow(3 * TIB / 2)); /* to host clusters */
	ok(set(1, 1) && set(6000000, 1));
	ok(grow(4 * TIB)); /* and on from there */
	ok(set(2, 1) && set(15000000, 1));
	ok(stack_close(&s, 0));
	require(stack_open(&s, 0, PL_LAYER_WRITE));
	is_int(owned(0), 1);
	is_int(owned(6000000), 1);
	is_int(owned(15000000), 1);
	free_clusters_are_zeros();
	stack_fini(&s);
}

pl_test("so is the place of a directory that was not needed (FMT-053)")
{
	uint64_t where;
	bool fired = true;

	for (int64_t n = 1; fired && n < 200; n++) {
		require(stack_one(&s, 4096, TIB / 2));
		ok(set(0, 1));
		s.spy[0].fail_errno = ENOSPC;
		s.spy[0].fail_in = n;
		fired = pl_layer_grow(s.ly[0], 2 * TIB, &s.err) < 0;
		s.spy[0].failing = false;
		s.spy[0].fail_in = 0;
		pl_layer_map(s.ly[0], 1, &where); /* holds the file's end */
		if (pl_layer_close(s.ly[0], NULL) < 0)
			fired = true; /* a sync failed: opens by replay */
		s.ly[0] = NULL;
		require(stack_open(&s, 0, PL_LAYER_WRITE));
		is_int(owned(0), 1);
		free_clusters_are_zeros();
		stack_fini(&s);
	}
	ok(!fired);
}

int main(void)
{
	return pl_tap_main();
}
