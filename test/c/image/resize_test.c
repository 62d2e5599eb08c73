/* SPDX-License-Identifier: Apache-2.0 */
/* Growing an image, attached or not. */
#include <errno.h>

#include "scene.h"

static struct scene sc;

static bool begin(void)
{
	return scene_create(&sc, 10 * MIB, 4096) && scene_open(&sc, true) &&
	       scene_fill(sc.ch, 0, 2560, 'a') == 0;
}

pl_test("an open disk grows; the new part is zeros and takes data")
{
	require(begin());
	is_int(pl_image_resize(sc.img, sc.ch, 100 * MIB, &sc.err), 0);
	is_int(pl_chain_size(sc.ch), 100 * MIB);
	is_int(pl_image_desc(sc.img)->size, 100 * MIB);
	ok(scene_holds(sc.ch, 2560, 2560, 0));
	is_int(scene_fill(sc.ch, 25599, 1, 'z'), 0);
	require(scene_close(&sc));
	is_int(scene_check(&sc), 0);
	require(scene_open(&sc, true));
	is_int(pl_chain_size(sc.ch), 100 * MIB);
	ok(scene_holds(sc.ch, 0, 2560, 'a'));
	ok(scene_holds(sc.ch, 25599, 1, 'z'));
	scene_fini(&sc);
}

pl_test("a closed image grows, by whole blocks")
{
	require(begin() && scene_close(&sc) && scene_open(&sc, false));
	is_int(pl_image_resize(sc.img, NULL, 20 * MIB + 1, &sc.err), 0);
	is_int(pl_image_desc(sc.img)->size, 20 * MIB + 4096);
	scene_fini(&sc);
}

pl_test("snapshots keep their size, and switching brings it back (FMT-061)")
{
	char id[PL_ID_LEN + 1];
	struct pl_chain *ch;

	require(begin() && scene_snapshot(&sc, "small", id));
	is_int(pl_image_resize(sc.img, sc.ch, 40 * MIB, &sc.err), 0);
	is_int(pl_image_open_chain(sc.img, "small", true, NULL, &ch, &sc.err),
	       0);
	is_int(pl_chain_size(ch), 10 * MIB);
	pl_chain_abandon(ch);
	ok(scene_holds(sc.ch, 0, 2560, 'a'));
	ok(scene_holds(sc.ch, 2560, 2560, 0));
	require(scene_close(&sc) && scene_open(&sc, false));
	is_int(pl_image_switch(sc.img, "small", &sc.err), 0);
	is_int(pl_image_desc(sc.img)->size, 10 * MIB);
	pl_image_close(sc.img);
	require(scene_open(&sc, true));
	is_int(pl_chain_size(sc.ch), 10 * MIB);
	scene_fini(&sc);
}

static void refused(uint64_t size, const char *word)
{
	is_int(pl_image_resize(sc.img, sc.ch, size, &sc.err), -EINVAL);
	is_int(sc.err.code, PL_E_INVALID_ARGUMENT);
	if (!ok(strstr(sc.err.msg, word) != NULL))
		printf("# \"%s\" does not say \"%s\"\n", sc.err.msg, word);
}

pl_test("refuses to shrink, and sizes that can't be")
{
	require(begin());
	refused(5 * MIB, "smaller");
	refused(0, "size 0");
	refused((64ull << 40) + 1, "must be");
	refused(UINT64_MAX, "must be");
	is_int(pl_chain_size(sc.ch), 10 * MIB);
	is_int(pl_image_resize(sc.img, sc.ch, 10 * MIB, &sc.err), 0);
	scene_fini(&sc);
}

/* The layer has grown, the descriptor has not: the crash came between. */
static bool half_grown(void)
{
	char *before;

	if (!begin())
		return false;
	before = scene_get_file(&sc, "image.json");
	is_int(pl_image_resize(sc.img, sc.ch, 30 * MIB, &sc.err), 0);
	scene_crash(&sc);
	scene_put_file(&sc, "image.json", before, strlen(before));
	free(before);
	return true;
}

pl_test("after a crash while growing the layer's size counts (FMT-114)")
{
	require(half_grown());
	is_int(scene_check(&sc), 0);
	require(scene_open(&sc, true));
	is_int(pl_chain_size(sc.ch), 30 * MIB);
	ok(scene_holds(sc.ch, 2560, 2560, 0));
	scene_fini(&sc);
}

pl_test("and a writer brings the descriptor up to date (FMT-114)")
{
	char id[PL_ID_LEN + 1];
	struct pl_chain *ch;

	require(half_grown());
	require(scene_open(&sc, true));
	is_int(pl_image_desc(sc.img)->size, 30 * MIB);
	ok(scene_snapshot(&sc, "s", id));
	is_int(pl_chain_size(sc.ch), 30 * MIB);
	is_int(pl_image_open_chain(sc.img, "s", true, NULL, &ch, &sc.err), 0);
	is_int(pl_chain_size(ch), 30 * MIB);
	pl_chain_abandon(ch);
	scene_fini(&sc);
}

int main(void)
{
	return pl_tap_main();
}
