/* SPDX-License-Identifier: Apache-2.0 */
/* Request memory: aligned, populated beforehand, bounded, given back. */
#include <sys/mman.h>

#include "export/fuse/fuse_buf.h"
#include "export/fuse/fuse_wire.h"
#include "tap.h"

#define MIB (1u << 20)

static struct pl_fuse_pool *new_pool(size_t max_bytes)
{
	struct pl_fuse_pool *pool = NULL;
	struct pl_err err;

	is_int(pl_fuse_pool_new(&pool, max_bytes, &err), 0);
	return pool;
}

/* Are all pages of a place, head included, in memory? */
static bool populated(const uint8_t *data)
{
	unsigned char pages[PL_FUSE_DATA_MAX / 4096 + 1];

	if (mincore((void *)(uintptr_t)(data - 4096), sizeof(pages) * 4096,
		    pages) < 0)
		return false;
	for (size_t i = 0; i < sizeof(pages); i++)
		if (!(pages[i] & 1))
			return false;
	return true;
}

pl_test("every place is page-aligned and has all its pages")
{
	struct pl_fuse_pool *pool = new_pool(8 * MIB);
	uint8_t *at;

	for (int i = 0; i < 300; i++) {
		at = pl_fuse_pool_next(pool);
		require(at);
		is_int((uintptr_t)at % 4096, 0);
		ok(populated(at));
		pl_fuse_pool_keep(pool, (size_t)(i % 3) * 4096);
	}
	pl_fuse_pool_free(pool);
}

pl_test("kept places do not overlap")
{
	struct pl_fuse_pool *pool = new_pool(8 * MIB);
	uint8_t *at[64];

	for (int i = 0; i < 64; i++) {
		at[i] = pl_fuse_pool_next(pool);
		require(at[i]);
		memset(at[i] - PL_FUSE_WRITE_HEAD, i,
		       PL_FUSE_WRITE_HEAD + 5000);
		pl_fuse_pool_keep(pool, 5000);
	}
	for (int i = 0; i < 64; i++)
		for (int n = -(int)PL_FUSE_WRITE_HEAD; n < 5000; n++)
			if (at[i][n] != i) {
				ok(false);
				return;
			}
	pl_fuse_pool_free(pool);
}

pl_test("small requests, however many in a row, go round in a few pages")
{
	struct pl_fuse_pool *pool = new_pool(64 * MIB);
	unsigned chunk[32];

	for (unsigned i = 0; i < 20000; i++) {
		if (i >= 32)
			pl_fuse_pool_release(pool, chunk[i % 32]);
		require(pl_fuse_pool_next(pool));
		chunk[i % 32] = pl_fuse_pool_keep(pool, 4096);
	}
	ok(pl_fuse_pool_resident(pool) < 4 * MIB);
	printf("# %zu KiB\n", pl_fuse_pool_resident(pool) / 1024);
	pl_fuse_pool_free(pool);
}

pl_test("never takes more than its bound, and goes on after a release")
{
	struct pl_fuse_pool *pool = new_pool(8 * MIB);
	unsigned chunk[16];
	int n = 0;

	while (n < 16 && pl_fuse_pool_next(pool))
		chunk[n++] = pl_fuse_pool_keep(pool, MIB);
	is_int(n, 4);
	ok(pl_fuse_pool_resident(pool) <= 8 * MIB);
	pl_fuse_pool_release(pool, chunk[2]);
	ok(pl_fuse_pool_next(pool) != NULL);
	pl_fuse_pool_free(pool);
}

pl_test("an idle pool keeps 64 KiB, and has a whole place when it is wanted")
{
	struct pl_fuse_pool *pool = new_pool(64 * MIB);
	unsigned chunk[16];

	for (int i = 0; i < 16; i++) {
		require(pl_fuse_pool_next(pool));
		chunk[i] = pl_fuse_pool_keep(pool, MIB);
	}
	for (int i = 0; i < 16; i++)
		pl_fuse_pool_release(pool, chunk[i]);
	ok(pl_fuse_pool_resident(pool) > 15 * MIB);
	pl_fuse_pool_shrink(pool);
	is_int(pl_fuse_pool_resident(pool), 64 << 10);
	ok(populated(pl_fuse_pool_next(pool)));
	is_int(pl_fuse_pool_resident(pool), MIB + 4096);
	pl_fuse_pool_free(pool);
}

/* Keeps and releases n requests of len bytes, one at a time. */
static void use(struct pl_fuse_pool *pool, int n, size_t len)
{
	for (int i = 0; i < n; i++) {
		require(pl_fuse_pool_next(pool));
		pl_fuse_pool_release(pool, pl_fuse_pool_keep(pool, len));
	}
}

pl_test("long requests get chunks of their own, until it is quiet")
{
	struct pl_fuse_pool *pool = new_pool(64 * MIB);
	uint8_t *small, *large;

	use(pool, 10000, 4096);
	small = pl_fuse_pool_next(pool);
	is_int(pl_fuse_pool_resident(pool), MIB + 4096);
	use(pool, 8, MIB / 2);
	large = pl_fuse_pool_next(pool);
	require(large);
	ok(large != small);
	is_int((uintptr_t)large % (2 * MIB), 4096);
	is_int(pl_fuse_pool_resident(pool), 3 * MIB + 4096);
	pl_fuse_pool_shrink(pool);
	ok(pl_fuse_pool_next(pool) == small);
	pl_fuse_pool_free(pool);
}

int main(void)
{
	return pl_tap_main();
}
