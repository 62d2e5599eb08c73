/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two layers of a merge: claimed, opened, lent to the live chain and taken
 * back. See tree_pair.h.
 */
#include <errno.h>
#include <string.h>

#include "image/tree_pair.h"

static int in_use(const struct pair *m, const char *id, struct pl_err *err)
{
	return pl_err_set(err, PL_E_BUSY, EBUSY,
			  "%s: layer %s is being read by somebody else: a "
			  "mounted snapshot, a backup or a clone",
			  m->img->dir->path, id);
}

static int claim(const struct pair *m, struct pl_layer *ly, struct pl_err *err)
{
	uint64_t links;
	int rc = pl_store_lock(pl_layer_store(ly), PL_STORE_EXCLUSIVE);

	if (rc == -EBUSY)
		return in_use(m, pl_layer_id(ly), err);
	if (rc == 0)
		rc = pl_store_links(pl_layer_store(ly), &links);
	if (rc < 0)
		return pl_err_sys(err, rc, "layer %s: lock", pl_layer_id(ly));
	if (links == 1)
		return 0;
	pl_store_lock(pl_layer_store(ly), PL_STORE_UNLOCKED);
	pl_err_set(err, PL_E_BUSY, EMLINK,
		   "%s: layer %s is shared with a clone", m->img->dir->path,
		   pl_layer_id(ly));
	return -EMLINK;
}

/* flags: PL_LAYER_*, of the layer; its file is open for writing always. */
static int open_claimed(const struct pair *m, const char *id, unsigned flags,
			struct pl_layer **ret, struct pl_err *err)
{
	int rc = layer_file_open_how(
		m->img, id, flags,
		PL_OPEN_WRITE | (m->live ? PL_OPEN_BESIDE : 0), NULL, ret, err);

	if (rc == 0)
		rc = claim(m, *ret, err);
	if (rc < 0) {
		pl_layer_abandon(*ret);
		*ret = NULL;
	}
	return rc;
}

/* ---- which way ---- */

/* The layers that now name the child as theirs may have to name the parent. */
static bool children_allow(const struct pair *m)
{
	struct pl_store *st;
	uint64_t links;
	bool fine = true;

	for (unsigned i = 0; i < m->img->desc.n_layers && fine; i++) {
		const struct pl_image_layer *l = &m->img->desc.layers[i];

		if (strcmp(l->parent, m->child.id) != 0)
			continue;
		fine = layer_file_store(m->img, l->id, 0, &st, NULL) == 0;
		if (fine) {
			fine = pl_store_links(st, &links) == 0 && links == 1;
			pl_store_close(st);
		}
	}
	return fine;
}

bool pair_goes_down(const struct pair *m)
{
	return m->cost.down < m->cost.up && children_allow(m);
}

static int look(struct pair *m, const char *id, struct pl_layer **ret,
		struct pl_err *err)
{
	struct pl_chain *ch = m->in_chain ? m->live->chain : NULL;

	if (ch) {
		*ret = pl_chain_layer(ch, (unsigned)pl_chain_find(ch, id));
		return 0;
	}
	return layer_file_open(m->img, id, 0, false, NULL, ret, err);
}

int pair_estimate(struct pair *m, struct pl_err *err)
{
	struct pl_layer *p = NULL, *c = NULL;
	int rc = look(m, m->parent.id, &p, err);

	if (rc == 0)
		rc = look(m, m->child.id, &c, err);
	if (rc == 0) {
		rc = pl_merge_cost(c, p, &m->cost);
		if (rc < 0)
			pl_err_sys(err, rc, "merging layer %s", m->parent.id);
	}
	if (!m->in_chain) {
		pl_layer_abandon(p);
		pl_layer_abandon(c);
	}
	return rc;
}

/* ---- the chain's layers, exchanged for ones that can be changed ---- */

int pair_hold(const struct pair *m, struct pl_err *err)
{
	int rc = m->live->pause(m->live->arg);

	return rc < 0 ? pl_err_set(err, PL_E_NO_SPACE, ENOSPC,
				   "requests wait for room on the host, which "
				   "is full") :
			0;
}

static int lend(struct pair *m, bool parent_too, struct pl_err *err)
{
	struct pl_layer *old[2] = { NULL, NULL };
	struct pl_chain *ch = m->live->chain;
	int rc;

	if (!parent_too && m->child_is_top)
		return 0;
	rc = pair_hold(m, err);
	if (rc < 0)
		return rc;
	if (parent_too) {
		old[0] = pl_chain_replace(
			ch, (unsigned)pl_chain_find(ch, m->parent.id), m->p);
		m->p_lent = true;
	}
	if (!m->child_is_top) {
		old[1] = pl_chain_replace(
			ch, (unsigned)pl_chain_find(ch, m->child.id), m->c);
		m->c_lent = true;
	}
	m->live->resume(m->live->arg);
	m->live->settle(m->live->arg);
	pl_layer_abandon(old[0]);
	pl_layer_abandon(old[1]);
	return 0;
}

int pair_open(struct pair *m, bool down, struct pl_err *err)
{
	unsigned change = PL_LAYER_WRITE | PL_LAYER_MAINTAIN;
	int rc = open_claimed(m, m->parent.id, down ? change : 0, &m->p, err);

	if (rc < 0)
		return rc;
	if (m->in_chain && m->child_is_top) {
		m->c = pl_chain_top(m->live->chain);
		m->c_lent = true;
		rc = claim(m, m->c, err);
		if (rc < 0)
			m->c = NULL;
	} else {
		rc = open_claimed(m, m->child.id, change, &m->c, err);
	}
	if (rc == 0)
		m->c_sealed = pl_layer_header(m->c)->state == PL_LAYER_SEALED;
	return rc == 0 && m->in_chain ? lend(m, down, err) : rc;
}

static void put_back(struct pl_layer *ly, bool lent, bool seal)
{
	if (!ly)
		return;
	if (pl_layer_writable(ly) && seal)
		pl_layer_seal(ly, NULL);
	if (lent)
		pl_store_lock(pl_layer_store(ly), PL_STORE_UNLOCKED);
	else if (pl_layer_writable(ly))
		pl_layer_close(ly, NULL);
	else
		pl_layer_abandon(ly);
}

void pair_close(struct pair *m)
{
	put_back(m->p, m->p_lent, !m->p_unsealed);
	put_back(m->c, m->c_lent, m->c_sealed);
}

/*
 * A layer of the pair that the descriptor does not name any more. When requests
 * can't be held back it stays in the chain, where it changes nothing.
 */
void pair_retire(struct pair *m, const char *id, struct pl_layer *own)
{
	struct pl_chain *ch = m->in_chain ? m->live->chain : NULL;
	int i = ch ? pl_chain_find(ch, id) : -1;
	struct pl_layer *old;

	layer_file_unlink(m->img, id);
	if (i < 0 || pl_chain_layer(ch, (unsigned)i) != own)
		pl_layer_abandon(own);
	if (i < 0 || m->live->pause(m->live->arg) < 0)
		return;
	old = pl_chain_remove(ch, (unsigned)i);
	m->live->resume(m->live->arg);
	m->live->settle(m->live->arg);
	pl_layer_abandon(old);
}

int pair_failed(const struct pair *m, int rc, struct pl_err *err)
{
	if (rc == -ECANCELED)
		return pl_err_set(err, PL_E_INTERRUPTED, ECANCELED,
				  "the merge was interrupted; what the disk "
				  "and its snapshots show has not changed, and "
				  "it goes on where it was");
	return pl_err_sys(err, rc, "merging layers %s and %s", m->parent.id,
			  m->child.id);
}
