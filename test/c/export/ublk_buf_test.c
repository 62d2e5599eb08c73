/* SPDX-License-Identifier: Apache-2.0 */
/* The memory of ublk's tags: where it is, and that it goes back. */
#include <sys/mman.h>
#include <unistd.h>

#include "export/ublk/ublk_buf.h"
#include "tap.h"

#define TAGS 8u
#define TAG_BYTES (64u << 10)

/* Pages that are there, of a tag's place. */
static unsigned resident(const struct pl_ublk_bufs *bufs, unsigned tag)
{
	unsigned char vec[TAG_BYTES / 4096];
	unsigned n = 0;

	is_int(mincore(pl_ublk_bufs_at(bufs, tag), TAG_BYTES, vec), 0);
	for (size_t i = 0; i < sizeof(vec); i++)
		n += vec[i] & 1;
	return n;
}

static struct pl_ublk_bufs *make(void)
{
	struct pl_ublk_bufs *bufs = NULL;
	struct pl_err err = { 0 };

	is_int(pl_ublk_bufs_new(&bufs, TAGS, TAG_BYTES, &err), 0);
	return bufs;
}

pl_test("gives every tag a place of its own, its first page there")
{
	struct pl_ublk_bufs *bufs = make();

	for (unsigned i = 0; i < TAGS; i++) {
		ok((uintptr_t)pl_ublk_bufs_at(bufs, i) % 4096 == 0);
		is_int(resident(bufs, i), 1);
	}
	ok(pl_ublk_bufs_at(bufs, 3) ==
	   pl_ublk_bufs_at(bufs, 0) + (size_t)3 * TAG_BYTES);
	is_int(pl_ublk_bufs_resident(bufs), TAGS * 4096);
	pl_ublk_bufs_free(bufs);
}

pl_test("gives back what a tag used, but never its first page")
{
	struct pl_ublk_bufs *bufs = make();
	uint8_t *at = pl_ublk_bufs_at(bufs, 5);

	memset(at, 7, 20000);
	pl_ublk_bufs_use(bufs, 5, 20000);
	pl_ublk_bufs_use(bufs, 5, 512);
	is_int(pl_ublk_bufs_resident(bufs), (TAGS + 4) * 4096);
	is_int(resident(bufs, 5), 5);
	pl_ublk_bufs_shrink(bufs, 4);
	is_int(resident(bufs, 5), 5);
	pl_ublk_bufs_shrink(bufs, 5);
	is_int(resident(bufs, 5), 1);
	is_int(at[0], 7);
	is_int(pl_ublk_bufs_resident(bufs), TAGS * 4096);
	pl_ublk_bufs_free(bufs);
}

pl_test("takes NULL for none")
{
	pl_ublk_bufs_free(NULL);
}

int main(void)
{
	return pl_tap_main();
}
