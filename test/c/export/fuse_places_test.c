/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of ring entries: ready for small requests, bounded, given back. */
#include <sys/mman.h>

#include "export/fuse/fuse_places.h"
#include "export/fuse/fuse_wire.h"
#include "tap.h"

#define PLACES 12u
#define MIB (1u << 20)

static struct pl_fuse_places *new_places(void)
{
	struct pl_fuse_places *p = NULL;
	struct pl_err err;

	is_int(pl_fuse_places_new(&p, PLACES, &err), 0);
	return p;
}

static bool has_page(const uint8_t *at)
{
	unsigned char page = 0;

	return mincore((void *)(uintptr_t)at, 4096, &page) == 0 && page & 1;
}

pl_test("each place has its first page, is aligned, and is its own")
{
	struct pl_fuse_places *p = new_places();

	for (unsigned i = 0; i < PLACES; i++) {
		is_int((uintptr_t)pl_fuse_places_at(p, i) % (2 * MIB), 0);
		ok(has_page(pl_fuse_places_at(p, i)));
		ok(!has_page(pl_fuse_places_at(p, i) + 4096));
		memset(pl_fuse_places_at(p, i), (int)i, PL_FUSE_DATA_MAX);
	}
	for (unsigned i = 0; i < PLACES; i++)
		is_int(pl_fuse_places_at(p, i)[PL_FUSE_DATA_MAX - 1], i);
	pl_fuse_places_free(p);
}

pl_test("counts what is used, and an idle place keeps one page")
{
	struct pl_fuse_places *p = new_places();
	size_t idle = pl_fuse_places_resident(p);

	is_int(idle, PLACES * 4096);
	pl_fuse_places_use(p, 3, 5000);
	is_int(pl_fuse_places_resident(p), idle + 4096);
	pl_fuse_places_use(p, 3, 100);
	is_int(pl_fuse_places_resident(p), idle + 4096);
	memset(pl_fuse_places_at(p, 3), 1, 8192);
	pl_fuse_places_shrink(p, 3);
	is_int(pl_fuse_places_resident(p), idle);
	ok(has_page(pl_fuse_places_at(p, 3)));
	ok(!has_page(pl_fuse_places_at(p, 3) + 4096));
	pl_fuse_places_free(p);
}

pl_test("few places are huge at a time, and can be small again")
{
	struct pl_fuse_places *p = new_places();
	size_t idle = pl_fuse_places_resident(p);
	unsigned n = 0;

	for (unsigned i = 0; i < PLACES; i++)
		n += pl_fuse_places_enlarge(p, i);
	ok(n > 0 && n < PLACES);
	ok(!pl_fuse_places_enlarge(p, 0)); /* it is one */
	ok(has_page(pl_fuse_places_at(p, 0) + PL_FUSE_DATA_MAX - 4096));
	ok(pl_fuse_places_resident(p) <= idle + n * 2 * MIB);
	for (unsigned i = 0; i < PLACES; i++)
		pl_fuse_places_shrink(p, i);
	is_int(pl_fuse_places_resident(p), idle);
	ok(!has_page(pl_fuse_places_at(p, 0) + 8192));
	ok(pl_fuse_places_enlarge(p, PLACES - 1));
	pl_fuse_places_free(p);
}

int main(void)
{
	return pl_tap_main();
}
