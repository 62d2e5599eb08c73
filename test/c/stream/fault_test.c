/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fault loop over receiving: its n-th I/O fails, for ever larger n. Each time
 * the receiver has all of it or what it had, and completes when it goes on.
 */
#include "pair.h"

#include "store/faulty.h"

/* The receiver's directory, with what it has before. */
static bool prepare(struct pair *p, bool changes, struct pl_faults **faults)
{
	struct pl_dir *memory;

	pl_dir_close(p->dst.dir);
	p->dst.dir = NULL;
	return pl_dir_memory(&memory, 0) == 0 &&
	       pl_dir_faulty(&p->dst.dir, memory, faults) == 0 &&
	       (!changes || moves(p, NULL, "one"));
}

/* False when the fault did not fire any more. */
static bool one_fault(struct pair *p, bool changes, enum pl_fault how,
		      unsigned n)
{
	unsigned before = changes, after;
	struct pl_faults *faults;
	const char *fired;
	int rc;

	if (!ok(prepare(p, changes, &faults)) ||
	    !ok(said(p, do_send(p, changes ? "one" : NULL, "three"))))
		return false;
	pl_faults_arm(faults, how, n);
	rc = do_receive(p, false);
	fired = pl_faults_fired(faults);
	after = received_snapshots(p, 0);
	if (!ok(after == 3 || (rc < 0 && after == before)))
		printf("# %s %u: %u snapshots, %s\n", fired, n, after,
		       rc < 0 ? p->err.msg : "well");
	if (after)
		is_int(scene_check(&p->dst), 0);
	if (after != 3 && !ok(goes_on(p, changes)))
		printf("# %s %u: does not go on\n", fired, n);
	if (!ok(same(p, p->id[2])))
		printf("# %s %u: differs\n", fired, n);
	return fired != NULL;
}

static void loop(bool changes, enum pl_fault how)
{
	unsigned n = 1, runs = 0;
	struct pair p;

	ok(pair_init(&p) && three_snapshots(&p));
	for (; one_fault(&p, changes, how, n); n += 1 + n / 8)
		runs++;
	printf("# %u faults\n", runs);
	ok(runs > 5);
	pair_fini(&p);
}

pl_test("a whole image survives every fault while it is received")
{
	loop(false, PL_FAULT_EIO);
	loop(false, PL_FAULT_SHORT);
}

pl_test("an image survives every fault while it receives changes")
{
	loop(true, PL_FAULT_EIO);
	loop(true, PL_FAULT_ENOSPC);
	loop(true, PL_FAULT_READ);
}

int main(void)
{
	return pl_tap_main();
}
