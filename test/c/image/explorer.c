/* SPDX-License-Identifier: Apache-2.0 */
/* The crash explorer: see explorer.h. */
#include "explorer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEEN (1u << 21) /* hash slots */
#define DISK ((1u << 20) + 40960u) /* bytes of the image */
#define OPS 300u /* operations on one image */
#define BRANCH 60u /* of them, until there are branches again */

static char buf[256 << 10] __attribute__((aligned(4096)));

static bool is_new(struct explorer *ex, uint64_t hash)
{
	uint64_t i = hash % SEEN;

	hash |= 1;
	while (ex->seen[i] && ex->seen[i] != hash)
		i = (i + 1) % SEEN;
	if (ex->seen[i])
		return false;
	if (ex->n_seen < SEEN / 2) {
		ex->seen[i] = hash;
		ex->n_seen++;
	}
	return true;
}

/* ---- what a state may hold ---- */

static bool allowed(const struct model *m, const struct model_sector *of,
		    uint64_t sector, uint32_t value)
{
	const struct model_sector *s = &of[sector];

	if (sector >= m->sectors)
		return value == 0; /* just grown */
	for (unsigned i = 0; i < s->n_allowed; i++)
		if (s->allowed[i] == value)
			return true;
	return false;
}

/* Compares a disk: with exact values, or (NULL) with what `of` allows. */
static bool compare_with(struct explorer *ex, struct pl_chain *ch,
			 const uint32_t *values, const struct model_sector *of,
			 const char *where)
{
	uint64_t sectors = pl_chain_size(ch) / 512, n;
	const uint32_t *w = (const uint32_t *)(const void *)buf;

	for (uint64_t at = 0; at < sectors; at += n) {
		n = sectors - at < sizeof(buf) / 512 ? sectors - at :
						       sizeof(buf) / 512;
		if (pl_chain_read(ch, buf, n * 512, at * 512) < 0)
			return model_trouble(&ex->m, "%s: read failed", where);
		for (uint64_t i = 0; i < n; i++) {
			uint32_t v = w[i * 128];
			bool whole =
				memcmp(w + i * 128, w + i * 128 + 1, 508) == 0;

			if (!whole ||
			    (values ? values[at + i] != v :
				      !allowed(&ex->m, of, at + i, v)))
				return model_trouble(
					&ex->m, "%s: sector %llu holds %u%s",
					where, (unsigned long long)(at + i), v,
					whole ? "" : " and more");
		}
	}
	return true;
}

static bool compare(struct explorer *ex, struct pl_chain *ch,
		    const uint32_t *values, const char *where)
{
	return compare_with(ex, ch, values, ex->m.s, where);
}

static bool size_is(struct explorer *ex, struct pl_chain *ch, uint64_t sectors)
{
	if (pl_chain_size(ch) == sectors * 512)
		return true;
	return model_trouble(&ex->m, "the size is %llu",
			     (unsigned long long)pl_chain_size(ch));
}

/* The disk is that of the snapshot already. */
static bool has_switched(const struct model *m, const struct pl_image_desc *d)
{
	const char *below = "";

	for (unsigned i = 0; i < d->n_layers; i++)
		if (strcmp(d->layers[i].id, d->top) == 0)
			below = d->layers[i].parent;
	if (strcmp(d->top, m->top) == 0)
		return false;
	return m->busy == MODEL_SWITCH ||
	       /* Else its top is that over the snapshot that is kept. */
	       (m->busy == MODEL_SWITCH_KEEPING && strcmp(below, m->top) != 0);
}

static bool check_top(struct explorer *ex, struct pl_image *img)
{
	struct model *m = &ex->m;
	struct pl_chain *ch;
	struct pl_err err;
	bool fine;

	if (pl_image_open_chain(img, NULL, false, NULL, &ch, &err) < 0)
		return model_trouble(m, "open: %s", err.msg);
	if (has_switched(m, pl_image_desc(img)))
		fine = size_is(ex, ch, m->target->sectors) &&
		       compare(ex, ch, m->target->values, "after switch");
	else
		fine = (((m->busy == MODEL_GROW || m->busy == MODEL_SHRINK) &&
			 pl_chain_size(ch) == m->resized * 512) ||
			size_is(ex, ch, m->sectors)) &&
		       compare(ex, ch, NULL, "top");
	pl_chain_abandon(ch);
	return fine;
}

static bool check_one_snapshot(struct explorer *ex, struct pl_image *img,
			       const char *id, const uint32_t *values)
{
	struct pl_chain *ch;
	struct pl_err err;
	bool fine;

	if (pl_image_open_chain(img, id, true, NULL, &ch, &err) < 0)
		return model_trouble(&ex->m, "open snapshot: %s", err.msg);
	fine = compare(ex, ch, values, "snapshot");
	pl_chain_abandon(ch);
	return fine;
}

static const struct model_snapshot *known(const struct model *m, const char *id)
{
	for (unsigned i = 0; i < m->n_snap; i++)
		if (strcmp(m->snap[i].id, id) == 0)
			return &m->snap[i];
	return NULL;
}

/*
 * A snapshot that is being taken holds what a crash at its switch may leave:
 * what was flushed by then, or newer.
 */
static bool check_new_snapshot(struct explorer *ex, struct pl_image *img,
			       const char *id)
{
	struct model *m = &ex->m;
	struct pl_chain *ch;
	struct pl_err err;
	bool fine;

	if (m->busy != MODEL_SNAPSHOT && m->busy != MODEL_SWITCH_KEEPING)
		return model_trouble(m, "unknown snapshot");
	if (pl_image_open_chain(img, id, true, NULL, &ch, &err) < 0)
		return model_trouble(m, "open snapshot: %s", err.msg);
	fine = compare_with(ex, ch, NULL, m->taken ? m->taken : m->s,
			    "new snapshot");
	pl_chain_abandon(ch);
	return fine;
}

static bool listed(const struct pl_image_desc *d, const char *id)
{
	for (unsigned i = 0; i < d->n_snapshots; i++)
		if (!d->snapshots[i].hidden &&
		    strcmp(d->snapshots[i].id, id) == 0)
			return true;
	return false;
}

static bool check_snapshots(struct explorer *ex, struct pl_image *img)
{
	const struct pl_image_desc *d = pl_image_desc(img);
	const struct model_snapshot *s;
	struct model *m = &ex->m;
	unsigned seen = 0, unknown = 0;
	bool fine = true;

	for (unsigned i = 0; i < d->n_snapshots && fine; i++) {
		if (d->snapshots[i].hidden)
			continue;
		s = known(m, d->snapshots[i].id);
		seen += s != NULL;
		unknown += s == NULL;
		if (s)
			fine = check_one_snapshot(ex, img, s->id, s->values);
		else
			fine = check_new_snapshot(ex, img, d->snapshots[i].id);
	}
	if (!fine)
		return false;
	if (unknown > 1)
		return model_trouble(m, "%u new snapshots", unknown);
	if (m->busy == MODEL_SWITCH_KEEPING && has_switched(m, d) && !unknown &&
	    !model_is_kept(m))
		return model_trouble(m, "the state before the switch is lost");
	if (seen == m->n_snap ||
	    (m->busy == MODEL_DELETE && seen + 1 == m->n_snap &&
	     !listed(d, m->target->id)))
		return true;
	return model_trouble(m, "a snapshot is missing");
}

static bool print_finding(void *arg, const struct pl_finding *f)
{
	struct explorer *ex = arg;

	model_trouble(&ex->m, "check: layer %s: %s", f->layer, f->text);
	return true;
}

bool explorer_check(struct explorer *ex, struct pl_dir *dir)
{
	struct pl_check_result res;
	struct pl_image *img;
	struct pl_err err;
	bool fine;

	if (pl_image_check(dir, print_finding, ex, &res, &err) < 0)
		return model_trouble(&ex->m, "check: %s", err.msg);
	if (res.findings)
		return false;
	if (pl_image_open(&img, dir, PL_IMAGE_WRITE, "crash", &err) < 0)
		return model_trouble(&ex->m, "open: %s", err.msg);
	fine = check_top(ex, img);
	if (fine && (ex->m.busy != MODEL_IDLE || ex->states % 8 == 0))
		fine = check_snapshots(ex, img);
	pl_image_close(img);
	return fine;
}

static void explore_one(struct explorer *ex, enum pl_crash how)
{
	struct pl_dir *dir;
	uint64_t hash;

	if (ex->bad || ex->distinct >= ex->want)
		return;
	if (pl_recorder_crash(ex->rec, how, &ex->seed, &dir, &hash) < 0) {
		ex->bad = true;
		model_trouble(&ex->m, "no memory");
		return;
	}
	ex->states++;
	if (is_new(ex, hash)) {
		ex->distinct++;
		ex->bad = !explorer_check(ex, dir);
	}
	pl_dir_close(dir);
}

static void crash_here(void *arg)
{
	struct explorer *ex = arg;

	ex->points++;
	explore_one(ex, PL_CRASH_NONE);
	explore_one(ex, PL_CRASH_ALL);
	explore_one(ex, PL_CRASH_ALL_BUT_LAST);
	explore_one(ex, PL_CRASH_ONLY_LAST);
	for (unsigned i = 0; i < 6; i++)
		explore_one(ex, PL_CRASH_RANDOM);
	for (unsigned i = 0; i < 6; i++)
		explore_one(ex, PL_CRASH_RANDOM_TORN);
}

/* ---- running ---- */

static bool step(struct model *m, unsigned i)
{
	if (i % BRANCH == 0)
		return model_branch(m) && model_do(m, MODEL_OP_RECLAIM_HIDDEN);
	return i % BRANCH == BRANCH / 2 ? model_cut(m) : model_step(m);
}

static bool run_image(struct explorer *ex, uint64_t seed)
{
	struct pl_dir *dir;
	bool fine;

	if (pl_dir_recording(&dir, &ex->rec) < 0)
		return false;
	fine = model_init(&ex->m, dir, 4096, DISK, seed);
	ex->m.max_snap = 3;
	pl_recorder_hook(ex->rec, crash_here, ex);
	for (unsigned i = 0;
	     fine && !ex->bad && i < OPS && ex->distinct < ex->want; i++)
		fine = step(&ex->m, i);
	ex->reclaimed += ex->m.reclaimed;
	pl_recorder_hook(ex->rec, NULL, NULL);
	model_fini(&ex->m);
	pl_recorder_free(ex->rec);
	return fine && !ex->bad;
}

bool explorer_run(struct explorer *ex, uint64_t want, uint64_t seed)
{
	bool fine = true;

	memset(ex, 0, sizeof(*ex));
	ex->seen = calloc(SEEN, sizeof(*ex->seen));
	ex->seed = seed | 1;
	ex->want = want;
	for (; fine && ex->distinct < want; seed++) {
		memset(ex->seen, 0, SEEN * sizeof(*ex->seen));
		ex->n_seen = 0;
		fine = run_image(ex, seed);
		if (!fine)
			printf("# seed %llu: %s\n", (unsigned long long)seed,
			       ex->m.what);
	}
	return fine;
}

void explorer_fini(struct explorer *ex)
{
	free(ex->seen);
}
