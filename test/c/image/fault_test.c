/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fault loops: every operation with its n-th I/O failing, for n = 1, 2, 3 ...
 * Each time the operation fails if the fault fired, the image opens, checks
 * clean, and holds everything that was flushed.
 */
#include "tap.h"

#include "explorer.h"
#include "store/faulty.h"

#define STEPS 60u
#define DISK ((1u << 20) + 20480u)

struct run {
	struct explorer ex;
	struct pl_dir *dir;
	struct pl_faults *faults;
};

static bool start(struct run *r, enum model_op op, uint64_t seed)
{
	struct pl_dir *memory;
	bool fine;

	memset(r, 0, sizeof(*r));
	if (pl_dir_memory(&memory, 0) < 0 ||
	    pl_dir_faulty(&r->dir, memory, &r->faults) < 0)
		return false;
	fine = model_init(&r->ex.m, r->dir, 4096, DISK, seed);
	for (unsigned i = 0; fine && i < STEPS; i++)
		fine = model_step(&r->ex.m);
	if (fine && op == MODEL_OP_RECLAIM_HIDDEN)
		return model_branch(&r->ex.m);
	/* Something to roll back to, and writes over it that are not flushed. */
	fine = fine && model_do(&r->ex.m, MODEL_OP_SNAPSHOT);
	for (unsigned i = 0; fine && i < 6; i++)
		fine = model_do(&r->ex.m, MODEL_OP_WRITE);
	return fine && model_do(&r->ex.m, MODEL_OP_DISCARD);
}

static void stop(struct run *r)
{
	model_fini(&r->ex.m);
	pl_dir_close(r->dir);
}

/* Growing the file ahead is tried again in a smaller step; a full host while a
 * checkpoint is due leaves the flush to the journal. */
static bool absorbed(enum model_op op, const char *fired, enum pl_fault how)
{
	/* What can't be given back is left, and the layer says so (STALE). */
	if (op == MODEL_OP_SHRINK && strcmp(fired, "punch") == 0)
		return true;
	return strcmp(fired, "truncate") == 0 ||
	       (strcmp(fired, "write") == 0 && how == PL_FAULT_ENOSPC);
}

/* After a failed sync nothing may be called flushed any more. */
static void stays_failed(struct run *r, enum model_op op, const char *fired)
{
	/* Others sync files besides the top, too. */
	if (op == MODEL_OP_FLUSH && strcmp(fired, "sync") == 0 &&
	    pl_layer_writable(pl_chain_top(r->ex.m.ch)))
		ok(pl_chain_flush(r->ex.m.ch) < 0);
}

static bool survives(struct run *r)
{
	struct model *m = &r->ex.m;

	pl_chain_abandon(m->ch);
	m->ch = NULL;
	pl_image_close(m->img);
	m->img = NULL;
	m->what[0] = '\0';
	return explorer_check(&r->ex, r->dir);
}

/* False when the fault did not fire any more. */
static bool one_fault(enum model_op op, enum pl_fault how, unsigned n,
		      uint64_t seed)
{
	const char *fired;
	struct run r;
	bool done;

	if (!ok(start(&r, op, seed))) {
		printf("# %s\n", r.ex.m.what);
		stop(&r);
		return false;
	}
	pl_faults_arm(r.faults, how, n);
	done = model_do(&r.ex.m, op);
	fired = pl_faults_fired(r.faults);
	if (!fired && !ok(done))
		printf("# failed without a fault: %s\n", r.ex.m.what);
	if (fired && done && !absorbed(op, fired, how)) {
		ok(!"succeeded in spite of a fault");
		printf("# operation %d, fault %u (%s)\n", op, n, fired);
	}
	if (fired && !done)
		stays_failed(&r, op, fired);
	if (!ok(survives(&r)))
		printf("# operation %d, fault %d/%u (%s), seed %llu: %s\n", op,
		       how, n, fired ? fired : "none", (unsigned long long)seed,
		       r.ex.m.what);
	stop(&r);
	return fired != NULL;
}

static void all_faults(enum model_op op)
{
	static const enum pl_fault how[] = { PL_FAULT_EIO, PL_FAULT_ENOSPC,
					     PL_FAULT_SHORT, PL_FAULT_READ };
	unsigned n, total = 0;

	for (uint64_t seed = 1; seed <= 2; seed++)
		for (unsigned i = 0; i < 4; i++) {
			for (n = 1; one_fault(op, how[i], n, seed); n++)
				;
			total += n - 1;
		}
	printf("# %u faults\n", total);
}

pl_test("a write survives any fault")
{
	all_faults(MODEL_OP_WRITE);
}

pl_test("write-zeroes survives any fault")
{
	all_faults(MODEL_OP_ZERO);
}

pl_test("a discard survives any fault")
{
	all_faults(MODEL_OP_DISCARD);
}

pl_test("a flush survives any fault")
{
	all_faults(MODEL_OP_FLUSH);
}

pl_test("a snapshot survives any fault")
{
	all_faults(MODEL_OP_SNAPSHOT);
}

pl_test("a switch survives any fault")
{
	all_faults(MODEL_OP_SWITCH);
}

pl_test("a switch that keeps the state before survives any fault")
{
	all_faults(MODEL_OP_SWITCH_KEEPING);
}

pl_test("a deletion survives any fault")
{
	all_faults(MODEL_OP_DELETE);
}

pl_test("a deletion beside an open disk survives any fault")
{
	all_faults(MODEL_OP_DELETE_LIVE);
}

pl_test("growing survives any fault")
{
	all_faults(MODEL_OP_GROW);
}

pl_test("shrinking survives any fault")
{
	all_faults(MODEL_OP_SHRINK);
}

pl_test("compaction survives any fault")
{
	all_faults(MODEL_OP_COMPACT);
}

pl_test("giving back what nobody sees survives any fault")
{
	all_faults(MODEL_OP_RECLAIM_HIDDEN);
}

pl_test("closing survives any fault")
{
	all_faults(MODEL_OP_CLOSE);
}

int main(void)
{
	return pl_tap_main();
}
