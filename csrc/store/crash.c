/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Crash states of a recording directory: what is durable, and a choice of what
 * is not (recording.h says which choices a disk has).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/recording_int.h"

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
			rc = recording_apply_dir(s->dir, e, NULL);
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
				     recording_apply_data(e->file->twin, e);
		}
		i++;
	}
	return rc;
}

int pl_recorder_crash(struct pl_recorder *rec, enum pl_crash how,
		      uint64_t *seed, struct pl_dir **ret, uint64_t *ret_hash)
{
	struct state s = { .how = how,
			   .seed = seed,
			   .hash = 0xcbf29ce484222325 };
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
