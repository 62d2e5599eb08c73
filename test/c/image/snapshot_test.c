/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots in steps: what the pause costs, and who dies or comes in between. */
#include <errno.h>
#include <sys/mman.h>

#include "base/co.h"
#include "scene.h"
#include "scratch.h"
#include "store/faulty.h"

static struct scene sc;

/* ---- the pause ---- */

struct shape {
	uint64_t size;
	unsigned depth, dirty; /* layers; clusters written and not flushed */
};

static bool build(const struct shape *s, struct pl_faults **faults)
{
	struct pl_image_params p = { .size = s->size };
	struct pl_dir *memory;
	char id[PL_ID_LEN + 1];
	bool fine;

	memset(&sc, 0, sizeof(sc));
	fine = pl_dir_memory(&memory, 0) == 0 &&
	       pl_dir_faulty(&sc.dir, memory, faults) == 0 &&
	       scene_says(&sc, pl_image_create(sc.dir, &p, &sc.err)) &&
	       scene_open(&sc, true);
	for (unsigned i = 1; fine && i < s->depth; i++)
		fine = scene_fill(sc.ch, 64 * i, 3, 'a') == 0 &&
		       scene_snapshot(&sc, NULL, id);
	for (unsigned i = 0; fine && i < s->dirty; i++)
		fine = scene_fill(sc.ch, 64 * 11 * i, 1, 'b') == 0;
	return fine;
}

static int prepare_and_commit(void)
{
	int rc = pl_image_snapshot_prepare(sc.img, sc.ch, "s", NULL, NULL,
					   &sc.err);

	return rc < 0 ? rc : pl_image_snapshot_commit(sc.img, sc.ch, &sc.err);
}

static void switch_without_io(const struct shape *s, enum pl_fault how)
{
	struct pl_faults *faults;
	char id[PL_ID_LEN + 1];

	require(build(s, &faults));
	is_int(prepare_and_commit(), 0);
	/* The first operation of any kind would fail, and be told. */
	pl_faults_arm(faults, how, 1);
	is_int(pl_image_snapshot_switch(sc.img, sc.ch, id, &sc.err), 0);
	ok(pl_faults_fired(faults) == NULL);
	is_int(pl_image_snapshot_finish(sc.img, sc.ch, &sc.err), 0);
	if (s->dirty)
		ok(scene_holds(sc.ch, 64 * 11 * (s->dirty - 1), 1, 'b'));
	scene_fini(&sc);
}

pl_test("requests are held back for no I/O, whatever size, depth and dirt")
{
	static const struct shape shapes[] = {
		{ MIB, 1, 0 },
		{ 4096 * MIB, 1, 1000 },
		{ 4096 * MIB, 40, 10 },
		{ 1024 * 1024 * MIB, 3, 1000 },
	};

	for (unsigned i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		switch_without_io(&shapes[i], PL_FAULT_EIO);
		switch_without_io(&shapes[i], PL_FAULT_READ);
	}
}

/* ---- the process dies in between ---- */

enum step { PREPARED, COMMITTED, SWITCHED, FLUSHED, SETTLED, SEALED, STEPS };

static bool go_to(enum step step, char *id)
{
	if (pl_image_snapshot_prepare(sc.img, sc.ch, "s", NULL, NULL, &sc.err) <
	    0)
		return false;
	if (step >= COMMITTED &&
	    pl_image_snapshot_commit(sc.img, sc.ch, &sc.err) < 0)
		return false;
	if (step >= SWITCHED &&
	    pl_image_snapshot_switch(sc.img, sc.ch, id, &sc.err) < 0)
		return false;
	if (step >= SWITCHED && scene_fill(sc.ch, 1, 1, 'c') < 0)
		return false;
	if (step == FLUSHED && pl_chain_flush(sc.ch) < 0)
		return false;
	if (step >= SETTLED &&
	    pl_image_snapshot_settle(sc.img, sc.ch, &sc.err) < 0)
		return false;
	return step < SEALED ||
	       pl_image_snapshot_finish(sc.img, sc.ch, &sc.err) == 0;
}

static bool open_with(struct pl_pending *pending)
{
	return scene_open(&sc, false) &&
	       scene_says(&sc, pl_image_open_chain(sc.img, NULL, false, pending,
						   &sc.ch, &sc.err));
}

static void check_after_death(enum step step)
{
	struct pl_chain *ch;

	/* Nothing acknowledged is lost, flushed or not. */
	ok(scene_holds(sc.ch, 0, 1, 'a') && scene_holds(sc.ch, 5, 1, 'b'));
	ok(scene_holds(sc.ch, 1, 1, step >= SWITCHED ? 'c' : 'a'));
	is_int(pl_image_desc(sc.img)->n_snapshots, step >= COMMITTED);
	is_int(scene_layer_files(&sc), step >= COMMITTED ? 2 : 1);
	if (step < COMMITTED)
		return;
	require(pl_image_open_chain(sc.img, "s", true, NULL, &ch, &sc.err) ==
		0);
	ok(pl_layer_header(pl_chain_top(ch))->state == PL_LAYER_SEALED);
	ok(scene_holds(ch, 0, 5, 'a') && scene_holds(ch, 5, 1, 'b'));
	pl_chain_abandon(ch);
}

pl_test("a worker that dies at any step of a snapshot loses no write")
{
	struct pl_pending *pending, *next;
	struct pl_image *dead;
	char id[PL_ID_LEN + 1];
	int fd;

	for (enum step step = PREPARED; step < STEPS; step++) {
		fd = memfd_create("pending", MFD_CLOEXEC);
		require(pl_pending_new(&pending, fd, &sc.err) == 0);
		require(scene_create(&sc, 16 * MIB, 4096) &&
			open_with(pending));
		require(scene_fill(sc.ch, 0, 5, 'a') == 0 &&
			pl_chain_flush(sc.ch) == 0);
		require(scene_fill(sc.ch, 5, 1, 'b') == 0); /* not flushed */
		ok(go_to(step, id));
		pl_chain_abandon(sc.ch);
		sc.dir->ops->unlock(sc.dir);
		dead = sc.img; /* killed: nothing is cleaned up */
		sc.ch = NULL;
		require(pl_pending_new(&next, fd, &sc.err) == 0);
		require(open_with(next));
		check_after_death(step);
		ok(scene_close(&sc));
		is_int(scene_check(&sc), 0);
		pl_image_close(dead);
		scene_fini(&sc);
		pl_pending_free(pending);
		pl_pending_free(next);
		close(fd);
	}
}

/* ---- what is put back, and who waits ---- */

pl_test("a switch that can't follow its commit puts the descriptor back")
{
	require(scene_create(&sc, 16 * MIB, 4096) && scene_open(&sc, true));
	is_int(prepare_and_commit(), 0);
	is_int(scene_fill(sc.ch, 0, 1, 'a'), 0);
	is_int(pl_image_snapshot_undo(sc.img, sc.ch, &sc.err), 0);
	is_int(scene_fill(sc.ch, 1, 1, 'b'), 0);
	require(scene_close(&sc) && scene_open(&sc, true));
	is_int(pl_image_desc(sc.img)->n_snapshots, 0);
	is_int(scene_layer_files(&sc), 1);
	ok(scene_holds(sc.ch, 0, 1, 'a') && scene_holds(sc.ch, 1, 1, 'b'));
	scene_fini(&sc);
}

pl_test("a preparation is void after another change of the image")
{
	char id[PL_ID_LEN + 1], first[PL_ID_LEN + 1];

	require(scene_create(&sc, 16 * MIB, 4096) && scene_open(&sc, true));
	is_int(pl_image_snapshot_prepare(sc.img, sc.ch, "s", NULL, NULL,
					 &sc.err),
	       0);
	is_int(scene_layer_files(&sc), 2);
	is_int(pl_image_resize(sc.img, sc.ch, 32 * MIB, &sc.err), 0);
	is_int(scene_layer_files(&sc), 1);
	ok(scene_snapshot(&sc, "s", first));
	is_int(pl_image_snapshot_prepare(sc.img, sc.ch, "s", NULL, NULL,
					 &sc.err),
	       -EEXIST);
	is_int(pl_image_snapshot_prepare(sc.img, sc.ch, "t", NULL, NULL,
					 &sc.err),
	       0);
	ok(scene_snapshot(&sc, "u", id)); /* not the one prepared */
	is_int(pl_image_desc(sc.img)->n_snapshots, 2);
	is_str(pl_image_desc(sc.img)->snapshots[1].name, "u");
	is_int((int)(pl_chain_size(sc.ch) / MIB), 32);
	require(scene_close(&sc));
	is_int(scene_check(&sc), 0);
	scene_fini(&sc);
}

pl_test("keeps for whom a temporary snapshot is (FMT-118)")
{
	const char *who = "linux:1:2:boot:3", *other = "of another kind";
	char id[PL_ID_LEN + 1], long_one[129] = "";

	require(scene_create(&sc, 16 * MIB, 4096) && scene_open(&sc, true));
	memset(long_one, 'x', sizeof(long_one) - 1);
	is_int(pl_image_snapshot(sc.img, sc.ch, "t", NULL, long_one, id,
				 &sc.err),
	       -EINVAL);
	is_int(pl_image_snapshot_prepare(sc.img, sc.ch, "t", NULL, other,
					 &sc.err),
	       0);
	/* What is prepared is for somebody else. */
	is_int(pl_image_snapshot(sc.img, sc.ch, "t", NULL, who, id, &sc.err),
	       0);
	is_int(pl_image_snapshot(sc.img, sc.ch, "u", NULL, other, id, &sc.err),
	       0);
	ok(scene_snapshot(&sc, "v", id));
	require(scene_close(&sc) && scene_open(&sc, true));
	is_int(pl_image_desc(sc.img)->n_snapshots, 3);
	is_str(pl_image_desc(sc.img)->snapshots[0].holder, who);
	is_str(pl_image_desc(sc.img)->snapshots[1].holder, other);
	is_str(pl_image_desc(sc.img)->snapshots[2].holder, "");
	ok(scene_close(&sc));
	scene_fini(&sc);
}

/* In a coroutine, where nobody waits for the lock. */
static void look(void *arg)
{
	struct pl_chain *ch;
	struct pl_image *img;
	struct pl_dir *dir;
	struct pl_err err;

	require(pl_dir_open(&dir, scratch_file("i"), 0, NULL, &err) == 0);
	require(pl_image_open(&img, dir, PL_IMAGE_NO_LOCK, "r", &err) == 0);
	*(int *)arg = pl_image_open_chain(img, "s", true, NULL, &ch, &err);
	if (*(int *)arg == 0)
		pl_chain_abandon(ch);
	pl_image_close(img);
	pl_dir_close(dir);
}

static int looked(void)
{
	int rc = 1;

	pl_co_start(look, &rc);
	pl_co_run_ready();
	return rc;
}

pl_test("others do not see the layer before it is sealed")
{
	struct pl_image_params p = { .size = MIB };
	char id[PL_ID_LEN + 1];

	memset(&sc, 0, sizeof(sc));
	require(pl_dir_open(&sc.dir, scratch_file("i"), PL_OPEN_CREATE, NULL,
			    &sc.err) == 0);
	is_int(pl_image_create(sc.dir, &p, &sc.err), 0);
	require(scene_open(&sc, true));
	is_int(scene_fill(sc.ch, 0, 1, 'a'), 0);
	is_int(prepare_and_commit(), 0);
	is_int(looked(), -EBUSY);
	is_int(pl_image_snapshot_switch(sc.img, sc.ch, id, &sc.err), 0);
	is_int(looked(), -EBUSY);
	is_int(pl_image_snapshot_settle(sc.img, sc.ch, &sc.err), 0);
	is_int(looked(), -EBUSY);
	is_int(pl_image_snapshot_finish(sc.img, sc.ch, &sc.err), 0);
	is_int(looked(), 0);
	scene_fini(&sc);
	pl_co_trim();
}

int main(void)
{
	return pl_tap_main();
}
