/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls on stores: every one starts operations and waits for them, by
 * suspending the coroutine or, outside of one, because the store has already
 * done the work when submit() returns.
 */
#include "store/store.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/co.h"

struct gather {
	struct pl_co *co;
	unsigned left;
	bool waiting; /* an operation may be done before its starter waits */
};

static void gather_one(struct pl_io *io)
{
	struct gather *g = io->user;

	if (--g->left == 0 && g->waiting)
		pl_co_wake(g->co);
}

int pl_store_run(struct pl_store *const *st, struct pl_io *io, unsigned n)
{
	struct gather g = { .co = pl_co_self(), .left = n };
	int rc = 0;

	for (unsigned i = 0; i < n; i++) {
		io[i].user = &g;
		io[i].fn = gather_one;
		io[i].done = false;
		st[i]->ops->submit(st[i], &io[i]);
	}
	g.waiting = true;
	while (g.left) {
		assert(g.co);
		pl_co_yield();
	}
	for (unsigned i = 0; i < n && rc == 0; i++)
		rc = io[i].res;
	return rc;
}

static int run_one(struct pl_store *st, struct pl_io *io)
{
	return pl_store_run(&st, io, 1);
}

int pl_store_read(struct pl_store *st, void *buf, uint64_t len, uint64_t off,
		  unsigned flags)
{
	struct pl_io io = { .op = PL_IO_READ,
			    .flags = flags,
			    .off = off,
			    .len = len,
			    .buf = buf };

	return len ? run_one(st, &io) : 0;
}

int pl_store_write(struct pl_store *st, const void *buf, uint64_t len,
		   uint64_t off, unsigned flags)
{
	struct pl_io io = { .op = PL_IO_WRITE,
			    .flags = flags,
			    .off = off,
			    .len = len,
			    .buf = (void *)(uintptr_t)buf };

	return len ? run_one(st, &io) : 0;
}

int pl_store_sync(struct pl_store *st)
{
	struct pl_io io = { .op = PL_IO_SYNC };

	return run_one(st, &io);
}

int pl_store_punch(struct pl_store *st, uint64_t off, uint64_t len)
{
	struct pl_io io = { .op = PL_IO_PUNCH, .off = off, .len = len };

	return len ? run_one(st, &io) : 0;
}

int pl_store_clear(struct pl_store *st, uint64_t off, uint64_t len)
{
	struct pl_io io = {
		.op = PL_IO_PUNCH, .flags = PL_IO_KEEP, .off = off, .len = len
	};

	return len ? run_one(st, &io) : 0;
}

int pl_store_size(struct pl_store *st, uint64_t *ret_bytes)
{
	return st->ops->size(st, ret_bytes);
}

int pl_store_truncate(struct pl_store *st, uint64_t size)
{
	return st->ops->truncate(st, size);
}

int pl_store_seek_data(struct pl_store *st, uint64_t off, uint64_t *ret_start,
		       uint64_t *ret_end)
{
	return st->ops->seek_data(st, off, ret_start, ret_end);
}

int pl_store_seek_space(struct pl_store *st, uint64_t off, uint64_t *ret_start,
			uint64_t *ret_end)
{
	return st->ops->seek_space ?
		       st->ops->seek_space(st, off, ret_start, ret_end) :
		       -EOPNOTSUPP;
}

int pl_store_usage(struct pl_store *st, uint64_t *ret_host_bytes)
{
	return st->ops->usage(st, ret_host_bytes);
}

int pl_store_clone(struct pl_store *st, uint64_t off, struct pl_store *from,
		   uint64_t from_off, uint64_t len)
{
	return st->ops->clone && st->ops->clone == from->ops->clone ?
		       st->ops->clone(st, off, from, from_off, len) :
		       -EOPNOTSUPP;
}

int pl_store_lock(struct pl_store *st, enum pl_store_lock lock)
{
	return st->ops->lock ? st->ops->lock(st, lock) : 0;
}

int pl_store_links(struct pl_store *st, uint64_t *ret)
{
	*ret = 1;
	return st->ops->links ? st->ops->links(st, ret) : 0;
}

void pl_store_close(struct pl_store *st)
{
	if (st)
		st->ops->close(st);
}

int pl_dir_write_new(struct pl_dir *dir, const char *fresh, const char *text,
		     struct pl_err *err)
{
	struct pl_store *st;
	int rc;

	dir->ops->unlink(dir, fresh);
	rc = dir->ops->open(dir, fresh, PL_OPEN_WRITE | PL_OPEN_CREATE, &st,
			    err);
	if (rc < 0)
		return rc;
	rc = pl_store_write(st, text, strlen(text), 0, PL_IO_META);
	if (rc == 0)
		rc = pl_store_sync(st);
	pl_store_close(st);
	return rc < 0 ? pl_err_sys(err, rc, "%s/%s", dir->path, fresh) : 0;
}

int pl_dir_replace(struct pl_dir *dir, const char *name, const char *fresh,
		   const char *text, struct pl_err *err)
{
	int rc = pl_dir_write_new(dir, fresh, text, err);

	if (rc < 0)
		return rc;
	rc = dir->ops->rename(dir, fresh, name);
	return rc < 0 ? pl_err_sys(err, rc, "%s/%s", dir->path, name) : 0;
}

void pl_dir_close(struct pl_dir *dir)
{
	if (dir)
		dir->ops->close(dir);
}
