/* SPDX-License-Identifier: Apache-2.0 */
/* Flushing: how many syncs it takes, in which order, and when it fails. */
#include "base/co.h"
#include "edit.h"
#include "stack.h"

static struct stack s;

static int set(uint64_t cno, uint64_t owned, bool ordered)
{
	uint64_t where;
	int rc = pl_layer_map(s.ly[0], cno, &where);

	return rc < 0 ?
		       rc :
		       pl_layer_set(s.ly[0], cno,
				    (struct pl_entry){ where, owned }, ordered);
}

/* Syncs that one flush takes. */
static uint64_t flush(void)
{
	uint64_t before = s.spy[0].n.syncs;

	is_int(pl_layer_flush(s.ly[0]), 0);
	return s.spy[0].n.syncs - before;
}

pl_test("a flush takes one sync when nothing is owned over a parent's data")
{
	require(stack_one(&s, 4096, GIB));
	is_int(set(1, 1, false), 0);
	is_int(set(2, 1, false), 0);
	is_int(flush(), 1);
	stack_fini(&s);
}

pl_test("data is synced before the record that owns it over others (FMT-072)")
{
	require(stack_one(&s, 4096, GIB));
	is_int(set(1, 1, false), 0);
	is_int(set(2, 1, true), 0);
	is_int(flush(), 2);
	stack_fini(&s);
	/* And when that sync fails, the record is not written. */
	require(stack_one(&s, 4096, GIB));
	is_int(set(2, 1, true), 0);
	s.spy[0].n.meta_writes = 0;
	s.spy[0].fail_in = 1;
	is_int(pl_layer_flush(s.ly[0]), -EIO);
	is_int(s.spy[0].n.meta_writes, 0);
	stack_fini(&s);
}

pl_test("an update within one flush keeps the order it needs (FMT-072)")
{
	require(stack_one(&s, 4096, GIB));
	is_int(set(1, 1, true), 0);
	is_int(set(1, 3, false), 0);
	is_int(flush(), 2);
	is_int(set(1, 7, false), 0);
	is_int(set(1, 15, true), 0);
	is_int(flush(), 2);
	stack_fini(&s);
}

pl_test("a flush of nothing takes no sync; one of data alone takes one")
{
	require(stack_one(&s, 4096, GIB));
	is_int(set(1, 1, false), 0);
	is_int(flush(), 1);
	is_int(flush(), 0);
	pl_layer_touch(s.ly[0]);
	is_int(flush(), 1);
	is_int(flush(), 0);
	stack_fini(&s);
}

static unsigned flushed;

static void flush_one(void *arg)
{
	(void)arg;
	flushed += pl_layer_flush(s.ly[0]) == 0;
}

pl_test("requests that come while a flush runs share the next one")
{
	uint64_t before;

	require(stack_init(&s, 4096));
	pl_dir_close(s.dir);
	require(pl_dir_memory(&s.dir, 42) == 0); /* completions come late */
	require(stack_add(&s, GIB) && stack_open(&s, 0, PL_LAYER_WRITE));
	is_int(set(1, 1, false), 0);
	before = s.spy[0].n.syncs;
	flushed = 0;
	for (unsigned i = 0; i < 50; i++)
		pl_co_start(flush_one, NULL);
	pl_co_run_ready();
	is_int(flushed, 50);
	ok(s.spy[0].n.syncs - before <= 2);
	stack_fini(&s);
}

pl_test("after a failed sync nothing is called flushed again (FMT-091)")
{
	struct pl_header hdr;
	struct pl_entry e;
	struct pl_store *st;

	require(stack_one(&s, 4096, GIB));
	is_int(set(1, 1, false), 0);
	is_int(pl_layer_flush(s.ly[0]), 0);
	is_int(set(2, 1, false), 0);
	s.spy[0].fail_in = 2; /* the record is written, its sync fails */
	is_int(pl_layer_flush(s.ly[0]), -EIO);
	s.spy[0].failing = false;
	s.spy[0].fail_in = 0;
	is_int(pl_layer_flush(s.ly[0]), -EIO);
	is_int(set(3, 1, false), -EIO);
	is_int(pl_layer_checkpoint(s.ly[0]), -EIO);
	ok(pl_layer_close(s.ly[0], &s.err) < 0);
	s.ly[0] = NULL;
	st = stack_file(&s, 0, 0);
	require(edit_header_read(st, &hdr));
	pl_store_close(st);
	is_int(hdr.flags & PL_HEADER_CLEAN, 0);
	require(stack_open(&s, 0, 0));
	is_int(pl_layer_entry(s.ly[0], 1, &e), 0);
	is_int(e.owned, 1);
	stack_fini(&s);
}

/* Every operation of a checkpoint fails once; the layer opens, with all. */
pl_test("a checkpoint may fail anywhere and loses nothing (FMT-071)")
{
	struct pl_entry e;
	bool fired = true;

	for (int64_t n = 1; fired && n < 100; n++) {
		require(stack_one(&s, 4096, GIB));
		for (uint64_t i = 0; i < 600; i++)
			set(i, i + 1, false);
		is_int(pl_layer_flush(s.ly[0]), 0);
		s.spy[0].fail_in = n;
		fired = pl_layer_checkpoint(s.ly[0]) < 0;
		stack_abandon(&s, 0);
		require(stack_open(&s, 0, PL_LAYER_WRITE));
		for (uint64_t i = 0; i < 600; i++)
			if (pl_layer_entry(s.ly[0], i, &e) < 0 ||
			    e.owned != i + 1)
				ok(!"what was flushed");
		stack_fini(&s);
	}
	ok(!fired);
}

pl_test("a checkpoint writes no page before its records (FMT-075)")
{
	struct pl_entry e;
	uint64_t cs;

	require(stack_one(&s, 4096, GIB));
	cs = pl_cluster_size(pl_layer_header(s.ly[0]));
	is_int(set(1, 1, false), 0);
	is_int(pl_layer_checkpoint(s.ly[0]), 0);
	is_int(set(1, 3, false), 0);
	/* Pages can't be written: the record was, and the old page is there. */
	s.spy[0].full_from = pl_layer_header(s.ly[0])->first_cluster * cs;
	is_int(pl_layer_checkpoint(s.ly[0]), -ENOSPC);
	stack_abandon(&s, 0);
	s.spy[0].full_from = 0;
	require(stack_open(&s, 0, 0));
	is_int(pl_layer_entry(s.ly[0], 1, &e), 0);
	is_int(e.owned, 3);
	stack_fini(&s);
}

pl_test("the first flush covers what a dead process overwrote in place")
{
	uint64_t before;

	/* Such writes change no map, so that the layer is clean. */
	require(stack_one(&s, 4096, 1ull << 30));
	before = s.spy[0].n.syncs;
	is_int(pl_layer_flush(s.ly[0]), 0);
	is_int(s.spy[0].n.syncs, before + 1);
	is_int(pl_layer_flush(s.ly[0]), 0);
	is_int(s.spy[0].n.syncs, before + 1);
	stack_fini(&s);
}

int main(void)
{
	int status = pl_tap_main();

	pl_co_trim();
	return status;
}
