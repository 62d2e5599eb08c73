/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A switch that keeps the state before is two commits: with any of its I/O
 * failing, and the process ending there, the disk is as before, with or without
 * the kept snapshot, or as then, with it.
 */
#include "scene.h"

#include "store/faulty.h"

static struct scene sc;
static struct pl_faults *faults;

/* Snapshot "then" holds 'a', the disk 'b'. */
static bool prepare(void)
{
	struct pl_image_params p = { .size = 16 * MIB, .block_size = 4096 };
	char id[PL_ID_LEN + 1];
	struct pl_dir *memory;

	memset(&sc, 0, sizeof(sc));
	return pl_dir_memory(&memory, 0) == 0 &&
	       pl_dir_faulty(&sc.dir, memory, &faults) == 0 &&
	       scene_says(&sc, pl_image_create(sc.dir, &p, &sc.err)) &&
	       scene_open(&sc, true) && scene_fill(sc.ch, 0, 4, 'a') == 0 &&
	       scene_snapshot(&sc, "then", id) &&
	       scene_fill(sc.ch, 0, 4, 'b') == 0 && scene_close(&sc) &&
	       scene_open(&sc, false);
}

static bool snapshot_holds(const char *name, int value)
{
	struct pl_chain *ch;
	bool same;

	if (!scene_says(&sc, pl_image_open_chain(sc.img, name, true, NULL, &ch,
						 &sc.err)))
		return false;
	same = scene_holds(ch, 0, 4, value);
	pl_chain_abandon(ch);
	return same;
}

static void check_result(bool done)
{
	unsigned n;
	bool then;

	require(scene_open(&sc, true));
	n = pl_image_desc(sc.img)->n_snapshots;
	then = scene_holds(sc.ch, 0, 4, 'a');
	ok(then || scene_holds(sc.ch, 0, 4, 'b'));
	ok(then || !done);
	ok(n == 2 || (n == 1 && !then));
	ok(snapshot_holds("then", 'a'));
	ok(n == 1 || snapshot_holds("before", 'b'));
	is_int(scene_fill(sc.ch, 4, 1, 'c'), 0);
	require(scene_close(&sc));
	is_int(scene_check(&sc), 0);
}

/* False when the fault did not fire any more. */
static bool one_fault(enum pl_fault how, unsigned n)
{
	char kept[PL_ID_LEN + 1];
	bool fired;
	int rc;

	if (!ok(prepare())) {
		scene_fini(&sc);
		return false;
	}
	pl_faults_arm(faults, how, n);
	rc = pl_image_switch_keeping(sc.img, "then", "before", NULL, kept,
				     &sc.err);
	fired = pl_faults_fired(faults) != NULL;
	ok(fired || rc == 0);
	pl_image_close(sc.img);
	sc.img = NULL;
	check_result(rc == 0);
	scene_fini(&sc);
	return fired;
}

static void all_faults(enum pl_fault how)
{
	unsigned n = 1;

	while (one_fault(how, n))
		n++;
	printf("# %u faults\n", n - 1);
	ok(n > 1);
}

pl_test("a switch that keeps the state before survives failing I/O")
{
	all_faults(PL_FAULT_EIO);
	all_faults(PL_FAULT_READ);
}

pl_test("a switch that keeps the state before survives a full host")
{
	all_faults(PL_FAULT_ENOSPC);
	all_faults(PL_FAULT_SHORT);
}

int main(void)
{
	return pl_tap_main();
}
