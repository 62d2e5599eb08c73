/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stores and directories in memory, for tests: sparse, with holes, and with
 * completions that may come late, as on a real disk.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include "base/co.h"
#include "store/memfile.h"

struct mem_dir {
	struct pl_dir dir;
	struct mem_file *files;
	uint64_t seed;
	bool locked;
};

struct mem_store {
	struct pl_store st;
	struct mem_file *file;
	struct mem_dir *dir;
};

static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static struct mem_store *store_of(struct pl_store *st)
{
	return (struct mem_store *)st;
}

static int apply(struct mem_file *f, const struct pl_io *io)
{
	switch (io->op) {
	case PL_IO_READ:
		return memfile_read(f, io->buf, io->off, io->len);
	case PL_IO_WRITE:
		return memfile_write(f, io->buf, io->off, io->len);
	case PL_IO_PUNCH:
		return memfile_punch(f, io->off, io->len);
	case PL_IO_SYNC:
		return 0;
	}
	return -EINVAL;
}

static void mem_submit(struct pl_store *st, struct pl_io *io)
{
	struct mem_store *m = store_of(st);

	if (!(io->flags & PL_IO_META) && io->op != PL_IO_SYNC &&
	    io->op != PL_IO_PUNCH)
		assert(io->off % st->align == 0 && io->len % st->align == 0 &&
		       (uintptr_t)io->buf % st->align == 0);
	if (m->dir->seed && pl_co_self())
		for (uint64_t n = next_random(&m->dir->seed) % 4; n; n--) {
			pl_co_wake(pl_co_self());
			pl_co_yield();
		}
	io->res = apply(m->file, io);
	io->done = true;
	io->fn(io);
}

static int mem_size(struct pl_store *st, uint64_t *ret_bytes)
{
	*ret_bytes = store_of(st)->file->size;
	return 0;
}

static int mem_truncate(struct pl_store *st, uint64_t size)
{
	return memfile_truncate(store_of(st)->file, size);
}

static int mem_seek_data(struct pl_store *st, uint64_t off, uint64_t *ret_start,
			 uint64_t *ret_end)
{
	memfile_seek_data(store_of(st)->file, off, ret_start, ret_end);
	return 0;
}

static int mem_usage(struct pl_store *st, uint64_t *ret_host_bytes)
{
	*ret_host_bytes = memfile_usage(store_of(st)->file);
	return 0;
}

static void mem_close(struct pl_store *st)
{
	memfile_put(store_of(st)->file);
	free(st);
}

static const struct pl_store_ops mem_ops = {
	.name = "memory",
	.submit = mem_submit,
	.size = mem_size,
	.truncate = mem_truncate,
	.seek_data = mem_seek_data,
	.seek_space = mem_seek_data, /* zeros are never kept */
	.usage = mem_usage,
	.close = mem_close,
};

/* ---- the directory ---- */

static struct mem_dir *dir_of(struct pl_dir *dir)
{
	return (struct mem_dir *)dir;
}

static struct mem_file **find(struct pl_dir *dir, const char *name)
{
	struct mem_file **f = &dir_of(dir)->files;

	while (*f && strcmp((*f)->name, name) != 0)
		f = &(*f)->next;
	return f;
}

static int memdir_open(struct pl_dir *dir, const char *name, unsigned flags,
		       struct pl_store **ret, struct pl_err *err)
{
	struct mem_file **f = find(dir, name);
	struct mem_store *m;

	if (*f && flags & PL_OPEN_CREATE)
		return pl_err_set(err, PL_E_EXISTS, EEXIST, "%s exists", name);
	if (!*f && !(flags & PL_OPEN_CREATE))
		return pl_err_set(err, PL_E_NOT_FOUND, ENOENT,
				  "%s does not exist", name);
	m = calloc(1, sizeof(*m));
	if (m && !*f)
		*f = memfile_new(name);
	if (!m || !*f) {
		free(m);
		return pl_err_sys(err, -ENOMEM, "%s", name);
	}
	(*f)->refs++;
	m->st.ops = &mem_ops;
	m->st.align = flags & PL_OPEN_DIRECT ? 512 : 1;
	m->file = *f;
	m->dir = dir_of(dir);
	*ret = &m->st;
	return 0;
}

static int memdir_unlink(struct pl_dir *dir, const char *name)
{
	struct mem_file **f = find(dir, name), *gone = *f;

	if (!gone)
		return -ENOENT;
	*f = gone->next;
	memfile_put(gone);
	return 0;
}

static int memdir_rename(struct pl_dir *dir, const char *from, const char *to)
{
	struct mem_file **f = find(dir, from);

	if (!*f)
		return -ENOENT;
	memdir_unlink(dir, to);
	f = find(dir, from);
	snprintf((*f)->name, sizeof((*f)->name), "%s", to);
	return 0;
}

static int memdir_mkdir(struct pl_dir *dir, const char *name)
{
	(void)dir, (void)name;
	return 0;
}

static int memdir_sync(struct pl_dir *dir, const char *sub)
{
	(void)dir, (void)sub;
	return 0;
}

static int memdir_list(struct pl_dir *dir, const char *sub,
		       int (*each)(void *arg, const char *name), void *arg)
{
	size_t n = strlen(sub);
	struct mem_file *f, *next;
	int rc = 0;

	for (f = dir_of(dir)->files; f && rc == 0; f = next) {
		const char *rest = f->name;

		next = f->next; /* each() may remove f */
		if (n && (strncmp(rest, sub, n) != 0 || rest[n] != '/'))
			continue;
		rest += n ? n + 1 : 0;
		if (!strchr(rest, '/'))
			rc = each(arg, rest);
	}
	return rc;
}

static int memdir_lock(struct pl_dir *dir, bool exclusive, const char *who,
		       struct pl_err *err)
{
	(void)exclusive, (void)who;
	if (dir_of(dir)->locked)
		return pl_err_set(err, PL_E_BUSY, EBUSY, "in use");
	dir_of(dir)->locked = true;
	return 0;
}

static void memdir_unlock(struct pl_dir *dir)
{
	dir_of(dir)->locked = false;
}

static void memdir_close(struct pl_dir *dir)
{
	struct mem_file *f, *next;

	for (f = dir_of(dir)->files; f; f = next) {
		next = f->next;
		memfile_put(f);
	}
	free(dir);
}

static const struct pl_dir_ops memdir_ops = {
	.name = "memory",
	.open = memdir_open,
	.rename = memdir_rename,
	.unlink = memdir_unlink,
	.mkdir = memdir_mkdir,
	.sync = memdir_sync,
	.list = memdir_list,
	.lock = memdir_lock,
	.unlock = memdir_unlock,
	.close = memdir_close,
};

/* ---- for recording.c ---- */

void memdir_link(struct pl_dir *dir, struct mem_file *f)
{
	struct mem_file **at = find(dir, f->name);

	if (*at)
		memdir_unlink(dir, f->name);
	f->next = dir_of(dir)->files;
	dir_of(dir)->files = f;
}

struct mem_file *memdir_find(struct pl_dir *dir, const char *name)
{
	return *find(dir, name);
}

struct mem_file *memdir_first(struct pl_dir *dir)
{
	return dir_of(dir)->files;
}

struct mem_file *memstore_file(struct pl_store *st)
{
	return store_of(st)->file;
}

int pl_dir_memory(struct pl_dir **ret, uint64_t yield_seed)
{
	struct mem_dir *m = calloc(1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	m->dir.ops = &memdir_ops;
	m->seed = yield_seed;
	snprintf(m->dir.path, sizeof(m->dir.path), "memory");
	*ret = &m->dir;
	return 0;
}
