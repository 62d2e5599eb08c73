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
#include "store/store.h"

#define PAGE 4096u

struct mem_file {
	char name[96];
	unsigned refs; /* the directory's and one for each open store */
	uint64_t size;
	uint8_t **pages;
	uint64_t n_pages;
	struct mem_file *next;
};

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

static void file_put(struct mem_file *f)
{
	if (--f->refs)
		return;
	for (uint64_t i = 0; i < f->n_pages; i++)
		free(f->pages[i]);
	free(f->pages);
	free(f);
}

static int pages_for(struct mem_file *f, uint64_t end)
{
	uint64_t n = (end + PAGE - 1) / PAGE;
	uint8_t **pages;

	if (n <= f->n_pages)
		return 0;
	n += n / 2;
	pages = realloc(f->pages, n * sizeof(*pages));
	if (!pages)
		return -ENOMEM;
	memset(pages + f->n_pages, 0, (n - f->n_pages) * sizeof(*pages));
	f->pages = pages;
	f->n_pages = n;
	return 0;
}

static uint64_t step(uint64_t off, uint64_t end)
{
	uint64_t n = PAGE - off % PAGE;

	return n < end - off ? n : end - off;
}

static int mem_read(struct mem_file *f, uint8_t *buf, uint64_t off,
		    uint64_t len)
{
	for (uint64_t end = off + len, n; off < end; off += n, buf += n) {
		n = step(off, end);
		if (off < f->size && off / PAGE < f->n_pages &&
		    f->pages[off / PAGE])
			memcpy(buf, f->pages[off / PAGE] + off % PAGE, n);
		else
			memset(buf, 0, n);
	}
	return 0;
}

static int mem_write(struct mem_file *f, const uint8_t *buf, uint64_t off,
		     uint64_t len)
{
	uint64_t end = off + len;

	if (pages_for(f, end) < 0)
		return -ENOMEM;
	for (uint64_t n; off < end; off += n, buf += n) {
		n = step(off, end);
		if (!f->pages[off / PAGE])
			f->pages[off / PAGE] = calloc(1, PAGE);
		if (!f->pages[off / PAGE])
			return -ENOMEM;
		memcpy(f->pages[off / PAGE] + off % PAGE, buf, n);
	}
	if (end > f->size)
		f->size = end;
	return 0;
}

static void mem_zero(struct mem_file *f, uint64_t off, uint64_t end)
{
	for (uint64_t n; off < end && off / PAGE < f->n_pages; off += n) {
		n = step(off, end);
		if (n == PAGE) {
			free(f->pages[off / PAGE]);
			f->pages[off / PAGE] = NULL;
		} else if (f->pages[off / PAGE]) {
			memset(f->pages[off / PAGE] + off % PAGE, 0, n);
		}
	}
}

static struct mem_store *store_of(struct pl_store *st)
{
	return (struct mem_store *)st;
}

static int apply(struct mem_file *f, const struct pl_io *io)
{
	switch (io->op) {
	case PL_IO_READ:
		return mem_read(f, io->buf, io->off, io->len);
	case PL_IO_WRITE:
		return mem_write(f, io->buf, io->off, io->len);
	case PL_IO_PUNCH:
		mem_zero(f, io->off, io->off + io->len);
		return 0;
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
	struct mem_file *f = store_of(st)->file;

	if (size < f->size)
		mem_zero(f, size, f->size);
	f->size = size;
	return 0;
}

static int mem_seek_data(struct pl_store *st, uint64_t off,
			 uint64_t *ret_start, uint64_t *ret_end)
{
	struct mem_file *f = store_of(st)->file;
	uint64_t i = off / PAGE;

	while (i < f->n_pages && !f->pages[i])
		i++;
	if (i >= f->n_pages || i * PAGE >= f->size) {
		*ret_start = *ret_end = UINT64_MAX;
		return 0;
	}
	*ret_start = i * PAGE > off ? i * PAGE : off;
	while (i < f->n_pages && f->pages[i])
		i++;
	*ret_end = i * PAGE < f->size ? i * PAGE : f->size;
	return 0;
}

static int mem_usage(struct pl_store *st, uint64_t *ret_host_bytes)
{
	struct mem_file *f = store_of(st)->file;

	*ret_host_bytes = 0;
	for (uint64_t i = 0; i < f->n_pages; i++)
		*ret_host_bytes += f->pages[i] ? PAGE : 0;
	return 0;
}

static void mem_close(struct pl_store *st)
{
	file_put(store_of(st)->file);
	free(st);
}

static const struct pl_store_ops mem_ops = {
	.name = "memory",
	.submit = mem_submit,
	.size = mem_size,
	.truncate = mem_truncate,
	.seek_data = mem_seek_data,
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
	if (m && !*f) {
		*f = calloc(1, sizeof(**f));
		if (*f) {
			snprintf((*f)->name, sizeof((*f)->name), "%s", name);
			(*f)->refs = 1;
		}
	}
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
	file_put(gone);
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
		file_put(f);
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
