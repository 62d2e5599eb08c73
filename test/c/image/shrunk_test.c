/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A snapshot that is larger than the disk, which was shrunk since, is deleted:
 * what was written since goes down into its layer, which loses what nobody
 * sees.
 */
#include <errno.h>

#include "scene.h"

#define BLOCKS 2560u /* of the snapshot: 10 MiB */
#define LEFT 1000u /* of the disk */

static struct scene sc;
static uint64_t moved;

static bool note_total(void *arg, uint64_t done, uint64_t total)
{
	(void)arg;
	(void)done;
	moved = total;
	return true;
}

/* 'a' everywhere in the snapshot, 'b' at 10 to 19 since, the end cut off. */
static bool begin(void)
{
	char id[PL_ID_LEN + 1];

	moved = 0;
	return scene_create(&sc, BLOCKS * 4096, 4096) &&
	       scene_open(&sc, true) &&
	       scene_fill(sc.ch, 0, BLOCKS, 'a') == 0 &&
	       scene_snapshot(&sc, "large", id) && scene_close(&sc) &&
	       scene_open(&sc, false) &&
	       scene_says(&sc, pl_image_shrink(sc.img, LEFT * 4096, &sc.err)) &&
	       scene_close(&sc) && scene_open(&sc, true) &&
	       scene_fill(sc.ch, 10, 10, 'b') == 0;
}

static bool shows(void)
{
	return pl_chain_size(sc.ch) == LEFT * 4096 &&
	       scene_holds(sc.ch, 0, 10, 'a') &&
	       scene_holds(sc.ch, 10, 10, 'b') &&
	       scene_holds(sc.ch, 20, LEFT - 20, 'a');
}

/* And grows again: what was beyond does not come to light. */
static void finish(void)
{
	ok(shows());
	is_int(scene_layer_files(&sc), 1);
	is_int(pl_image_desc(sc.img)->layers[0].size, LEFT * 4096);
	is_int(pl_image_resize(sc.img, sc.ch, BLOCKS * 4096, &sc.err), 0);
	ok(scene_holds(sc.ch, LEFT, BLOCKS - LEFT, 0));
	is_int(scene_fill(sc.ch, LEFT, 10, 'z'), 0);
	ok(scene_holds(sc.ch, LEFT, 10, 'z'));
	require(scene_close(&sc));
	is_int(scene_check(&sc), 0);
	require(scene_open(&sc, true));
	ok(scene_holds(sc.ch, 10, 10, 'b'));
	ok(scene_holds(sc.ch, LEFT, 10, 'z'));
	ok(scene_holds(sc.ch, LEFT + 10, BLOCKS - LEFT - 10, 0));
	scene_fini(&sc);
}

pl_test("the smaller disk moves down, not the larger snapshot up (FMT-085)")
{
	require(begin() && scene_close(&sc) && scene_open(&sc, false));
	is_int(pl_image_delete(sc.img, "large", note_total, NULL, &sc.err), 0);
	is_int(moved, 10 * 4096);
	pl_image_close(sc.img);
	require(scene_open(&sc, true));
	finish();
}

static int nothing(void *arg)
{
	(void)arg;
	return 0;
}

static void nothing_more(void *arg)
{
	(void)arg;
}

static int delete_live(pl_progress_fn *progress)
{
	struct pl_image_live live = { .chain = sc.ch,
				      .pause = nothing,
				      .resume = nothing_more,
				      .settle = nothing_more };
	struct pl_image_work work = { .progress = progress };
	char id[PL_ID_LEN + 1];
	int rc = pl_image_hide(sc.img, "large", id, &sc.err);

	return rc < 0 ? rc : pl_image_tidy(sc.img, &live, &work, &sc.err);
}

pl_test("also beside an open disk, with what was looked up before")
{
	require(begin());
	ok(shows()); /* resolved */
	is_int(delete_live(note_total), 0);
	is_int(moved, 10 * 4096);
	finish();
}

static bool stop_at_once(void *arg, uint64_t done, uint64_t total)
{
	(void)arg;
	(void)done;
	(void)total;
	return false;
}

static int resume_live(void)
{
	struct pl_image_live live = { .chain = sc.ch,
				      .pause = nothing,
				      .resume = nothing_more,
				      .settle = nothing_more };

	return pl_image_tidy(sc.img, &live, NULL, &sc.err);
}

pl_test("interrupted, and grown before it goes on")
{
	require(begin());
	ok(shows());
	is_int(delete_live(stop_at_once), -ECANCELED);
	ok(shows());
	is_int(pl_image_resize(sc.img, sc.ch, 2000 * 4096, &sc.err), 0);
	ok(scene_holds(sc.ch, LEFT, 1000, 0));
	is_int(scene_fill(sc.ch, 1500, 10, 'z'), 0);
	is_int(resume_live(), 0);
	ok(scene_holds(sc.ch, 20, LEFT - 20, 'a'));
	ok(scene_holds(sc.ch, LEFT, 500, 0));
	ok(scene_holds(sc.ch, 1500, 10, 'z'));
	is_int(pl_chain_size(sc.ch), 2000 * 4096);
	is_int(scene_layer_files(&sc), 1);
	require(scene_close(&sc));
	is_int(scene_check(&sc), 0);
	require(scene_open(&sc, true));
	is_int(pl_chain_size(sc.ch), 2000 * 4096);
	ok(scene_holds(sc.ch, 1500, 10, 'z'));
	scene_fini(&sc);
}

pl_test("killed when its parent was cut, and shrunk again before it goes on")
{
	require(begin());
	is_int(delete_live(stop_at_once), -ECANCELED);
	scene_crash(&sc);
	require(scene_open(&sc, false));
	is_int(pl_image_shrink(sc.img, 500 * 4096, &sc.err), 0);
	is_int(pl_image_tidy(sc.img, NULL, NULL, &sc.err), 0);
	require(scene_close(&sc));
	is_int(scene_check(&sc), 0);
	require(scene_open(&sc, true));
	is_int(pl_chain_size(sc.ch), 500 * 4096);
	is_int(pl_image_desc(sc.img)->size, 500 * 4096);
	ok(scene_holds(sc.ch, 20, 480, 'a'));
	is_int(scene_layer_files(&sc), 1);
	scene_fini(&sc);
}

int main(void)
{
	return pl_tap_main();
}
