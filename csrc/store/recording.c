/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The recording directory: see recording.h.
 *
 * `live` is what the program sees; `durable` what a disk would surely hold.
 * Every file exists twice: the live one's twin is the durable one. Events are
 * what separates the two.
 */
#include "store/recording.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/memfile.h"

enum kind { WRITE, PUNCH, TRUNCATE, CREATE, RENAME, UNLINK };

struct event {
	enum kind kind;
	uint64_t seq, off, len;
	struct mem_file *file; /* durable */
	uint8_t *data;
	uint32_t unit; /* a torn write falls apart into these */
	char from[96], to[96], dir[32];
	struct event *next;
};

struct pl_recorder {
	struct pl_dir dir;
	struct pl_dir *live, *durable;
	struct event *first, **last;
	struct mem_file **all; /* every durable file ever made */
	size_t n_all;
	uint64_t seq, version;
	void (*hook)(void *arg);
	void *hook_arg;
};

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

static bool is_dir_event(const struct event *e)
{
	return e->kind == CREATE || e->kind == RENAME || e->kind == UNLINK;
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

static int apply_data(struct mem_file *f, const struct event *e)
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

static int apply_dir(struct pl_dir *dir, const struct event *e,
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
		rc = dir ? apply_dir(rec->durable, e, e->file) :
			   apply_data(e->file, e);
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

/* ---- crash states ---- */

static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static void mix(uint64_t *hash, uint64_t value)
{
	*hash = (*hash ^ value) * 0x100000001b3ull;
	*hash ^= *hash >> 29;
}

struct state {
	struct pl_dir *dir;
	enum pl_crash how;
	uint64_t *seed, hash;
	unsigned n_data, torn; /* data events; index of the torn one */
};

/* The state's copy of a durable file, NULL when it is not linked there. */
static int clone_into(struct state *s, struct mem_file *f)
{
	f->twin = memfile_clone(f);
	if (!f->twin)
		return -ENOMEM;
	f->twin->refs++; /* ours: it may be removed from the state again */
	memdir_link(s->dir, f->twin);
	return 0;
}

static int start_state(struct pl_recorder *rec, struct state *s)
{
	struct mem_file *f;
	int rc = pl_dir_memory(&s->dir, 0);

	for (size_t i = 0; i < rec->n_all; i++)
		rec->all[i]->twin = NULL;
	for (f = memdir_first(rec->durable); f && rc == 0; f = f->next)
		rc = clone_into(s, f);
	mix(&s->hash, rec->version);
	for (const struct event *e = rec->first; e; e = e->next)
		s->n_data += !is_dir_event(e);
	s->torn = s->how == PL_CRASH_RANDOM_TORN && s->n_data ?
			  (unsigned)(next_random(s->seed) % s->n_data) :
			  UINT32_MAX;
	return rc;
}

/* How many of a directory's events happened: some first part of them. */
static unsigned dir_events_kept(struct state *s, unsigned n)
{
	switch (s->how) {
	case PL_CRASH_NONE:
		return 0;
	case PL_CRASH_ALL:
	case PL_CRASH_ONLY_LAST:
		return n;
	case PL_CRASH_ALL_BUT_LAST:
		return n ? n - 1 : 0;
	default:
		return (unsigned)(next_random(s->seed) % (n + 1));
	}
}

static int keep_dir_events(struct pl_recorder *rec, struct state *s,
			   const char *dir)
{
	unsigned n = 0, kept;
	int rc = 0;

	for (const struct event *e = rec->first; e; e = e->next)
		n += is_dir_event(e) && strcmp(e->dir, dir) == 0;
	kept = dir_events_kept(s, n);
	for (const struct event *e = rec->first; e && kept && rc == 0;
	     e = e->next) {
		if (!is_dir_event(e) || strcmp(e->dir, dir) != 0)
			continue;
		kept--;
		mix(&s->hash, e->seq);
		if (e->kind == CREATE)
			rc = clone_into(s, e->file);
		else
			rc = apply_dir(s->dir, e, NULL);
	}
	return rc;
}

static bool keep_data(struct state *s, unsigned i)
{
	switch (s->how) {
	case PL_CRASH_NONE:
		return false;
	case PL_CRASH_ALL:
		return true;
	case PL_CRASH_ALL_BUT_LAST:
		return i + 1 < s->n_data;
	case PL_CRASH_ONLY_LAST:
		return i + 1 == s->n_data;
	default:
		return i == s->torn || next_random(s->seed) & 1;
	}
}

static int apply_torn(struct state *s, const struct event *e)
{
	uint64_t n, mask = next_random(s->seed);
	int rc = 0;

	mix(&s->hash, mask);
	for (uint64_t at = 0, i = 0; at < e->len && rc == 0; at += n, i++) {
		/* Units lie on the disk, not in the write. */
		n = e->unit - (e->off + at) % e->unit;
		n = n < e->len - at ? n : e->len - at;
		if (mask >> (i % 64) & 1)
			rc = memfile_write(e->file->twin, e->data + at,
					   e->off + at, n);
	}
	return rc;
}

static int keep_data_events(struct pl_recorder *rec, struct state *s)
{
	unsigned i = 0;
	int rc = 0;

	for (const struct event *e = rec->first; e && rc == 0; e = e->next) {
		if (is_dir_event(e))
			continue;
		if (keep_data(s, i) && e->file->twin) {
			mix(&s->hash, e->seq);
			rc = i == s->torn && e->kind == WRITE ?
				     apply_torn(s, e) :
				     apply_data(e->file->twin, e);
		}
		i++;
	}
	return rc;
}

int pl_recorder_crash(struct pl_recorder *rec, enum pl_crash how,
		      uint64_t *seed, struct pl_dir **ret, uint64_t *ret_hash)
{
	struct state s = { .how = how, .seed = seed, .hash = 0xcbf29ce484222325 };
	int rc = start_state(rec, &s);

	if (rc == 0)
		rc = keep_dir_events(rec, &s, "");
	if (rc == 0)
		rc = keep_dir_events(rec, &s, "layers");
	if (rc == 0)
		rc = keep_data_events(rec, &s);
	for (size_t i = 0; i < rec->n_all; i++)
		if (rec->all[i]->twin)
			memfile_put(rec->all[i]->twin);
	if (rc < 0) {
		pl_dir_close(s.dir);
		return rc;
	}
	*ret = s.dir;
	*ret_hash = s.hash;
	return 0;
}
