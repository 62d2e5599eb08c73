/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots, switching between them, deleting them. */
#include <errno.h>

#include "scene.h"

static struct scene sc;
static char one[PL_ID_LEN + 1], two[PL_ID_LEN + 1], three[PL_ID_LEN + 1];

/* Blocks 0-9 'a', snapshot "one", 5-14 'b', snapshot "two", 8-9 'c'. */
static bool begin(void)
{
	return scene_create(&sc, 16 * MIB, 4096) && scene_open(&sc, true) &&
	       scene_fill(sc.ch, 0, 10, 'a') == 0 &&
	       scene_snapshot(&sc, "one", one) &&
	       scene_fill(sc.ch, 5, 10, 'b') == 0 &&
	       scene_snapshot(&sc, "two", two) &&
	       scene_fill(sc.ch, 8, 2, 'c') == 0;
}

static bool shows_one(struct pl_chain *ch)
{
	return scene_holds(ch, 0, 10, 'a') && scene_holds(ch, 10, 100, 0);
}

static bool shows_two(struct pl_chain *ch)
{
	return scene_holds(ch, 0, 5, 'a') && scene_holds(ch, 5, 10, 'b') &&
	       scene_holds(ch, 15, 100, 0);
}

static bool shows_top(struct pl_chain *ch)
{
	return scene_holds(ch, 0, 5, 'a') && scene_holds(ch, 5, 3, 'b') &&
	       scene_holds(ch, 8, 2, 'c') && scene_holds(ch, 10, 5, 'b') &&
	       scene_holds(ch, 15, 100, 0);
}

static bool snapshot_shows(const char *key, bool (*shows)(struct pl_chain *))
{
	struct pl_chain *ch;
	bool fine;

	if (!scene_says(&sc, pl_image_open_chain(sc.img, key, true, NULL, &ch,
						 &sc.err)))
		return false;
	fine = shows(ch);
	pl_chain_abandon(ch);
	return fine;
}

static bool reopen(void)
{
	bool fine = scene_close(&sc);

	is_int(scene_check(&sc), 0);
	return fine && scene_open(&sc, true);
}

pl_test("a snapshot keeps what the disk held, the disk goes on (FMT-107)")
{
	require(begin());
	ok(shows_top(sc.ch));
	ok(snapshot_shows(one, shows_one));
	ok(snapshot_shows("two", shows_two));
	require(reopen());
	ok(shows_top(sc.ch));
	ok(snapshot_shows(one, shows_one));
	is_int(pl_image_desc(sc.img)->n_layers, 3);
	is_int(scene_layer_files(&sc), 3);
	scene_fini(&sc);
}

pl_test("a snapshot of a closed image works the same")
{
	require(begin() && scene_close(&sc) && scene_open(&sc, false));
	ok(scene_snapshot(&sc, "three", three));
	pl_image_close(sc.img);
	sc.img = NULL;
	is_int(scene_check(&sc), 0);
	require(scene_open(&sc, true));
	ok(snapshot_shows("three", shows_top));
	ok(shows_top(sc.ch));
	scene_fini(&sc);
}

static void found(const char *key, const char *id)
{
	const struct pl_image_snapshot *s;

	if (ok(pl_image_find(sc.img, key, &s, &sc.err) == 0))
		is_str(s->id, id);
}

pl_test("snapshots are found by id, by the beginning of it, by name")
{
	const struct pl_image_snapshot *s;
	char part[9] = "";

	require(begin());
	found(one, one);
	found("two", two);
	memcpy(part, two, 8);
	found(part, two);
	is_int(pl_image_find(sc.img, "four", &s, &sc.err), -ENOENT);
	is_int(sc.err.code, PL_E_SNAPSHOT_NOT_FOUND);
	ok(strstr(sc.err.msg, "\"four\"") != NULL);
	part[3] = '\0'; /* too little of it */
	is_int(pl_image_find(sc.img, part, &s, &sc.err), -ENOENT);
	scene_fini(&sc);
}

pl_test("a name can be used once")
{
	require(begin());
	is_int(pl_image_snapshot(sc.img, sc.ch, "one", NULL, NULL, three,
				 &sc.err),
	       -EEXIST);
	is_int(sc.err.code, PL_E_EXISTS);
	ok(shows_top(sc.ch));
	scene_fini(&sc);
}

pl_test("switching goes back, and forth, and drops what was on top")
{
	require(begin() && scene_close(&sc) && scene_open(&sc, false));
	is_int(pl_image_switch(sc.img, "one", &sc.err), 0);
	is_int(scene_layer_files(&sc), 3); /* two's layer is still shown */
	pl_image_close(sc.img);
	is_int(scene_check(&sc), 0);
	require(scene_open(&sc, true));
	ok(shows_one(sc.ch));
	ok(snapshot_shows("two", shows_two));
	is_int(scene_fill(sc.ch, 0, 10, 'd'), 0);
	require(scene_close(&sc) && scene_open(&sc, false));
	is_int(pl_image_switch(sc.img, "two", &sc.err), 0);
	pl_image_close(sc.img);
	require(scene_open(&sc, true));
	ok(shows_two(sc.ch));
	ok(snapshot_shows("one", shows_one));
	scene_fini(&sc);
}

pl_test("switching can keep what was on top as a snapshot")
{
	char kept[PL_ID_LEN + 1], again[PL_ID_LEN + 1];

	require(begin() && scene_close(&sc) && scene_open(&sc, false));
	is_int(pl_image_switch_keeping(sc.img, "four", "k", "", kept, &sc.err),
	       -ENOENT);
	is_int(pl_image_desc(sc.img)->n_snapshots, 2);
	is_int(pl_image_switch_keeping(sc.img, "one", "k", "", kept, &sc.err),
	       0);
	is_int(pl_image_desc(sc.img)->n_snapshots, 3);
	/* The new top holds what "one" does: nothing to keep. */
	is_int(pl_image_switch_keeping(sc.img, "two", "l", "", again, &sc.err),
	       0);
	is_int(again[0], 0);
	is_int(pl_image_desc(sc.img)->n_snapshots, 3);
	is_int(scene_layer_files(&sc), 4);
	pl_image_close(sc.img);
	is_int(scene_check(&sc), 0);
	require(scene_open(&sc, true));
	ok(shows_two(sc.ch));
	ok(snapshot_shows(kept, shows_top));
	ok(snapshot_shows("one", shows_one));
	scene_fini(&sc);
}

pl_test("deleting the newest snapshot merges it into the top")
{
	require(begin() && scene_close(&sc) && scene_open(&sc, false));
	is_int(pl_image_delete(sc.img, "two", NULL, NULL, &sc.err), 0);
	is_int(scene_layer_files(&sc), 2);
	is_int(pl_image_desc(sc.img)->n_snapshots, 1);
	pl_image_close(sc.img);
	is_int(scene_check(&sc), 0);
	require(scene_open(&sc, true));
	ok(shows_top(sc.ch));
	ok(snapshot_shows("one", shows_one));
	scene_fini(&sc);
}

pl_test("deleting the oldest merges it into the next")
{
	require(begin() && scene_close(&sc) && scene_open(&sc, false));
	is_int(pl_image_delete(sc.img, "one", NULL, NULL, &sc.err), 0);
	is_int(scene_layer_files(&sc), 2);
	pl_image_close(sc.img);
	is_int(scene_check(&sc), 0);
	require(scene_open(&sc, true));
	ok(shows_top(sc.ch));
	ok(snapshot_shows("two", shows_two));
	is_int(pl_image_delete(sc.img, "one", NULL, NULL, &sc.err), -ENOENT);
	scene_fini(&sc);
}

pl_test("one that two branches need is hidden until one is gone (FMT-115)")
{
	const struct pl_image_desc *d;

	require(begin() && scene_close(&sc) && scene_open(&sc, false));
	is_int(pl_image_switch(sc.img, "one", &sc.err), 0);
	is_int(pl_image_delete(sc.img, "one", NULL, NULL, &sc.err), 0);
	d = pl_image_desc(sc.img);
	is_int(d->n_layers, 3);
	is_int(d->n_snapshots, 2);
	ok(d->snapshots[0].hidden);
	is_int(pl_image_delete(sc.img, "one", NULL, NULL, &sc.err), -ENOENT);
	/* The other branch goes, and the hidden one with it. */
	is_int(pl_image_delete(sc.img, "two", NULL, NULL, &sc.err), 0);
	is_int(pl_image_desc(sc.img)->n_layers, 1);
	is_int(pl_image_desc(sc.img)->n_snapshots, 0);
	is_int(scene_layer_files(&sc), 1);
	pl_image_close(sc.img);
	is_int(scene_check(&sc), 0);
	require(scene_open(&sc, true));
	ok(shows_one(sc.ch));
	scene_fini(&sc);
}

int main(void)
{
	return pl_tap_main();
}
