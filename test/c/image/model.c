/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random operations on a real image beside the model: see model.h. This is the
 * model itself; model_data.c and model_tree.c are the operations,
 * model_check.c compares.
 */
#include "model_int.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

void model_settle_sector(struct model_sector *s)
{
	s->allowed[0] = s->value;
	s->n_allowed = 1;
}

void model_settle(struct model *m)
{
	for (uint64_t i = 0; i < m->sectors; i++) {
		model_settle_sector(&m->s[i]);
		if (m->taken)
			model_settle_sector(&m->taken[i]);
	}
}

bool model_open(struct model *m)
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

bool model_close(struct model *m)
{
	struct pl_err err;
	int rc = pl_chain_close(m->ch, &err);

	m->ch = NULL;
	pl_image_close(m->img);
	m->img = NULL;
	if (rc < 0)
		return model_trouble(m, "close: %s", err.msg);
	model_settle(m);
	return model_check_closed(m);
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
	/* Loops start thousands of these: no more memory than they use. */
	m->most = m->sectors * 4 < MODEL_MAX_SECTORS ? m->sectors * 4 :
						       MODEL_MAX_SECTORS;
	m->s = model_alloc(m->most, sizeof(*m->s));
	model_settle(m);
	if (pl_image_create(dir, &p, &err) < 0)
		return model_trouble(m, "create: %s", err.msg);
	return model_open(m);
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

static bool op_reopen(struct model *m)
{
	return model_close(m) && model_open(m);
}

static bool op_crash(struct model *m)
{
	pl_chain_abandon(m->ch);
	m->ch = NULL;
	pl_image_close(m->img);
	m->img = NULL;
	/* What was read need not be durable yet. */
	return model_check_closed(m) && model_open(m) && model_adopt(m) &&
	       (model_random(m, 2) || op_flush(m));
}

bool model_do(struct model *m, enum model_op op)
{
	static bool (*const ops[MODEL_OPS])(struct model * m) = {
		[MODEL_OP_WRITE] = op_write,
		[MODEL_OP_ZERO] = op_zero,
		[MODEL_OP_DISCARD] = op_discard,
		[MODEL_OP_FLUSH] = op_flush,
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
		return op_flush(m);
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
