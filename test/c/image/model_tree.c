/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on the image: snapshots, switching, deleting, sizes, space. */
#include "model_int.h"

#include <stdlib.h>
#include <string.h>

/* Requests go on behind the switch, while the layer below is not sealed. */
static bool after_switch(struct model *m)
{
	unsigned n = (unsigned)model_random(m, 4);
	bool fine = true;

	m->taken = model_alloc(m->sectors, sizeof(*m->taken));
	memcpy(m->taken, m->s, m->sectors * sizeof(*m->taken));
	for (unsigned i = 0; i < n && fine; i++)
		fine = op_write(m) && op_discard(m) && op_read(m);
	return fine && (n < 3 || op_flush(m));
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

bool op_snapshot(struct model *m)
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
	model_settle(m);
	pl_image_close(m->img);
	m->img = NULL;
	return model_check_closed(m) && model_open(m);
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

/* What is there now becomes a snapshot, unless one holds the same. */
bool op_switch_keeping(struct model *m)
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
	model_settle(m);
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

bool op_switch(struct model *m)
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
	model_settle(m);
	m->busy = MODEL_DELETE;
	m->target = &m->snap[i];
	if (pl_image_delete(m->img, m->snap[i].id, NULL, NULL, &err) < 0)
		return model_trouble(m, "delete: %s", err.msg);
	m->busy = MODEL_IDLE;
	free(m->snap[i].values);
	m->snap[i] = m->snap[--m->n_snap];
	pl_image_close(m->img);
	m->img = NULL;
	return model_check_closed(m) && model_open(m);
}

bool op_delete(struct model *m)
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

bool op_delete_live(struct model *m)
{
	return !m->n_snap ||
	       model_delete_live(m, (unsigned)model_random(m, m->n_snap));
}

bool op_grow(struct model *m)
{
	uint64_t more = (1 + model_random(m, 40)) * m->block_size / 512;
	struct pl_err err;

	if (m->sectors + more > m->most)
		return true;
	m->busy = MODEL_GROW;
	m->resized = m->sectors + more;
	if (pl_image_resize(m->img, m->ch, (m->sectors + more) * 512, &err) < 0)
		return model_trouble(m, "grow: %s", err.msg);
	m->busy = MODEL_IDLE;
	memset(m->s + m->sectors, 0, more * sizeof(*m->s));
	m->sectors += more;
	for (uint64_t i = m->sectors - more; i < m->sectors; i++)
		model_settle_sector(&m->s[i]);
	return true;
}

bool op_shrink(struct model *m)
{
	uint64_t less = (1 + model_random(m, 60)) * m->block_size / 512;
	struct pl_err err;

	if (less >= m->sectors)
		return true;
	if (!model_close(m))
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
	return model_check_closed(m) && model_open(m);
}

static bool somebody(void *arg)
{
	(void)arg;
	return true;
}

/* Every second time as beside others, who flush at other moments. */
bool op_compact(struct model *m)
{
	struct pl_image_work beside = { .others = somebody };
	struct pl_compact_result res;
	struct pl_err err;

	if (pl_image_compact(m->img, m->ch, &res,
			     m->next_value % 2 ? &beside : NULL, &err) < 0)
		return model_trouble(m, "compact: %s", err.msg);
	model_settle(m);
	return true;
}

bool op_reclaim_hidden(struct model *m)
{
	struct pl_reclaim_result res;
	struct pl_err err;

	if (pl_image_reclaim_hidden(m->img, m->ch, &res, NULL, &err) < 0)
		return model_trouble(m, "reclaim: %s", err.msg);
	m->reclaimed += res.punched_bytes;
	return model_verify_all(m);
}
