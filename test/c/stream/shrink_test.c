/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots of a disk that shrank and grew between them. */
#include "pair.h"

static struct pair p;

static bool resize(uint64_t size)
{
	int rc;

	rc = pl_chain_close(p.src.ch, &p.src.err);
	p.src.ch = NULL;
	if (rc == 0)
		rc = size < pl_image_desc(p.src.img)->size ?
			     pl_image_shrink(p.src.img, size, &p.src.err) :
			     pl_image_resize(p.src.img, NULL, size, &p.src.err);
	if (rc == 0)
		rc = pl_image_open_chain(p.src.img, NULL, false, NULL,
					 &p.src.ch, &p.src.err);
	return scene_says(&p.src, rc);
}

/* 64 MiB full of data, 16 MiB + 2 blocks, 64 MiB again with one block there. */
static bool begin(void)
{
	if (!pair_init(&p))
		return false;
	p.level = 0; /* readable */
	return scene_fill(p.src.ch, 0, 16384, 'a') == 0 &&
	       scene_snapshot(&p.src, "large", p.id[0]) &&
	       resize(16 * MIB + 8192) &&
	       scene_fill(p.src.ch, 4090, 7, 'b') == 0 &&
	       scene_snapshot(&p.src, "small", p.id[1]) && resize(64 * MIB) &&
	       scene_fill(p.src.ch, 9000, 1, 'c') == 0 &&
	       scene_snapshot(&p.src, "again", p.id[2]);
}

static bool names_shrink(void)
{
	return memmem(p.stream.p, p.stream.len < 8192 ? p.stream.len : 8192,
		      "\"shrink\"", 8) != NULL;
}

pl_test("a disk that shrank and grew arrives as it was (STR-021, "
	"STR-022, STR-032)")
{
	require(begin());
	ok(moves(&p, NULL, NULL));
	ok(names_shrink());
	ok(same(&p, p.id[0]) && same(&p, p.id[1]) && same(&p, p.id[2]));
	pair_fini(&p);
}

pl_test("so it does in pieces, one on the other (STR-032)")
{
	require(begin());
	ok(moves(&p, NULL, "large"));
	ok(!names_shrink());
	ok(moves(&p, "large", "small"));
	ok(names_shrink());
	ok(moves(&p, "small", "again"));
	ok(!names_shrink());
	ok(same(&p, p.id[0]) && same(&p, p.id[1]) && same(&p, p.id[2]));
	pair_fini(&p);
}

pl_test("from the small state to the large one before, and across (STR-023)")
{
	require(begin());
	ok(moves(&p, NULL, "small"));
	ok(moves(&p, "small", "again"));
	ok(same(&p, p.id[1]) && same(&p, p.id[2]));
	pair_fini(&p);
	require(begin());
	ok(moves(&p, NULL, "large") && moves(&p, "large", "again"));
	ok(same(&p, p.id[0]) && same(&p, p.id[2]));
	pair_fini(&p);
}

int main(void)
{
	return pl_tap_main();
}
