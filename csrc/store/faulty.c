/* SPDX-License-Identifier: Apache-2.0 */
/* The faulty directory: see faulty.h. */
#include "store/faulty.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct pl_faults {
	struct pl_dir dir;
	struct pl_dir *inner;
	enum pl_fault how;
	unsigned left; /* 0 = not armed */
	const char *fired;
};

struct faulty_store {
	struct pl_store st;
	struct pl_store *inner;
	struct pl_faults *faults;
};

static struct faulty_store *store_of(struct pl_store *st)
{
	return (struct faulty_store *)st;
}

static struct pl_faults *faults_of(struct pl_dir *dir)
{
	return (struct pl_faults *)dir;
}

static int error_of(const struct pl_faults *f)
{
	return f->how == PL_FAULT_ENOSPC ? -ENOSPC : -EIO;
}

static bool fires(struct pl_faults *f, const char *what, bool is_read)
{
	if (is_read != (f->how == PL_FAULT_READ) || !f->left || --f->left)
		return false;
	f->fired = what;
	return true;
}

static const char *name_of(enum pl_io_op op)
{
	static const char *const names[] = { "read", "write", "sync", "punch" };

	return names[op];
}

static void write_half(struct faulty_store *s, const struct pl_io *io)
{
	uint64_t half = io->len / 2 / 512 * 512;

	pl_store_write(s->inner, io->buf, half, io->off,
		       io->flags | PL_IO_META);
}

static void faulty_submit(struct pl_store *st, struct pl_io *io)
{
	struct faulty_store *s = store_of(st);

	if (!fires(s->faults, name_of(io->op), io->op == PL_IO_READ)) {
		s->inner->ops->submit(s->inner, io);
		return;
	}
	if (s->faults->how == PL_FAULT_SHORT && io->op == PL_IO_WRITE)
		write_half(s, io);
	io->res = error_of(s->faults);
	io->done = true;
	io->fn(io);
}

static int faulty_truncate(struct pl_store *st, uint64_t size)
{
	struct faulty_store *s = store_of(st);

	return fires(s->faults, "truncate", false) ?
		       error_of(s->faults) :
		       pl_store_truncate(s->inner, size);
}

static int faulty_size(struct pl_store *st, uint64_t *ret_bytes)
{
	return pl_store_size(store_of(st)->inner, ret_bytes);
}

static int faulty_seek_data(struct pl_store *st, uint64_t off,
			    uint64_t *ret_start, uint64_t *ret_end)
{
	return pl_store_seek_data(store_of(st)->inner, off, ret_start, ret_end);
}

static int faulty_usage(struct pl_store *st, uint64_t *ret_host_bytes)
{
	return pl_store_usage(store_of(st)->inner, ret_host_bytes);
}

static void faulty_close(struct pl_store *st)
{
	pl_store_close(store_of(st)->inner);
	free(st);
}

static const struct pl_store_ops faulty_ops = {
	.name = "faulty",
	.submit = faulty_submit,
	.size = faulty_size,
	.truncate = faulty_truncate,
	.seek_data = faulty_seek_data,
	.usage = faulty_usage,
	.close = faulty_close,
};

static int faulty_open(struct pl_dir *dir, const char *name, unsigned flags,
		       struct pl_store **ret, struct pl_err *err)
{
	struct pl_faults *f = faults_of(dir);
	struct faulty_store *s;
	struct pl_store *inner;
	int rc;

	if (flags & PL_OPEN_CREATE && fires(f, "create", false))
		return pl_err_sys(err, error_of(f), "%s", name);
	rc = f->inner->ops->open(f->inner, name, flags, &inner, err);
	if (rc < 0)
		return rc;
	s = calloc(1, sizeof(*s));
	if (!s) {
		pl_store_close(inner);
		return pl_err_sys(err, -ENOMEM, "%s", name);
	}
	s->st.ops = &faulty_ops;
	s->st.align = inner->align;
	s->inner = inner;
	s->faults = f;
	*ret = &s->st;
	return 0;
}

static int faulty_rename(struct pl_dir *dir, const char *from, const char *to)
{
	struct pl_faults *f = faults_of(dir);

	return fires(f, "rename", false) ?
		       error_of(f) :
		       f->inner->ops->rename(f->inner, from, to);
}

static int faulty_link(struct pl_dir *dir, struct pl_dir *from,
		       const char *name)
{
	struct pl_faults *f = faults_of(dir);

	if (!f->inner->ops->link)
		return -EOPNOTSUPP;
	return fires(f, "link", false) ?
		       error_of(f) :
		       f->inner->ops->link(f->inner, from, name);
}

static int faulty_unlink(struct pl_dir *dir, const char *name)
{
	return faults_of(dir)->inner->ops->unlink(faults_of(dir)->inner, name);
}

static int faulty_mkdir(struct pl_dir *dir, const char *name)
{
	struct pl_faults *f = faults_of(dir);

	return fires(f, "mkdir", false) ? error_of(f) :
					  f->inner->ops->mkdir(f->inner, name);
}

static int faulty_sync(struct pl_dir *dir, const char *sub)
{
	struct pl_faults *f = faults_of(dir);

	return fires(f, "directory sync", false) ?
		       error_of(f) :
		       f->inner->ops->sync(f->inner, sub);
}

static int faulty_list(struct pl_dir *dir, const char *sub,
		       int (*each)(void *arg, const char *name), void *arg)
{
	return faults_of(dir)->inner->ops->list(faults_of(dir)->inner, sub,
						each, arg);
}

static int faulty_lock(struct pl_dir *dir, bool exclusive, const char *who,
		       struct pl_err *err)
{
	return faults_of(dir)->inner->ops->lock(faults_of(dir)->inner,
						exclusive, who, err);
}

static void faulty_unlock(struct pl_dir *dir)
{
	faults_of(dir)->inner->ops->unlock(faults_of(dir)->inner);
}

static void faulty_dir_close(struct pl_dir *dir)
{
	pl_dir_close(faults_of(dir)->inner);
	free(dir);
}

static const struct pl_dir_ops faulty_dir_ops = {
	.name = "faulty",
	.open = faulty_open,
	.rename = faulty_rename,
	.unlink = faulty_unlink,
	.link = faulty_link,
	.mkdir = faulty_mkdir,
	.sync = faulty_sync,
	.list = faulty_list,
	.lock = faulty_lock,
	.unlock = faulty_unlock,
	.close = faulty_dir_close,
};

int pl_dir_faulty(struct pl_dir **ret, struct pl_dir *inner,
		  struct pl_faults **ret_faults)
{
	struct pl_faults *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	f->dir.ops = &faulty_dir_ops;
	snprintf(f->dir.path, sizeof(f->dir.path), "faulty");
	f->inner = inner;
	*ret = &f->dir;
	*ret_faults = f;
	return 0;
}

void pl_faults_arm(struct pl_faults *f, enum pl_fault how, unsigned n)
{
	f->how = how;
	f->left = n;
	f->fired = NULL;
}

const char *pl_faults_fired(struct pl_faults *f)
{
	const char *fired = f->fired;

	f->left = 0;
	f->fired = NULL;
	return fired;
}
