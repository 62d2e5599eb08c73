/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk whose layers' directories are read page by page (PL_LAYER_LAZY): what
 * many read at a time, beside a deletion that exchanges and merges the layers.
 */
#include "scene.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/co.h"
#include "format/format.h"

#define GIB (1024 * MIB)
#define SIZE (300 * GIB) /* 19 pages of a directory */
#define SPOTS 128u /* blocks all over the disk */
#define LAYERS 5u
#define READERS 12u
#define ROUNDS 60u

static struct scene sc;
static char id[LAYERS][PL_ID_LEN + 1];
static char value[SPOTS]; /* 0 = never written */
static unsigned running, busy, bad;
static bool paused;
static uint64_t seed;

static uint64_t rnd(uint64_t below)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (seed >> 33) % below;
}

static uint64_t block_of(unsigned spot)
{
	return SIZE / 4096 / SPOTS * spot + spot % 7;
}

/* Each layer has some of the spots; late: completions come out of order. */
static bool begin(uint64_t late)
{
	struct pl_image_params p = { .size = SIZE };

	memset(&sc, 0, sizeof(sc));
	memset(value, 0, sizeof(value));
	seed = late;
	if (pl_dir_memory(&sc.dir, late) < 0 ||
	    !scene_says(&sc, pl_image_create(sc.dir, &p, &sc.err)) ||
	    !scene_open(&sc, true))
		return false;
	for (unsigned l = 0; l < LAYERS; l++) {
		for (unsigned n = 0; n < SPOTS / 2; n++) {
			unsigned spot = (unsigned)rnd(SPOTS);

			value[spot] = (char)('a' + l);
			if (scene_fill(sc.ch, block_of(spot), 1, value[spot]))
				return false;
		}
		if (l + 1 < LAYERS && !scene_snapshot(&sc, NULL, id[l]))
			return false;
	}
	/* What is open from now on knows nothing of its directories. */
	return scene_close(&sc) && scene_open(&sc, true);
}

static void turn(void)
{
	pl_co_wake(pl_co_self());
	pl_co_yield();
}

static void read_on(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < ROUNDS && !bad; i++) {
		unsigned spot = (unsigned)rnd(SPOTS);

		while (paused)
			turn();
		busy++;
		if (!scene_holds(sc.ch, block_of(spot), 1, value[spot]) ||
		    !scene_holds(sc.ch, block_of(spot) + 1, 1, 0))
			bad++;
		busy--;
		turn();
	}
	running--;
}

static int hold(void *arg)
{
	(void)arg;
	paused = true;
	while (busy)
		turn();
	return 0;
}

static void let_go(void *arg)
{
	(void)arg;
	paused = false;
}

static void settle(void *arg)
{
	(void)arg;
	while (busy)
		turn();
}

static void delete_one(void *arg)
{
	const struct pl_image_live live = { sc.ch, hold, let_go, settle, NULL };
	char hidden[PL_ID_LEN + 1];

	if (!scene_says(&sc, pl_image_hide(sc.img, arg, hidden, &sc.err)) ||
	    !scene_says(&sc, pl_image_tidy(sc.img, &live, NULL, &sc.err)))
		bad++;
	running--;
}

static void with_readers(char *deleted)
{
	running = READERS + (deleted != NULL);
	bad = busy = 0;
	for (unsigned i = 0; i < READERS; i++)
		is_int(pl_co_start(read_on, NULL), 0);
	if (deleted)
		is_int(pl_co_start(delete_one, deleted), 0);
	pl_co_run_ready();
	is_int(running, 0);
	is_int(bad, 0);
}

static void finish(void)
{
	require(scene_close(&sc));
	is_int(scene_check(&sc), 0);
	scene_fini(&sc);
}

pl_test("many who need one page of a directory get the same")
{
	for (uint64_t late = 1; late <= 4; late++) {
		require(begin(late));
		with_readers(NULL);
		finish();
	}
}

pl_test("layers are merged beside them, whose directories were half read")
{
	for (uint64_t late = 11; late <= 14; late++) {
		require(begin(late));
		for (unsigned l = LAYERS - 1; l-- > 0;)
			with_readers(id[(l + late) % (LAYERS - 1)]);
		is_int(pl_image_desc(sc.img)->n_layers, 1);
		finish();
	}
}

pl_test("such a disk grows, and shows the new part as zeros")
{
	require(begin(21));
	is_int(pl_image_resize(sc.img, sc.ch, SIZE + 200 * GIB, &sc.err), 0);
	ok(scene_holds(sc.ch, (SIZE + 150 * GIB) / 4096, 1, 0));
	with_readers(NULL);
	finish();
}

int main(void)
{
	return pl_tap_main();
}
