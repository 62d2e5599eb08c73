/* SPDX-License-Identifier: Apache-2.0 */
/* Changes that outlive the process that made them: memory kept by another. */
#include <sys/mman.h>
#include <unistd.h>

#include "stack.h"

static struct stack s;
static struct pl_pending *pending;
static int fd;

static bool set_in(unsigned layer, uint64_t cno, uint64_t owned)
{
	uint64_t where;

	return pl_layer_map(s.ly[layer], cno, &where) == 0 &&
	       pl_layer_set(s.ly[layer], cno, (struct pl_entry){ where, owned },
			    false) == 0;
}

static bool set(uint64_t cno, uint64_t owned)
{
	return set_in(0, cno, owned);
}

static uint64_t owned_in(unsigned layer, uint64_t cno)
{
	struct pl_entry e = { 0 };

	is_int(pl_layer_entry(s.ly[layer], cno, &e), 0);
	return e.owned;
}

static uint64_t owned(uint64_t cno)
{
	return owned_in(0, cno);
}

static bool open_with(int memfd)
{
	pending = NULL;
	return stack_says(&s, pl_pending_new(&pending, memfd, &s.err)) &&
	       stack_says(&s, stack_try_open(&s, 0, PL_LAYER_WRITE, pending));
}

static bool begin(void)
{
	fd = memfd_create("pending", MFD_CLOEXEC);
	return fd >= 0 && ftruncate(fd, PL_PENDING_SIZE) == 0 &&
	       stack_init(&s, 4096) && stack_add(&s, GIB) && open_with(fd);
}

/* The worker is gone; what it had in the memfd stays. */
static void worker_dies(void)
{
	stack_abandon(&s, 0);
	pl_pending_free(pending);
	pending = NULL;
}

static void finish(void)
{
	stack_fini(&s);
	pl_pending_free(pending);
	close(fd);
}

pl_test("a new worker has every change of a dead one, flushed or not")
{
	require(begin());
	ok(set(1, 1));
	is_int(pl_layer_flush(s.ly[0]), 0);
	ok(set(1, 3));
	ok(set(900, 7));
	worker_dies();
	require(open_with(fd));
	is_int(owned(1), 3);
	is_int(owned(900), 7);
	is_int(pl_layer_flush(s.ly[0]), 0);
	worker_dies();
	require(stack_open(&s, 0, 0)); /* and now on disk */
	is_int(owned(900), 7);
	finish();
}

pl_test("changes survive any number of workers that never flush")
{
	require(begin());
	for (uint64_t i = 0; i < 20; i++) {
		ok(set(i * 100, i + 1));
		ok(set(5, i + 1));
		worker_dies();
		require(open_with(fd));
	}
	for (uint64_t i = 1; i < 20; i++)
		is_int(owned(i * 100), i + 1);
	is_int(owned(5), 20);
	finish();
}

pl_test("with private memory they are gone, and the old state is there")
{
	require(begin());
	ok(set(1, 1));
	is_int(pl_layer_flush(s.ly[0]), 0);
	worker_dies();
	require(open_with(-1));
	ok(set(1, 3));
	worker_dies();
	require(open_with(-1));
	is_int(owned(1), 1);
	finish();
}

pl_test("when it is full, a flush makes room by itself")
{
	require(begin());
	for (uint64_t i = 0; i < 4000; i++)
		require(set(i, 1));
	is_int(s.spy[0].n.syncs, 1); /* the header's */
	for (uint64_t i = 0; i < 4096; i++)
		require(set(i, 0xff00 + i));
	ok(s.spy[0].n.syncs > 1);
	worker_dies();
	require(open_with(fd));
	for (uint64_t i = 0; i < 4096; i += 5)
		is_int(owned(i), 0xff00 + i);
	finish();
}

pl_test("many changes of one cluster between flushes take one entry")
{
	require(begin());
	for (uint64_t i = 0; i < 20000; i++)
		require(set(3, i));
	is_int(s.spy[0].n.syncs, 1);
	worker_dies();
	require(open_with(fd));
	is_int(owned(3), 19999);
	finish();
}

pl_test("a clean end leaves nothing in it, for the next layer to use")
{
	require(begin());
	ok(set(1, 1));
	ok(stack_close(&s, 0));
	pl_pending_free(pending);
	pl_dir_close(s.dir);
	require(stack_init(&s, 4096));
	s.n = 3; /* another uuid */
	require(stack_add(&s, GIB));
	pending = NULL;
	is_int(pl_pending_new(&pending, fd, &s.err), 0);
	is_int(stack_try_open(&s, 3, PL_LAYER_WRITE, pending), 0);
	finish();
}

pl_test("another layer's changes are never taken for one's own")
{
	require(begin());
	ok(set(1, 1));
	/* There is room for two. */
	require(stack_add(&s, GIB) && stack_add(&s, GIB));
	is_int(stack_try_open(&s, 1, PL_LAYER_WRITE, pending), 0);
	ok(set_in(1, 7, 1));
	stack_abandon(&s, 0);
	stack_abandon(&s, 1);
	ok(stack_try_open(&s, 2, PL_LAYER_WRITE, pending) < 0);
	ok(strstr(s.err.msg, "other layers") != NULL);
	is_int(stack_try_open(&s, 1, PL_LAYER_WRITE, pending), 0);
	is_int(owned_in(1, 7), 1);
	is_int(stack_try_open(&s, 0, PL_LAYER_WRITE, pending), 0);
	is_int(owned(1), 1);
	finish();
}

pl_test("refuses memory that holds something else")
{
	require(begin());
	worker_dies();
	ok(pwrite(fd, "garbage", 7, 0) == 7);
	ok(pl_pending_new(&pending, fd, &s.err) < 0);
	is_int(s.err.code, PL_E_INTERNAL);
	finish();
}

int main(void)
{
	return pl_tap_main();
}
