/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deleting snapshots: the snapshot is hidden, which is the commit; then every
 * layer that nobody needs is merged away or dropped. What is interrupted in
 * between is found again by what it left: a hidden snapshot.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "image/tree_int.h"

void tree_sum_sealed(struct pl_image *img)
{
	unsigned added;

	/* Not part of the operation, which is done: what fails is done later. */
	if (img->desc.checksums)
		pl_image_add_checksums(img, NULL, NULL, NULL, &added, NULL);
}

unsigned tree_children(const struct pl_image_desc *desc, const char *id,
		       const struct pl_image_layer **ret_child)
{
	unsigned n = 0;

	for (unsigned i = 0; i < desc->n_layers; i++)
		if (strcmp(desc->layers[i].parent, id) == 0) {
			*ret_child = &desc->layers[i];
			n++;
		}
	return n;
}

/* ---- layers that nobody needs ---- */

/* Layers that stay: somebody the descriptor does not know needs them. */
struct passed_over {
	const struct pl_image_work *work; /* NULL = all are to go */
	char (*ids)[PL_ID_LEN + 1];
	unsigned n;
	struct pl_err err; /* why: of the first that is in use */
};

static bool is_passed_over(const struct passed_over *po, const char *id)
{
	for (unsigned i = 0; i < po->n; i++)
		if (strcmp(po->ids[i], id) == 0)
			return true;
	return false;
}

static int pass_over(struct passed_over *po, const char *id, int rc,
		     const struct pl_err *err)
{
	void *p = realloc(po->ids, (po->n + 1) * sizeof(po->ids[0]));

	if (!p)
		return -ENOMEM;
	po->ids = p;
	memcpy(po->ids[po->n++], id, sizeof(po->ids[0]));
	if (!po->err.code && rc == -EBUSY)
		po->err = *err;
	return 0;
}

/* No snapshot shows it and fewer than two layers need it. */
static bool is_needless(const struct pl_image *img,
			const struct pl_image_layer *l)
{
	const struct pl_image_snapshot *s =
		descriptor_snapshot_of(&img->desc, l->id);
	const struct pl_image_layer *child;

	return strcmp(l->id, img->desc.top) != 0 && (!s || s->hidden) &&
	       tree_children(&img->desc, l->id, &child) < 2;
}

static bool is_wanted(const struct pl_image *img,
		      const struct pl_image_work *work, const char *layer_id)
{
	const struct pl_image_snapshot *s =
		descriptor_snapshot_of(&img->desc, layer_id);

	return !s || !work || !work->wanted || work->wanted(work->arg, s->id);
}

static const struct pl_image_layer *find_needless(const struct pl_image *img,
						  const struct passed_over *po)
{
	for (unsigned i = 0; i < img->desc.n_layers; i++)
		if (is_needless(img, &img->desc.layers[i]) &&
		    !is_passed_over(po, img->desc.layers[i].id) &&
		    is_wanted(img, po->work, img->desc.layers[i].id))
			return &img->desc.layers[i];
	return NULL;
}

/* Somebody who looks at it would lose it with a restart. */
static int check_unused(struct pl_image *img, const char *id, bool live,
			struct pl_err *err)
{
	struct pl_store *st;
	int rc = layer_file_store(
		img, id, PL_OPEN_WRITE | (live ? PL_OPEN_BESIDE : 0), &st, err);

	if (rc < 0)
		return rc;
	rc = pl_store_lock(st, PL_STORE_EXCLUSIVE);
	pl_store_close(st);
	return rc == -EBUSY ? pl_err_set(err, PL_E_BUSY, EBUSY,
					 "%s: layer %s is being read by "
					 "somebody else: a mounted snapshot, a "
					 "backup or a clone",
					 img->dir->path, id) :
	       rc < 0	    ? pl_err_sys(err, rc, "layer %s: lock", id) :
			      0;
}

/* Drops a layer without children, with its snapshot. */
static int drop_leaf(struct pl_image *img, const char *layer_id, bool live,
		     struct pl_err *err)
{
	const struct pl_image_snapshot *snap;
	struct pl_image_desc next;
	char id[PL_ID_LEN + 1];
	int rc = check_unused(img, layer_id, live, err);

	if (rc < 0)
		return rc;
	if (descriptor_copy(&img->desc, &next) < 0)
		return pl_err_sys(err, -ENOMEM, "delete");
	memcpy(id, layer_id, sizeof(id));
	snap = descriptor_snapshot_of(&next, id);
	if (snap)
		descriptor_drop_snapshot(&next, snap->id);
	descriptor_drop_layer(&next, id);
	rc = descriptor_commit(img, &next, err);
	if (rc == 0)
		layer_file_unlink(img, id);
	return rc;
}

static int drop_one(struct pl_image *img, const struct pl_image_live *live,
		    const char *id, const struct pl_maint_progress *progress,
		    struct pl_err *err)
{
	const struct pl_image_layer *child = NULL;
	char child_id[PL_ID_LEN + 1];

	if (tree_children(&img->desc, id, &child) == 0)
		return drop_leaf(img, id, live != NULL, err);
	memcpy(child_id, child->id, sizeof(child_id));
	return tree_merge_pair(img, live, id, child_id, progress, err);
}

int tree_drop_needless(struct pl_image *img, const struct pl_image_live *live,
		       const struct pl_image_work *work, struct pl_err *err)
{
	struct pl_maint_progress p = { 0 };
	const struct pl_image_layer *l;
	struct passed_over po = { .work = work };
	struct pl_err why = { 0 };
	char id[PL_ID_LEN + 1];
	int rc = 0;

	if (work)
		p = (struct pl_maint_progress){ .fn = work->progress,
						.arg = work->arg,
						.pace = work->pace };
	while (rc == 0 && (l = find_needless(img, &po)) != NULL) {
		memcpy(id, l->id, sizeof(id));
		rc = drop_one(img, live, id, &p, &why);
		if (rc == -EBUSY || rc == -EMLINK)
			rc = pass_over(&po, id, rc, &why);
	}
	free(po.ids);
	if (rc == 0 && po.err.code) {
		why = po.err;
		rc = -EBUSY;
	}
	if (rc < 0 && err)
		*err = why;
	return rc;
}

/* ---- delete ---- */

static int hide(struct pl_image *img, const char *layer_id, struct pl_err *err)
{
	struct pl_image_desc next;
	int rc = descriptor_copy(&img->desc, &next);

	if (rc < 0)
		return pl_err_sys(err, rc, "delete");
	descriptor_snapshot_of(&next, layer_id)->hidden = true;
	return descriptor_commit(img, &next, err);
}

/* One whose merge was interrupted: only its full id names it. */
static const struct pl_image_snapshot *half_deleted(const struct pl_image *img,
						    const char *id)
{
	for (unsigned i = 0; i < img->desc.n_snapshots; i++)
		if (img->desc.snapshots[i].hidden &&
		    strcmp(img->desc.snapshots[i].id, id) == 0)
			return &img->desc.snapshots[i];
	return NULL;
}

/* Do the layers that a deletion would merge open at all? */
static int check_mergeable(struct pl_image *img, const char *layer_id,
			   struct pl_err *err)
{
	const struct pl_image_layer *child = NULL;
	const char *ids[2] = { layer_id, NULL };
	struct pl_layer *ly;
	int rc = 0;

	if (tree_children(&img->desc, layer_id, &child) == 1)
		ids[1] = child->id;
	for (unsigned i = 0; i < 2 && ids[i] && rc == 0; i++) {
		rc = layer_file_open(img, ids[i], 0, false, NULL, &ly, err);
		if (rc == 0)
			pl_layer_abandon(ly);
	}
	return rc;
}

bool pl_image_untidy(const struct pl_image *img, const char *snapshot_id)
{
	const struct pl_image_layer *l;

	for (unsigned i = 0; i < img->desc.n_snapshots; i++) {
		const struct pl_image_snapshot *s = &img->desc.snapshots[i];

		if (!s->hidden ||
		    (snapshot_id && strcmp(s->id, snapshot_id) != 0))
			continue;
		l = descriptor_layer(&img->desc, s->layer);
		if (is_needless(img, l))
			return true;
	}
	return false;
}

int pl_image_hide(struct pl_image *img, const char *key, char *ret_id,
		  struct pl_err *err)
{
	const struct pl_image_snapshot *snap = half_deleted(img, key);
	char layer[PL_ID_LEN + 1];
	int rc = need_writable(img, err);

	if (rc < 0)
		return rc;
	if (snap) {
		memcpy(ret_id, snap->id, sizeof(snap->id));
		return 0;
	}
	rc = pl_image_find(img, key, &snap, err);
	if (rc == 0)
		rc = check_mergeable(img, snap->layer, err);
	if (rc < 0)
		return rc;
	memcpy(ret_id, snap->id, sizeof(snap->id));
	memcpy(layer, snap->layer, sizeof(layer));
	return hide(img, layer, err);
}

int pl_image_tidy(struct pl_image *img, const struct pl_image_live *live,
		  const struct pl_image_work *work, struct pl_err *err)
{
	int rc = need_writable(img, err);

	if (rc == 0 && live)
		rc = pl_image_snapshot_finish(img, live->chain, err);
	if (rc == 0)
		rc = tree_drop_needless(img, live, work, err);
	if (rc == 0 && !live)
		tree_sum_sealed(img);
	return rc;
}

int pl_image_delete(struct pl_image *img, const char *key,
		    pl_progress_fn *progress, void *arg, struct pl_err *err)
{
	struct pl_image_work work = { .progress = progress, .arg = arg };
	char id[PL_ID_LEN + 1];
	int rc = pl_image_hide(img, key, id, err);

	return rc < 0 ? rc : pl_image_tidy(img, NULL, &work, err);
}
