/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layers that nobody needs are merged away, in the direction that moves fewer
 * bytes, and dropped; detached, or beside the requests of a live chain.
 *
 * What may be merged: a layer that no snapshot shows (any more) and that has
 * one child. Neither of the two may have another name (a clone uses the file)
 * or be looked at by somebody else (pl_store_lock).
 *
 * COMMIT is the descriptor's: upwards it loses the parent, downwards the child,
 * whose place the parent takes. Before it, and after an interruption, the two
 * together read the same as ever (maint/maint.h).
 */
#include <errno.h>
#include <string.h>

#include "base/uuid.h"
#include "image/tree_pair.h"

#define PAUSE_BYTES (16ull << 20) /* moved while requests wait, at most */
#define PAUSE_LATE_BYTES (256ull << 20) /* when writes keep coming */
#define PASSES 8u /* until then */
#define PASSES_MAX 64u

/* ---- upwards ---- */

static int commit_up(struct pair *m, struct pl_err *err)
{
	const struct pl_image_snapshot *snap;
	struct pl_image_desc next;
	int rc = descriptor_copy(&m->img->desc, &next);

	if (rc < 0)
		return pl_err_sys(err, rc, "merge");
	memcpy(descriptor_layer(&next, m->child.id)->parent, m->parent.parent,
	       sizeof(m->parent.parent));
	snap = descriptor_snapshot_of(&next, m->parent.id);
	if (snap)
		descriptor_drop_snapshot(&next, snap->id);
	descriptor_drop_layer(&next, m->parent.id);
	return descriptor_commit(m->img, &next, err);
}

static int merge_up(struct pair *m, struct pl_err *err)
{
	struct pl_uuid grand = { 0 };
	int rc = pl_merge_up(m->c, m->p,
			     m->in_chain && m->child_is_top ? m->live->chain :
							      NULL,
			     m->cost.up, m->progress);

	if (rc == 0 && m->parent.parent[0])
		pl_uuid_parse(m->parent.parent, &grand);
	if (rc == 0)
		rc = pl_layer_set_parent(m->c, &grand);
	if (rc < 0)
		return pair_failed(m, rc, err);
	if (m->c_sealed)
		rc = pl_layer_seal(m->c, err);
	else if (!m->c_lent) {
		rc = pl_layer_close(m->c, err);
		m->c = NULL;
	}
	if (rc == 0)
		rc = commit_up(m, err);
	if (rc == 0) {
		pair_retire(m, m->parent.id, m->p);
		m->p = NULL;
	}
	return rc;
}

/* ---- downwards ---- */

/* The chain has a layer object of its own for the same file. */
static void tell_chain(struct pl_chain *ch, const char *id,
		       const struct pl_uuid *parent)
{
	int i = ch ? pl_chain_find(ch, id) : -1;

	if (i >= 0)
		pl_layer_note_parent(pl_chain_layer(ch, (unsigned)i), parent);
}

/* Headers that name the child name the parent, which is below as well. */
static int reparent(struct pair *m, const char *id, struct pl_err *err)
{
	struct pl_chain *ch = m->in_chain ? m->live->chain : NULL;
	struct pl_uuid child, parent;
	struct pl_layer *ly = NULL;
	bool top = ch && strcmp(pl_layer_id(pl_chain_top(ch)), id) == 0;
	int rc = 0;

	pl_uuid_parse(m->child.id, &child);
	pl_uuid_parse(m->parent.id, &parent);
	if (top)
		ly = pl_chain_top(ch);
	else
		rc = layer_file_open_how(m->img, id, 0,
					 PL_OPEN_WRITE |
						 (m->live ? PL_OPEN_BESIDE : 0),
					 NULL, &ly, err);
	if (rc == 0 && pl_uuid_equal(&pl_layer_header(ly)->parent, &child)) {
		rc = pl_layer_set_parent(ly, &parent);
		/* Of a closed layer both copies say so. */
		if (rc == 0 && !top)
			rc = pl_layer_set_parent(ly, &parent);
		if (rc < 0)
			pl_err_sys(err, rc, "layer %s: header", id);
		else
			tell_chain(ch, id, &parent);
	}
	if (!top)
		pl_layer_abandon(ly);
	return rc;
}

static int reparent_all(struct pair *m, struct pl_err *err)
{
	int rc = 0;

	for (unsigned i = 0; i < m->img->desc.n_layers && rc == 0; i++)
		if (strcmp(m->img->desc.layers[i].parent, m->child.id) == 0)
			rc = reparent(m, m->img->desc.layers[i].id, err);
	return rc;
}

/* The parent takes the child's place. */
static int commit_down(struct pair *m, struct pl_err *err)
{
	struct pl_image_snapshot *snap;
	struct pl_image_desc next;
	int rc = descriptor_copy(&m->img->desc, &next);

	if (rc < 0)
		return pl_err_sys(err, rc, "merge");
	snap = descriptor_snapshot_of(&next, m->parent.id);
	if (snap)
		descriptor_drop_snapshot(&next, snap->id);
	snap = descriptor_snapshot_of(&next, m->child.id);
	if (snap)
		memcpy(snap->layer, m->parent.id, sizeof(snap->layer));
	for (unsigned i = 0; i < next.n_layers; i++)
		if (strcmp(next.layers[i].parent, m->child.id) == 0)
			memcpy(next.layers[i].parent, m->parent.id,
			       sizeof(next.layers[i].parent));
	descriptor_layer(&next, m->parent.id)->size = m->child.size;
	if (strcmp(next.top, m->child.id) == 0)
		memcpy(next.top, m->parent.id, sizeof(next.top));
	descriptor_drop_layer(&next, m->child.id);
	return descriptor_commit(m->img, &next, err);
}

/* Everything but what writes that come meanwhile leave in the child. */
static int drain_child(struct pair *m)
{
	struct pl_chain *ch = m->in_chain ? m->live->chain : NULL;
	uint64_t most, cs = pl_cluster_size(pl_layer_header(m->c));
	struct pl_merge_cost left;
	int rc = 0;

	for (unsigned pass = 0; rc == 0; pass++) {
		rc = pl_merge_down(m->c, m->p, ch, m->cost.down, m->progress);
		if (rc == 0)
			rc = pl_merge_cost(m->c, m->p, &left);
		most = pass < PASSES ? PAUSE_BYTES : PAUSE_LATE_BYTES;
		if (!m->child_is_top)
			most = 0;
		if (rc == 0 && left.down_clusters * cs <= most)
			return 0;
		if (pass == PASSES_MAX)
			return -EAGAIN;
	}
	return rc;
}

/* Requests wait: the rest moves, and the parent becomes the top. */
static int take_over(struct pair *m, struct pl_err *err)
{
	struct pl_chain *ch = m->in_chain ? m->live->chain : NULL;
	struct pl_layer *top, *old;
	int rc = pl_merge_down(m->c, m->p, NULL, 0, NULL);

	if (rc == 0)
		rc = pl_layer_flush(m->c);
	if (rc < 0)
		return pair_failed(m, rc, err);
	rc = pl_layer_unseal(m->p, err);
	m->p_unsealed = rc == 0;
	if (rc == 0)
		rc = commit_down(m, err);
	if (rc < 0 || !ch)
		return rc;
	rc = layer_file_open_how(m->img, m->parent.id, PL_LAYER_WRITE,
				 PL_OPEN_WRITE | PL_OPEN_BESIDE |
					 layer_file_direct(m->img),
				 m->img->pending, &top, err);
	if (rc < 0)
		return -ESTALE;
	/* Nobody reads the old one any more; it is flushed. */
	old = pl_chain_replace(ch, (unsigned)pl_chain_find(ch, m->parent.id),
			       top);
	pl_chain_remove(ch, pl_chain_depth(ch) - 1);
	pl_chain_grown(ch);
	m->p = old;
	m->p_lent = false;
	m->c_lent = false;
	return 0;
}

static int finish_down(struct pair *m, struct pl_err *err)
{
	int rc;

	if (m->child_is_top) {
		rc = m->in_chain ? pair_hold(m, err) : 0;
		if (rc < 0)
			return rc;
		rc = take_over(m, err);
		if (m->in_chain)
			m->live->resume(m->live->arg);
		if (m->in_chain && rc == 0)
			m->live->settle(m->live->arg);
		if (rc < 0)
			return rc;
		pl_layer_abandon(m->p);
		pl_layer_abandon(m->c);
		m->p = m->c = NULL;
		layer_file_unlink(m->img, m->child.id);
		return 0;
	}
	rc = reparent_all(m, err);
	if (rc == 0)
		rc = pl_layer_seal(m->p, err);
	if (rc == 0)
		rc = commit_down(m, err);
	if (rc == 0) {
		pair_retire(m, m->child.id, m->c);
		m->c = NULL;
	}
	return rc;
}

/*
 * The parent gets the child's size before anything moves; nobody sees what it
 * holds beyond (FMT-061). The headers say what that is: after a crash on the
 * way, or a resize since, the descriptor may not (FMT-114).
 */
static int fit_parent(struct pair *m, struct pl_err *err)
{
	uint64_t now = pl_layer_header(m->p)->virtual_size;

	m->child.size = pl_layer_header(m->c)->virtual_size;
	if (m->p_lent)
		return pl_chain_fit(m->live->chain, m->p, m->child.size, err);
	return m->child.size > now ? pl_layer_grow(m->p, m->child.size, err) :
	       m->child.size < now ? pl_layer_shrink(m->p, m->child.size, err) :
				     0;
}

static int merge_down(struct pair *m, struct pl_err *err)
{
	int rc = fit_parent(m, err);

	if (rc < 0)
		return rc;
	rc = drain_child(m);
	if (rc == -EAGAIN)
		return pl_err_set(err, PL_E_BUSY, EAGAIN,
				  "%s: writes come faster than the snapshot's "
				  "layer can take them; try again later",
				  m->img->dir->path);
	if (rc < 0)
		return pair_failed(m, rc, err);
	return finish_down(m, err);
}

/* ---- either way ---- */

int tree_merge_pair(struct pl_image *img, const struct pl_image_live *live,
		    const char *parent, const char *child,
		    const struct pl_maint_progress *progress,
		    struct pl_err *err)
{
	struct pair m = { .img = img, .live = live, .progress = progress };
	bool down;
	int rc;

	m.parent = *descriptor_layer(&img->desc, parent);
	m.child = *descriptor_layer(&img->desc, child);
	m.child_is_top = strcmp(child, img->desc.top) == 0;
	m.in_chain = live && pl_chain_find(live->chain, parent) >= 0 &&
		     pl_chain_find(live->chain, child) >= 0;
	rc = pair_estimate(&m, err);
	if (rc < 0)
		return rc;
	down = pair_goes_down(&m);
	rc = pair_open(&m, down, err);
	if (rc == 0)
		rc = down ? merge_down(&m, err) : merge_up(&m, err);
	pair_close(&m);
	return rc;
}
