/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The recording directory: see recording.h; crash states are made in crash.c.
 *
 * `live` is what the program sees; `durable` what a disk would surely hold.
 * Every file exists twice: the live one's twin is the durable one. Events are
 * what separates the two.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/recording_int.h"

struct rec_store {
	struct pl_store st;
	struct pl_store *inner;
	struct pl_recorder *rec;
	struct mem_file *file;
};

static struct rec_store *store_of(struct pl_store *st)
{
	return (struct rec_store *)st;
}

static struct pl_recorder *rec_of(struct pl_dir *dir)
{
	return (struct pl_recorder *)dir;
}

static void crash_point(struct pl_recorder *rec)
{
	if (rec->hook)
		rec->hook(rec->hook_arg);
}

static void event_free(struct event *e)
{
	free(e->data);
	free(e);
}

static struct event *event_add(struct pl_recorder *rec, enum kind kind)
{
	struct event *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	e->kind = kind;
	e->seq = ++rec->seq;
	*rec->last = e;
	rec->last = &e->next;
	return e;
}

/* ---- applying ---- */

int recording_apply_data(struct mem_file *f, const struct event *e)
{
	switch (e->kind) {
	case WRITE:
		return memfile_write(f, e->data, e->off, e->len);
	case PUNCH:
		return memfile_punch(f, e->off, e->len);
	case TRUNCATE:
		return memfile_truncate(f, e->len);
	default:
		return 0;
	}
}

int recording_apply_dir(struct pl_dir *dir, const struct event *e,
			struct mem_file *file)
{
	switch (e->kind) {
	case CREATE:
		snprintf(file->name, sizeof(file->name), "%s", e->to);
		file->refs++;
		memdir_link(dir, file);
		return 0;
	case RENAME:
		dir->ops->rename(dir, e->from, e->to);
		return 0;
	default:
		dir->ops->unlink(dir, e->from);
		return 0;
	}
}

/* Takes events out of the list and makes them durable. */
static int settle(struct pl_recorder *rec, const struct mem_file *file,
		  const char *dir)
{
	struct event **at = &rec->first, *e;
	int rc = 0;

	while ((e = *at) != NULL && rc == 0) {
		bool mine = dir ? is_dir_event(e) && strcmp(e->dir, dir) == 0 :
				  !is_dir_event(e) && e->file == file;

		if (!mine) {
			at = &e->next;
			continue;
		}
		rc = dir ? recording_apply_dir(rec->durable, e, e->file) :
			   recording_apply_data(e->file, e);
		*at = e->next;
		event_free(e);
		rec->version = rec->seq;
	}
	for (rec->last = &rec->first; *rec->last;)
		rec->last = &(*rec->last)->next;
	return rc;
}

/* ---- stores ---- */

static int record_io(struct rec_store *s, const struct pl_io *io)
{
	struct event *e;

	if (io->op == PL_IO_READ)
		return 0;
	crash_point(s->rec);
	if (io->op == PL_IO_SYNC)
		return settle(s->rec, s->file, NULL);
	e = event_add(s->rec, io->op == PL_IO_WRITE ? WRITE : PUNCH);
	if (!e)
		return -ENOMEM;
	e->file = s->file;
	e->off = io->off;
	e->len = io->len;
	if (io->op == PL_IO_WRITE) {
		e->unit = io->flags & PL_IO_META ? 512 : 4096;
		e->data = malloc(io->len);
		if (!e->data)
			return -ENOMEM;
		memcpy(e->data, io->buf, io->len);
	}
	return 0;
}

static void rec_submit(struct pl_store *st, struct pl_io *io)
{
	struct rec_store *s = store_of(st);
	int rc = record_io(s, io);

	if (rc == 0) {
		s->inner->ops->submit(s->inner, io);
		return;
	}
	io->res = rc;
	io->done = true;
	io->fn(io);
}

static int rec_truncate(struct pl_store *st, uint64_t size)
{
	struct rec_store *s = store_of(st);
	struct event *e;

	crash_point(s->rec);
	e = event_add(s->rec, TRUNCATE);
	if (!e)
		return -ENOMEM;
	e->file = s->file;
	e->len = size;
	return pl_store_truncate(s->inner, size);
}

static int rec_size(struct pl_store *st, uint64_t *ret_bytes)
{
	return pl_store_size(store_of(st)->inner, ret_bytes);
}

static int rec_seek_data(struct pl_store *st, uint64_t off, uint64_t *ret_start,
			 uint64_t *ret_end)
{
	return pl_store_seek_data(store_of(st)->inner, off, ret_start, ret_end);
}

static int rec_usage(struct pl_store *st, uint64_t *ret_host_bytes)
{
	return pl_store_usage(store_of(st)->inner, ret_host_bytes);
}

static void rec_close(struct pl_store *st)
{
	pl_store_close(store_of(st)->inner);
	free(st);
}

static const struct pl_store_ops rec_ops = {
	.name = "recording",
	.submit = rec_submit,
	.size = rec_size,
	.truncate = rec_truncate,
	.seek_data = rec_seek_data,
	.usage = rec_usage,
	.close = rec_close,
};

/* ---- the directory ---- */

static void set_dir(struct event *e, const char *name)
{
	const char *slash = strrchr(name, '/');

	if (slash)
		snprintf(e->dir, sizeof(e->dir), "%.*s", (int)(slash - name),
			 name);
}

static int make_twin(struct pl_recorder *rec, struct mem_file *live,
		     const char *name)
{
	struct mem_file **all =
		realloc(rec->all, (rec->n_all + 1) * sizeof(*all));
	struct event *e;

	if (!all)
		return -ENOMEM;
	rec->all = all;
	live->twin = memfile_new(name);
	if (!live->twin)
		return -ENOMEM;
	all[rec->n_all++] = live->twin;
	e = event_add(rec, CREATE);
	if (!e)
		return -ENOMEM;
	e->file = live->twin;
	snprintf(e->to, sizeof(e->to), "%s", name);
	set_dir(e, name);
	return 0;
}

static int rec_open(struct pl_dir *dir, const char *name, unsigned flags,
		    struct pl_store **ret, struct pl_err *err)
{
	struct pl_recorder *rec = rec_of(dir);
	struct rec_store *s;
	struct pl_store *inner;
	int rc;

	if (flags & PL_OPEN_CREATE)
		crash_point(rec);
	rc = rec->live->ops->open(rec->live, name, flags, &inner, err);
	if (rc < 0)
		return rc;
	s = calloc(1, sizeof(*s));
	if (s && flags & PL_OPEN_CREATE)
		rc = make_twin(rec, memstore_file(inner), name);
	if (!s || rc < 0) {
		pl_store_close(inner);
		free(s);
		return pl_err_sys(err, -ENOMEM, "%s", name);
	}
	s->st.ops = &rec_ops;
	s->st.align = inner->align;
	s->inner = inner;
	s->rec = rec;
	s->file = memstore_file(inner)->twin;
	*ret = &s->st;
	return 0;
}

static int rec_rename(struct pl_dir *dir, const char *from, const char *to)
{
	struct pl_recorder *rec = rec_of(dir);
	struct event *e;

	crash_point(rec);
	e = event_add(rec, RENAME);
	if (!e)
		return -ENOMEM;
	snprintf(e->from, sizeof(e->from), "%s", from);
	snprintf(e->to, sizeof(e->to), "%s", to);
	set_dir(e, to);
	return rec->live->ops->rename(rec->live, from, to);
}

static int rec_unlink(struct pl_dir *dir, const char *name)
{
	struct pl_recorder *rec = rec_of(dir);
	struct event *e;

	if (!memdir_find(rec->live, name))
		return -ENOENT;
	crash_point(rec);
	e = event_add(rec, UNLINK);
	if (!e)
		return -ENOMEM;
	snprintf(e->from, sizeof(e->from), "%s", name);
	set_dir(e, name);
	return rec->live->ops->unlink(rec->live, name);
}

static int rec_mkdir(struct pl_dir *dir, const char *name)
{
	(void)dir, (void)name;
	return 0;
}

static int rec_sync(struct pl_dir *dir, const char *sub)
{
	crash_point(rec_of(dir));
	return settle(rec_of(dir), NULL, sub);
}

static int rec_list(struct pl_dir *dir, const char *sub,
		    int (*each)(void *arg, const char *name), void *arg)
{
	return rec_of(dir)->live->ops->list(rec_of(dir)->live, sub, each, arg);
}

static int rec_lock(struct pl_dir *dir, bool exclusive, const char *who,
		    struct pl_err *err)
{
	return rec_of(dir)->live->ops->lock(rec_of(dir)->live, exclusive, who,
					    err);
}

static void rec_unlock(struct pl_dir *dir)
{
	rec_of(dir)->live->ops->unlock(rec_of(dir)->live);
}

static void rec_dir_close(struct pl_dir *dir)
{
	(void)dir; /* pl_recorder_free() does it */
}

static const struct pl_dir_ops rec_dir_ops = {
	.name = "recording",
	.open = rec_open,
	.rename = rec_rename,
	.unlink = rec_unlink,
	.mkdir = rec_mkdir,
	.sync = rec_sync,
	.list = rec_list,
	.lock = rec_lock,
	.unlock = rec_unlock,
	.close = rec_dir_close,
};

int pl_dir_recording(struct pl_dir **ret_dir, struct pl_recorder **ret)
{
	struct pl_recorder *rec = calloc(1, sizeof(*rec));

	if (!rec)
		return -ENOMEM;
	rec->dir.ops = &rec_dir_ops;
	rec->last = &rec->first;
	snprintf(rec->dir.path, sizeof(rec->dir.path), "recording");
	if (pl_dir_memory(&rec->live, 0) < 0 ||
	    pl_dir_memory(&rec->durable, 0) < 0) {
		pl_recorder_free(rec);
		return -ENOMEM;
	}
	*ret_dir = &rec->dir;
	*ret = rec;
	return 0;
}

void pl_recorder_free(struct pl_recorder *rec)
{
	struct event *e;

	if (!rec)
		return;
	while ((e = rec->first) != NULL) {
		rec->first = e->next;
		event_free(e);
	}
	pl_dir_close(rec->live);
	pl_dir_close(rec->durable);
	for (size_t i = 0; i < rec->n_all; i++)
		memfile_put(rec->all[i]);
	free(rec->all);
	free(rec);
}

void pl_recorder_hook(struct pl_recorder *rec, void (*fn)(void *arg), void *arg)
{
	rec->hook = fn;
	rec->hook_arg = arg;
}
