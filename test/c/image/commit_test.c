/* SPDX-License-Identifier: Apache-2.0 */
/* What crashes between the steps of an operation leave, and who may come in. */
#include <errno.h>

#include "scene.h"
#include "scratch.h"

static struct scene sc;

static bool begin(void)
{
	return scene_create(&sc, 16 * MIB, 4096) && scene_open(&sc, true) &&
	       scene_fill(sc.ch, 0, 10, 'a') == 0;
}

static const char *top(void)
{
	return pl_image_desc(sc.img)->top;
}

pl_test("a layer without a descriptor's word is a leftover (FMT-112)")
{
	struct pl_check_result res;

	require(begin() && scene_close(&sc));
	scene_put_file(&sc, "layers/11111111-1111-4111-8111-111111111111.plp",
		       "x", 1);
	scene_put_file(&sc, "image.json.new", "{", 1);
	is_int(pl_image_check(sc.dir, scene_note, NULL, &res, &sc.err), 0);
	is_int(res.findings, 0);
	is_int(res.leftovers, 1);
	/* A reader leaves it, a writer removes it. */
	is_int(pl_image_open(&sc.img, sc.dir, 0, "r", &sc.err), 0);
	pl_image_close(sc.img);
	is_int(scene_layer_files(&sc), 2);
	require(scene_open(&sc, true));
	is_int(scene_layer_files(&sc), 1);
	ok(scene_holds(sc.ch, 0, 10, 'a'));
	scene_fini(&sc);
}

pl_test("a crash before the descriptor's rename takes no snapshot (FMT-111)")
{
	struct pl_image *dead;

	require(begin());
	is_int(pl_image_snapshot_prepare(sc.img, sc.ch, NULL, NULL, NULL,
					 &sc.err),
	       0);
	is_int(scene_layer_files(&sc), 2);
	is_int(pl_chain_flush(sc.ch), 0);
	pl_chain_abandon(sc.ch);
	sc.ch = NULL;
	sc.dir->ops->unlock(sc.dir); /* killed: nothing is cleaned up */
	dead = sc.img;
	require(scene_open(&sc, true));
	is_int(scene_layer_files(&sc), 1);
	is_int(pl_image_desc(sc.img)->n_snapshots, 0);
	ok(scene_holds(sc.ch, 0, 10, 'a'));
	pl_image_close(dead);
	scene_fini(&sc);
}

/* The state between the rename and the sealing, made by hand. */
static bool half_snapshot(char lower[PL_ID_LEN + 1])
{
	char id[PL_ID_LEN + 1], name[80], *bytes;
	struct pl_store *st;
	uint64_t size;
	bool fine;

	if (!begin() || pl_chain_flush(sc.ch) < 0)
		return false;
	memcpy(lower, top(), PL_ID_LEN + 1);
	snprintf(name, sizeof(name), "layers/%s.plp", lower);
	if (sc.dir->ops->open(sc.dir, name, 0, &st, &sc.err) < 0)
		return false;
	pl_store_size(st, &size);
	bytes = malloc(size);
	fine = pl_store_read(st, bytes, size, 0, 0) == 0;
	pl_store_close(st);
	fine = fine && scene_snapshot(&sc, "s", id) && scene_close(&sc);
	scene_put_file(&sc, name, bytes, size); /* not sealed, not clean */
	free(bytes);
	return fine;
}

static void check_sealed(const char *id, bool want)
{
	struct pl_chain *ch;

	require(pl_image_open_chain(sc.img, "s", true, NULL, &ch, &sc.err) ==
		0);
	is_str(pl_layer_id(pl_chain_top(ch)), id);
	is_int(pl_layer_header(pl_chain_top(ch))->state == PL_LAYER_SEALED,
	       want);
	ok(scene_holds(ch, 0, 10, 'a'));
	pl_chain_abandon(ch);
}

pl_test("a crash after it leaves a layer unsealed: read as it is (FMT-117)")
{
	char id[PL_ID_LEN + 1];

	require(half_snapshot(id));
	is_int(scene_check(&sc), 0);
	is_int(pl_image_open(&sc.img, sc.dir, 0, "r", &sc.err), 0);
	check_sealed(id, false);
	pl_image_close(sc.img);
	sc.img = NULL;
	scene_fini(&sc);
}

pl_test("and sealed by the next writer before it writes (FMT-117)")
{
	char id[PL_ID_LEN + 1];

	require(half_snapshot(id));
	require(scene_open(&sc, true));
	is_int(scene_fill(sc.ch, 0, 1, 'b'), 0);
	check_sealed(id, true);
	ok(scene_holds(sc.ch, 0, 1, 'b') && scene_holds(sc.ch, 1, 9, 'a'));
	scene_fini(&sc);
}

pl_test("and by one who leaves its branch and writes elsewhere (FMT-117)")
{
	struct pl_check_result res;
	char id[PL_ID_LEN + 1];

	require(half_snapshot(id));
	is_int(pl_image_check(sc.dir, scene_note, NULL, &res, &sc.err), 0);
	is_int(res.unclean, 1);
	require(scene_open(&sc, false));
	is_int(pl_image_switch(sc.img, "s", &sc.err), 0);
	pl_image_close(sc.img);
	sc.img = NULL;
	is_int(pl_image_check(sc.dir, scene_note, NULL, &res, &sc.err), 0);
	is_int(res.unclean, 0);
	is_int(res.findings, 0);
	scene_fini(&sc);
}

pl_test("the descriptor is replaced by a rename, never written to (FMT-110)")
{
	char id[PL_ID_LEN + 1], before[1000] = "";
	struct pl_store *old;

	require(begin());
	require(sc.dir->ops->open(sc.dir, "image.json", 0, &old, &sc.err) == 0);
	ok(scene_snapshot(&sc, "s", id));
	/* Who had it open still reads the old one, whole. */
	is_int(pl_store_read(old, before, sizeof(before) - 1, 0, 0), 0);
	ok(strstr(before, "\"snapshots\": []") != NULL);
	ok(before[strlen(before) - 1] == '}');
	pl_store_close(old);
	scene_fini(&sc);
}

/* On a real directory, where locks are real. */
pl_test("a second writer is told who is at work (FMT-113)")
{
	struct pl_image_params p = { .size = MIB };
	struct pl_image *a, *b;
	struct pl_dir *x, *y;
	struct pl_err err;

	require(pl_dir_open(&x, scratch_file("i"), PL_OPEN_CREATE, NULL,
			    &err) == 0);
	require(pl_dir_open(&y, scratch_file("i"), 0, NULL, &err) == 0);
	is_int(pl_image_create(x, &p, &err), 0);
	is_int(pl_image_open(&a, x, PL_IMAGE_WRITE, "ploopd 42", &err), 0);
	is_int(pl_image_open(&b, y, PL_IMAGE_WRITE, "me", &err), -EBUSY);
	is_int(err.code, PL_E_BUSY);
	ok(strstr(err.msg, "ploopd 42") != NULL);
	is_int(pl_image_open(&b, y, 0, "me", &err), -EBUSY);
	is_int(pl_image_open(&b, y, PL_IMAGE_NO_LOCK, "me", &err), 0);
	pl_image_close(b);
	pl_image_close(a);
	is_int(pl_image_open(&b, y, 0, "me", &err), 0);
	pl_image_close(b);
	pl_dir_close(x);
	pl_dir_close(y);
}

pl_test("what is opened for reading is not written to")
{
	char id[PL_ID_LEN + 1];

	require(begin() && scene_close(&sc));
	is_int(pl_image_open(&sc.img, sc.dir, 0, "r", &sc.err), 0);
	is_int(pl_image_open_chain(sc.img, NULL, false, NULL, &sc.ch, &sc.err),
	       -EROFS);
	is_int(sc.err.code, PL_E_READ_ONLY);
	is_int(pl_image_snapshot(sc.img, NULL, NULL, NULL, NULL, id, &sc.err),
	       -EROFS);
	is_int(pl_image_switch(sc.img, "x", &sc.err), -EROFS);
	is_int(pl_image_resize(sc.img, NULL, 32 * MIB, &sc.err), -EROFS);
	scene_fini(&sc);
}

int main(void)
{
	return pl_tap_main();
}
