/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fault loop for memory: the n-th allocation of the core fails (linked
 * with --wrap, see CMakeLists.txt). The operation fails or succeeds, but the
 * image opens, checks clean and holds everything that was flushed.
 */
#include "tap.h"

#include <jansson.h>

#include "allocations.h"
#include "explorer.h"

static unsigned left; /* allocations until one fails; 0 = not armed */
static bool fired;

static bool allocation_fails(void)
{
	if (!left || --left)
		return false;
	fired = true;
	return true;
}

static bool start(struct explorer *ex, struct pl_dir **dir, uint64_t seed)
{
	bool fine;

	memset(ex, 0, sizeof(*ex));
	if (pl_dir_memory(dir, 0) < 0)
		return false;
	fine = model_init(&ex->m, *dir, 4096, (1u << 20) + 20480, seed);
	for (unsigned i = 0; fine && i < 40; i++)
		fine = model_step(&ex->m);
	fine = fine && model_do(&ex->m, MODEL_OP_SNAPSHOT);
	return fine && model_do(&ex->m, MODEL_OP_WRITE);
}

static bool survives(struct explorer *ex, struct pl_dir *dir)
{
	struct model *m = &ex->m;

	pl_chain_abandon(m->ch);
	m->ch = NULL;
	pl_image_close(m->img);
	m->img = NULL;
	m->what[0] = '\0';
	return explorer_check(ex, dir);
}

static bool one_fault(enum model_op op, unsigned n, uint64_t seed)
{
	struct explorer ex;
	struct pl_dir *dir;
	bool fine = ok(start(&ex, &dir, seed));

	fired = false;
	left = n;
	if (fine && !model_do(&ex.m, op))
		ok(fired);
	left = 0;
	if (!ok(survives(&ex, dir)))
		printf("# operation %d, allocation %u: %s\n", op, n, ex.m.what);
	model_fini(&ex.m);
	pl_dir_close(dir);
	return fine && fired;
}

static void all_faults(enum model_op op)
{
	unsigned n = 1;

	json_set_alloc_funcs(__wrap_malloc, free);
	while (one_fault(op, n, 1))
		n++;
	printf("# %u failed allocations\n", n - 1);
}

pl_test("writing, zeroing and discarding survive failed allocations")
{
	all_faults(MODEL_OP_WRITE);
	all_faults(MODEL_OP_ZERO);
	all_faults(MODEL_OP_DISCARD);
	all_faults(MODEL_OP_FLUSH);
}

pl_test("operations on the tree survive failed allocations")
{
	all_faults(MODEL_OP_SNAPSHOT);
	all_faults(MODEL_OP_SWITCH);
	all_faults(MODEL_OP_SWITCH_KEEPING);
	all_faults(MODEL_OP_DELETE);
}

pl_test("growing, compaction and closing survive failed allocations")
{
	all_faults(MODEL_OP_GROW);
	all_faults(MODEL_OP_SHRINK);
	all_faults(MODEL_OP_COMPACT);
	all_faults(MODEL_OP_RECLAIM_HIDDEN);
	all_faults(MODEL_OP_CLOSE);
}

int main(void)
{
	return pl_tap_main();
}
