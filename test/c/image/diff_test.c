/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changed blocks between the states of images that random operations made,
 * against a comparison of the states themselves. PLOOP_SEED repeats a run.
 */
#include "tap.h"

#include <time.h>

#include "image/diff.h"
#include "model.h"

#define STEPS 1200

/* ---- the states, block by block ---- */

struct state {
	const char *key; /* NULL = now */
	const uint32_t *values; /* of sectors */
	uint64_t sectors;
};

static uint32_t value_at(const struct state *s, uint64_t sector)
{
	return s->values && sector < s->sectors ? s->values[sector] : 0;
}

static bool differs(const struct state *a, const struct state *b, uint64_t bno,
		    uint64_t per)
{
	for (uint64_t i = bno * per; i < (bno + 1) * per; i++)
		if (value_at(a, i) != value_at(b, i))
			return true;
	return false;
}

static bool zeros(const struct state *s, uint64_t bno, uint64_t per)
{
	for (uint64_t i = bno * per; i < (bno + 1) * per; i++)
		if (value_at(s, i))
			return false;
	return true;
}

/* ---- the answer, block by block ---- */

enum { SAME, DATA, ZERO };

struct answer {
	uint8_t kind[MODEL_MAX_SECTORS];
	uint64_t bs, end; /* end: of the last extent */
	bool ordered;
	unsigned extents, limit;
};
static struct answer got;
static bool strict; /* no crash has brought old content back */

static bool note(void *arg, const struct pl_diff_extent *e)
{
	struct answer *a = arg;

	if (a->limit && a->extents == a->limit)
		return false;
	a->extents++;
	a->ordered &= e->len > 0 && e->off >= a->end && e->off % a->bs == 0;
	a->end = e->off + e->len;
	for (uint64_t b = e->off / a->bs; b * a->bs < a->end; b++)
		a->kind[b] = e->zero ? ZERO : DATA;
	return true;
}

static bool check_block(struct model *m, const struct state *from,
			const struct state *to, uint64_t bno, unsigned flags)
{
	uint64_t per = m->block_size / 512;
	bool other = differs(from, to, bno, per);

	if (other && got.kind[bno] == SAME)
		return model_trouble(m, "block %llu is not told",
				     (unsigned long long)bno);
	if (got.kind[bno] == ZERO && !zeros(to, bno, per))
		return model_trouble(m, "block %llu is not zeros",
				     (unsigned long long)bno);
	if (got.kind[bno] == SAME || other)
		return true;
	/* Every write had new content, so all it can be is discarded twice. */
	if (flags & PL_DIFF_COMPARE || (strict && !zeros(to, bno, per)))
		return model_trouble(m, "block %llu is the same",
				     (unsigned long long)bno);
	return true;
}

static bool check_pair(struct model *m, const struct state *from,
		       const struct state *to, unsigned flags)
{
	uint64_t per = m->block_size / 512, cut, size;
	struct pl_diff *diff;
	struct pl_err err;
	int rc = pl_diff_open(&diff, m->img, from->key, to->key, m->ch, &err);

	if (rc < 0)
		return model_trouble(m, "open: %s", err.msg);
	memset(&got, 0, sizeof(got));
	got.bs = m->block_size;
	got.ordered = true;
	size = pl_diff_size(diff);
	/* In two parts, as a client would. */
	cut = model_random(m, size / got.bs) * got.bs;
	rc = pl_diff_extents(diff, 0, cut, flags, note, NULL, &got, NULL, &err);
	if (rc == 0)
		rc = pl_diff_extents(diff, cut, UINT64_MAX - cut, flags, note,
				     NULL, &got, NULL, &err);
	pl_diff_close(diff);
	if (rc < 0)
		return model_trouble(m, "diff: %s", err.msg);
	if (!got.ordered || got.end > size || size != to->sectors * 512)
		return model_trouble(m, "extents out of order or range");
	for (uint64_t b = 0; b * per < to->sectors; b++)
		if (!check_block(m, from, to, b, flags))
			return false;
	return true;
}

static bool check_pairs(struct model *m)
{
	static uint32_t now[MODEL_MAX_SECTORS];
	struct state s[MODEL_SNAPSHOTS + 2] = { { .sectors = 0 } };
	unsigned n = m->n_snap, pairs = 0;

	for (unsigned i = 0; i < n; i++)
		s[i] = (struct state){ .key = m->snap[i].id,
				       .values = m->snap[i].values,
				       .sectors = m->snap[i].sectors };
	for (uint64_t i = 0; i < m->sectors; i++)
		now[i] = m->s[i].value;
	s[n] = (struct state){ .values = now, .sectors = m->sectors };
	/* s[n + 1]: before everything. */
	for (unsigned a = 0; a <= n + 1; a++)
		for (unsigned b = 0; b <= n; b++) {
			if (a == n)
				continue;
			if (!check_pair(m, &s[a], &s[b], 0) ||
			    !check_pair(m, &s[a], &s[b], PL_DIFF_COMPARE))
				return false;
			pairs++;
		}
	printf("# %u pairs of %u snapshots and now\n", pairs, n);
	return true;
}

static bool step(struct model *m)
{
	enum model_op op;

	/* More snapshots than the model takes by itself. */
	if (!model_random(m, 40))
		return model_do(m, MODEL_OP_SNAPSHOT);
	if (!strict)
		return model_step(m);
	op = (enum model_op)model_random(m, MODEL_OPS);
	/* Zeros written over zeros are what a block held before. */
	return model_do(m, op == MODEL_OP_ZERO || model_random(m, 2) ?
				   MODEL_OP_WRITE :
				   op);
}

static bool run(uint32_t block_size, uint64_t size, uint64_t seed)
{
	struct pl_dir *dir;
	struct model m;
	bool fine;

	if (pl_dir_memory(&dir, 0) < 0)
		return false;
	fine = model_init(&m, dir, block_size, size, seed);
	for (unsigned i = 0; fine && i < STEPS; i++) {
		fine = step(&m);
		if (fine && i % (STEPS / 3) == STEPS / 3 - 1)
			fine = check_pairs(&m);
	}
	if (!fine)
		printf("# block size %u, seed %llu: %s\n", block_size,
		       (unsigned long long)seed, m.what);
	model_fini(&m);
	pl_dir_close(dir);
	return fine;
}

pl_test("every pair of states differs in exactly the blocks that are told")
{
	const char *given = getenv("PLOOP_SEED");
	uint64_t day = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);

	printf("# seed of the day: %llu\n", (unsigned long long)day);
	strict = false;
	ok(run(4096, 3u << 20, day));
	ok(run(4096, (3u << 20) + 20480, 1));
	ok(run(16384, (5u << 20) + 16384, 2));
}

pl_test("where every write has new content, only those blocks are told")
{
	strict = true;
	ok(run(4096, 2u << 20, 3));
	ok(run(65536, 9u << 20, 4));
}

int main(void)
{
	return pl_tap_main();
}
