/* SPDX-License-Identifier: Apache-2.0 */
/* Random operations on a real image beside the model: see model.h. */
#include "model.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_OP (700u << 10) /* bytes of one read or write */

static char buf[MAX_OP] __attribute__((aligned(4096)));

bool model_trouble(struct model *m, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(m->what, sizeof(m->what), fmt, ap);
	va_end(ap);
	return false;
}

void *model_alloc(size_t n, size_t size)
{
	size_t bytes = (n * size + 63) / 64 * 64;
	void *p = aligned_alloc(64, bytes ? bytes : 64);

	if (!p)
		abort();
	return memset(p, 0, bytes);
}

uint64_t model_random(struct model *m, uint64_t below)
{
	m->seed ^= m->seed << 13;
	m->seed ^= m->seed >> 7;
	m->seed ^= m->seed << 17;
	return m->seed % below;
}

static bool open_image(struct model *m)
{
	struct pl_err err;

	if (pl_image_open(&m->img, m->dir, PL_IMAGE_WRITE, "test", &err) < 0 ||
	    pl_image_open_chain(m->img, NULL, false, NULL, &m->ch, &err) < 0)
		return model_trouble(m, "open: %s", err.msg);
	memcpy(m->top, pl_image_desc(m->img)->top, sizeof(m->top));
	if (pl_chain_size(m->ch) != m->sectors * 512)
		return model_trouble(m, "size %llu",
				     (unsigned long long)pl_chain_size(m->ch));
	return true;
}

static bool print_finding(void *arg, const struct pl_finding *f)
{
	model_trouble(arg, "check: layer %s: %s", f->layer, f->text);
	return true;
}

static bool check_closed(struct model *m)
{
	struct pl_check_result res;
	struct pl_err err;

	if (pl_image_check(m->dir, print_finding, m, &res, &err) < 0)
		return model_trouble(m, "check: %s", err.msg);
	return res.findings == 0;
}

static void settle_sector(struct model_sector *s)
{
	s->allowed[0] = s->value;
	s->n_allowed = 1;
}

static void settle(struct model *m)
{
	for (uint64_t i = 0; i < m->sectors; i++) {
		settle_sector(&m->s[i]);
		if (m->taken)
			settle_sector(&m->taken[i]);
	}
}

bool model_init(struct model *m, struct pl_dir *dir, uint32_t block_size,
		uint64_t size, uint64_t seed)
{
	struct pl_image_params p = { .size = size, .block_size = block_size };
	struct pl_err err;

	memset(m, 0, sizeof(*m));
	m->dir = dir;
	m->block_size = block_size;
	m->sectors = size / 512;
	m->max_snap = MODEL_SNAPSHOTS;
	m->seed = seed * 2654435761u + 88172645463325252ull;
	m->next_value = 1;
	m->s = model_alloc(MODEL_MAX_SECTORS, sizeof(*m->s));
	settle(m);
	if (pl_image_create(dir, &p, &err) < 0)
		return model_trouble(m, "create: %s", err.msg);
	return open_image(m);
}

void model_fini(struct model *m)
{
	pl_chain_abandon(m->ch);
	pl_image_close(m->img);
	for (unsigned i = 0; i < m->n_snap; i++)
		free(m->snap[i].values);
	free(m->s);
	free(m->taken);
}

static void fill(char *p, uint64_t sectors, uint32_t value)
{
	uint32_t *w = (uint32_t *)(void *)p;

	for (uint64_t i = 0; i < sectors * 128; i++)
		w[i] = value;
}

static void note(struct model *m, uint64_t first, uint64_t n, uint32_t value)
{
	for (uint64_t i = first; i < first + n; i++) {
		struct model_sector *s = &m->s[i];

		s->value = value;
		if (s->n_allowed < MODEL_HISTORY)
			s->allowed[s->n_allowed++] = value;
	}
}

/* ---- operations ---- */

static void range(struct model *m, uint64_t *first, uint64_t *n)
{
	static const unsigned most[] = { 1, 8, 16, 64, 600, 1400 };
	uint64_t limit = most[model_random(m, 6)];

	*first = model_random(m, m->sectors);
	if (model_random(m, 2))
		*first = *first / 8 * 8;
	*n = 1 + model_random(m, limit);
	if (model_random(m, 2))
		*n = (*n + 7) / 8 * 8;
	if (*n > m->sectors - *first)
		*n = m->sectors - *first;
}

/* A full history would make the model forget: settle it first. */
static bool flush(struct model *m)
{
	if (pl_chain_flush(m->ch) < 0)
		return model_trouble(m, "flush failed");
	settle(m);
	return true;
}

static bool room(struct model *m, uint64_t first, uint64_t n)
{
	for (uint64_t i = first; i < first + n; i++)
		if (m->s[i].n_allowed == MODEL_HISTORY)
			return flush(m);
	return true;
}

static bool op_write(struct model *m)
{
	uint32_t value = m->next_value++;
	uint64_t first, n;

	range(m, &first, &n);
	if (!room(m, first, n))
		return false;
	fill(buf, n, value);
	note(m, first, n, value);
	if (pl_chain_write(m->ch, buf, n * 512, first * 512) < 0)
		return model_trouble(m, "write failed");
	return true;
}

/* Content must not depend on what is given back. */
static void any_policy(struct model *m, uint64_t seed)
{
	pl_chain_set_discard(m->ch, (enum pl_discard)(seed % 3));
}

static bool op_zero(struct model *m)
{
	uint64_t first, n;

	range(m, &first, &n);
	if (!room(m, first, n))
		return false;
	note(m, first, n, 0);
	any_policy(m, first);
	if (pl_chain_zero(m->ch, n * 512, first * 512) < 0)
		return model_trouble(m, "zero failed");
	return true;
}

static bool op_discard(struct model *m)
{
	uint64_t first, n, per = m->block_size / 512, start, end;

	range(m, &first, &n);
	if (!room(m, first, n))
		return false;
	start = (first + per - 1) / per * per;
	end = (first + n) / per * per;
	if (end > start)
		note(m, start, end - start, 0);
	any_policy(m, first);
	if (pl_chain_discard(m->ch, n * 512, first * 512) < 0)
		return model_trouble(m, "discard failed");
	return true;
}

static bool verify(struct model *m, struct pl_chain *ch, uint64_t first,
		   uint64_t n, const uint32_t *values)
{
	const uint32_t *w = (const uint32_t *)(const void *)buf;
	uint32_t want;

	memset(buf, 0xee, n * 512);
	if (pl_chain_read(ch, buf, n * 512, first * 512) < 0)
		return model_trouble(m, "read failed");
	for (uint64_t i = 0; i < n; i++) {
		want = values ? values[first + i] : m->s[first + i].value;
		for (unsigned k = 0; k < 128; k++)
			if (w[i * 128 + k] != want)
				return model_trouble(
					m, "sector %llu is %u, not %u",
					(unsigned long long)(first + i),
					w[i * 128 + k], want);
	}
	return true;
}

static bool verify_whole(struct model *m, struct pl_chain *ch, uint64_t sectors,
			 const uint32_t *values)
{
	for (uint64_t i = 0; i < sectors; i += MAX_OP / 512) {
		uint64_t n = sectors - i;

		if (!verify(m, ch, i, n < MAX_OP / 512 ? n : MAX_OP / 512,
			    values))
			return false;
	}
	return true;
}

static bool op_read(struct model *m)
{
	uint64_t first, n;

	range(m, &first, &n);
	return verify(m, m->ch, first, n, NULL);
}

static bool close_image(struct model *m)
{
	struct pl_err err;
	int rc = pl_chain_close(m->ch, &err);

	m->ch = NULL;
	pl_image_close(m->img);
	m->img = NULL;
	if (rc < 0)
		return model_trouble(m, "close: %s", err.msg);
	settle(m);
	return check_closed(m);
}

static bool op_reopen(struct model *m)
{
	return close_image(m) && open_image(m);
}

/* After a crash every sector holds a value its history allows. */
static bool adopt(struct model *m)
{
	const uint32_t *w = (const uint32_t *)(const void *)buf;

	for (uint64_t i = 0; i < m->sectors; i++) {
		struct model_sector *s = &m->s[i];
		bool fine = false;

		if (i % 64 == 0 &&
		    pl_chain_read(m->ch, buf,
				  (m->sectors - i < 64 ? m->sectors - i : 64) *
					  512,
				  i * 512) < 0)
			return model_trouble(m, "read failed");
		for (unsigned k = 0; k < s->n_allowed; k++)
			fine |= s->allowed[k] == w[i % 64 * 128];
		if (!fine)
			return model_trouble(m,
					     "after a crash, sector %llu is %u",
					     (unsigned long long)i,
					     w[i % 64 * 128]);
		s->value = w[i % 64 * 128];
	}
	return true;
}

static bool op_crash(struct model *m)
{
	pl_chain_abandon(m->ch);
	m->ch = NULL;
	pl_image_close(m->img);
	m->img = NULL;
	/* What was read need not be durable yet. */
	return check_closed(m) && open_image(m) && adopt(m) &&
	       (model_random(m, 2) || flush(m));
}

/* Requests go on behind the switch, while the layer below is not sealed. */
static bool after_switch(struct model *m)
{
	unsigned n = (unsigned)model_random(m, 4);
	bool fine = true;

	m->taken = model_alloc(m->sectors, sizeof(*m->taken));
	memcpy(m->taken, m->s, m->sectors * sizeof(*m->taken));
	for (unsigned i = 0; i < n && fine; i++)
		fine = op_write(m) && op_discard(m) && op_read(m);
	return fine && (n < 3 || flush(m));
}

static bool take(struct model *m, char *id)
{
	struct pl_err err;
	int rc = pl_image_snapshot_prepare(m->img, m->ch, NULL, NULL, NULL,
					   &err);

	if (rc < 0)
		return model_trouble(m, "snapshot: %s", err.msg);
	rc = pl_image_snapshot_commit(m->img, m->ch, &err);
	/* Requests go on until the switch. */
	if (rc == 0 && (!op_write(m) || !op_discard(m)))
		return false;
	if (rc == 0)
		rc = pl_image_snapshot_switch(m->img, m->ch, id, &err);
	if (rc < 0) {
		pl_image_snapshot_undo(m->img, m->ch, NULL);
		return model_trouble(m, "snapshot: %s", err.msg);
	}
	if (!after_switch(m))
		return false;
	rc = pl_image_snapshot_finish(m->img, m->ch, &err);
	return rc < 0 ? model_trouble(m, "snapshot: %s", err.msg) : true;
}

/* Another snapshot, of what `of` holds. */
static void add_snapshot(struct model *m, const struct model_sector *of)
{
	struct model_snapshot *s = &m->snap[m->n_snap++];

	s->sectors = m->sectors;
	s->values = model_alloc(m->sectors, sizeof(*s->values));
	for (uint64_t i = 0; i < m->sectors; i++)
		s->values[i] = of[i].value;
}

static bool op_snapshot(struct model *m)
{
	struct model_snapshot *s = &m->snap[m->n_snap];

	if (m->n_snap == m->max_snap)
		return true;
	m->busy = MODEL_SNAPSHOT;
	if (!take(m, s->id))
		return false;
	memcpy(m->top, pl_image_desc(m->img)->top, sizeof(m->top));
	m->busy = MODEL_IDLE;
	add_snapshot(m, m->taken);
	free(m->taken);
	m->taken = NULL;
	return true;
}

/* The disk is what the snapshot holds. */
static bool switched(struct model *m, const struct model_snapshot *s)
{
	m->busy = MODEL_IDLE;
	m->sectors = s->sectors;
	for (uint64_t i = 0; i < m->sectors; i++)
		m->s[i].value = s->values[i];
	settle(m);
	pl_image_close(m->img);
	m->img = NULL;
	return check_closed(m) && open_image(m);
}

bool model_switch(struct model *m, unsigned n)
{
	struct model_snapshot *s = &m->snap[n];
	struct pl_err err;

	pl_chain_abandon(m->ch);
	m->ch = NULL;
	m->busy = MODEL_SWITCH;
	m->target = s;
	if (pl_image_switch(m->img, s->id, &err) < 0)
		return model_trouble(m, "switch: %s", err.msg);
	return switched(m, s);
}

bool model_is_kept(const struct model *m)
{
	for (unsigned i = 0; i < m->n_snap; i++) {
		const struct model_snapshot *s = &m->snap[i];
		uint64_t n = 0;

		while (n < m->sectors && s->sectors == m->sectors &&
		       s->values[n] == m->s[n].value)
			n++;
		if (n == m->sectors)
			return true;
	}
	return false;
}

/* What is there now becomes a snapshot, unless one holds the same. */
static bool op_switch_keeping(struct model *m)
{
	struct model_snapshot *s;
	char kept[PL_ID_LEN + 1];
	struct pl_err err;
	int rc;

	if (!m->n_snap || m->n_snap == m->max_snap)
		return true;
	s = &m->snap[model_random(m, m->n_snap)];
	rc = pl_chain_close(m->ch, &err);
	m->ch = NULL;
	if (rc < 0)
		return model_trouble(m, "close: %s", err.msg);
	settle(m);
	m->busy = MODEL_SWITCH_KEEPING;
	m->target = s;
	if (pl_image_switch_keeping(m->img, s->id, NULL, NULL, kept, &err) < 0)
		return model_trouble(m, "switch, keeping: %s", err.msg);
	if (!kept[0] && !model_is_kept(m))
		return model_trouble(m, "switch: the state before is lost");
	if (kept[0]) {
		memcpy(m->snap[m->n_snap].id, kept, sizeof(kept));
		add_snapshot(m, m->s);
	}
	return switched(m, s);
}

static bool op_switch(struct model *m)
{
	return !m->n_snap ||
	       model_switch(m, (unsigned)model_random(m, m->n_snap));
}

bool model_delete(struct model *m, unsigned i)
{
	struct pl_err err;
	int rc = pl_chain_close(m->ch, &err);

	m->ch = NULL;
	if (rc < 0)
		return model_trouble(m, "close: %s", err.msg);
	settle(m);
	m->busy = MODEL_DELETE;
	m->target = &m->snap[i];
	if (pl_image_delete(m->img, m->snap[i].id, NULL, NULL, &err) < 0)
		return model_trouble(m, "delete: %s", err.msg);
	m->busy = MODEL_IDLE;
	free(m->snap[i].values);
	m->snap[i] = m->snap[--m->n_snap];
	pl_image_close(m->img);
	m->img = NULL;
	return check_closed(m) && open_image(m);
}

static bool op_delete(struct model *m)
{
	return !m->n_snap ||
	       model_delete(m, (unsigned)model_random(m, m->n_snap));
}

static int never_pause(void *arg)
{
	(void)arg;
	return 0;
}

static void never_wait(void *arg)
{
	(void)arg;
}

/* Beside the chain, which goes on afterwards. */
bool model_delete_live(struct model *m, unsigned i)
{
	struct pl_image_live live = { .chain = m->ch,
				      .pause = never_pause,
				      .resume = never_wait,
				      .settle = never_wait };
	char id[PL_ID_LEN + 1];
	struct pl_err err;
	int rc;

	m->busy = MODEL_DELETE;
	m->target = &m->snap[i];
	rc = pl_image_hide(m->img, m->snap[i].id, id, &err);
	if (rc == 0)
		rc = pl_image_tidy(m->img, &live, NULL, &err);
	if (rc < 0)
		return model_trouble(m, "delete, live: %s", err.msg);
	memcpy(m->top, pl_image_desc(m->img)->top, sizeof(m->top));
	m->busy = MODEL_IDLE;
	free(m->snap[i].values);
	m->snap[i] = m->snap[--m->n_snap];
	return model_verify_all(m);
}

static bool op_delete_live(struct model *m)
{
	return !m->n_snap ||
	       model_delete_live(m, (unsigned)model_random(m, m->n_snap));
}

static bool op_verify_snapshot(struct model *m)
{
	struct model_snapshot *s;
	struct pl_chain *ch;
	struct pl_err err;
	bool fine;

	if (!m->n_snap)
		return true;
	s = &m->snap[model_random(m, m->n_snap)];
	if (pl_image_open_chain(m->img, s->id, true, NULL, &ch, &err) < 0)
		return model_trouble(m, "snapshot chain: %s", err.msg);
	fine = pl_chain_size(ch) == s->sectors * 512 &&
	       verify_whole(m, ch, s->sectors, s->values);
	pl_chain_abandon(ch);
	return fine;
}

static bool op_grow(struct model *m)
{
	uint64_t more = (1 + model_random(m, 40)) * m->block_size / 512;
	struct pl_err err;

	if (m->sectors + more > MODEL_MAX_SECTORS)
		return true;
	m->busy = MODEL_GROW;
	m->resized = m->sectors + more;
	if (pl_image_resize(m->img, m->ch, (m->sectors + more) * 512, &err) < 0)
		return model_trouble(m, "grow: %s", err.msg);
	m->busy = MODEL_IDLE;
	memset(m->s + m->sectors, 0, more * sizeof(*m->s));
	m->sectors += more;
	for (uint64_t i = m->sectors - more; i < m->sectors; i++)
		settle_sector(&m->s[i]);
	return true;
}

static bool op_shrink(struct model *m)
{
	uint64_t less = (1 + model_random(m, 60)) * m->block_size / 512;
	struct pl_err err;

	if (less >= m->sectors)
		return true;
	if (!close_image(m))
		return false;
	if (pl_image_open(&m->img, m->dir, PL_IMAGE_WRITE, "test", &err) < 0)
		return model_trouble(m, "open: %s", err.msg);
	m->busy = MODEL_SHRINK;
	m->resized = m->sectors - less;
	if (pl_image_shrink(m->img, m->resized * 512, &err) < 0)
		return model_trouble(m, "shrink: %s", err.msg);
	m->busy = MODEL_IDLE;
	m->sectors -= less;
	pl_image_close(m->img);
	m->img = NULL;
	return check_closed(m) && open_image(m);
}

static bool op_compact(struct model *m)
{
	struct pl_compact_result res;
	struct pl_err err;

	if (pl_image_compact(m->img, m->ch, &res, NULL, &err) < 0)
		return model_trouble(m, "compact: %s", err.msg);
	settle(m);
	return true;
}

static bool op_reclaim_hidden(struct model *m)
{
	struct pl_reclaim_result res;
	struct pl_err err;

	if (pl_image_reclaim_hidden(m->img, m->ch, &res, NULL, &err) < 0)
		return model_trouble(m, "reclaim: %s", err.msg);
	m->reclaimed += res.punched_bytes;
	return model_verify_all(m);
}

bool model_verify_all(struct model *m)
{
	return verify_whole(m, m->ch, m->sectors, NULL);
}

bool model_do(struct model *m, enum model_op op)
{
	static bool (*const ops[MODEL_OPS])(struct model * m) = {
		[MODEL_OP_WRITE] = op_write,
		[MODEL_OP_ZERO] = op_zero,
		[MODEL_OP_DISCARD] = op_discard,
		[MODEL_OP_FLUSH] = flush,
		[MODEL_OP_SNAPSHOT] = op_snapshot,
		[MODEL_OP_SWITCH] = op_switch,
		[MODEL_OP_SWITCH_KEEPING] = op_switch_keeping,
		[MODEL_OP_DELETE] = op_delete,
		[MODEL_OP_DELETE_LIVE] = op_delete_live,
		[MODEL_OP_GROW] = op_grow,
		[MODEL_OP_SHRINK] = op_shrink,
		[MODEL_OP_COMPACT] = op_compact,
		[MODEL_OP_RECLAIM_HIDDEN] = op_reclaim_hidden,
		[MODEL_OP_CLOSE] = op_reopen,
	};

	return ops[op](m);
}

bool model_step(struct model *m)
{
	uint64_t r = model_random(m, 1000);

	if (r < 400)
		return op_write(m);
	if (r < 600)
		return op_read(m);
	if (r < 700)
		return op_zero(m);
	if (r < 820)
		return op_discard(m);
	if (r < 900)
		return flush(m);
	if (r < 920)
		return op_reopen(m);
	if (r < 940)
		return op_crash(m);
	if (r < 950)
		return op_snapshot(m);
	if (r < 960)
		return op_verify_snapshot(m);
	if (r < 968)
		return op_switch(m);
	if (r < 972)
		return op_delete(m);
	if (r < 978)
		return op_delete_live(m);
	if (r < 982)
		return op_grow(m);
	if (r < 986)
		return op_shrink(m);
	if (r < 990)
		return op_compact(m);
	if (r < 994)
		return op_reclaim_hidden(m);
	if (r < 998)
		return op_switch_keeping(m);
	return model_verify_all(m);
}
