/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations on the snapshot tree.
 *
 * Each one prepares its files, commits by replacing the descriptor, and cleans
 * up. A crash before the commit leaves files that the next open collects; one
 * after it leaves nothing that matters.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/uuid.h"
#include "image/image_int.h"
#include "maint/maint.h"

/*
 * Where the image wants block checksums, sealed layers without get them. They
 * are not part of the operation, which is done: what fails is done later.
 */
static void sum_sealed(struct pl_image *img)
{
	unsigned added;

	if (img->desc.checksums)
		pl_image_add_checksums(img, NULL, NULL, NULL, &added, NULL);
}

/* ---- snapshot ---- */

static bool prepared_fits(const struct pl_image *img)
{
	return img->prepared[0] &&
	       strcmp(img->prepared_on, img->desc.top) == 0 &&
	       img->prepared_size ==
		       descriptor_layer(&img->desc, img->desc.top)->size;
}

int pl_image_snapshot_prepare(struct pl_image *img, struct pl_err *err)
{
	int rc = need_writable(img, err);

	if (rc < 0 || prepared_fits(img))
		return rc;
	/* Made for a snapshot that failed, before a resize perhaps. */
	if (img->prepared[0])
		layer_file_unlink(img, img->prepared);
	img->prepared[0] = '\0';
	memcpy(img->prepared_on, img->desc.top, sizeof(img->prepared_on));
	img->prepared_size = descriptor_layer(&img->desc, img->desc.top)->size;
	rc = layer_file_create(img, img->desc.top, img->prepared_size,
			       img->prepared, err);
	if (rc < 0)
		img->prepared[0] = '\0';
	return rc;
}

static int name_is_free(const struct pl_image *img, const char *name,
			struct pl_err *err)
{
	for (unsigned i = 0; name && *name && i < img->desc.n_snapshots; i++)
		if (!img->desc.snapshots[i].hidden &&
		    strcmp(img->desc.snapshots[i].name, name) == 0)
			return pl_err_set(err, PL_E_EXISTS, EEXIST,
					  "%s: a snapshot \"%s\" exists "
					  "already",
					  img->dir->path, name);
	return 0;
}

static int fill_snapshot(const struct pl_image *img, const char *name,
			 const char *description, struct pl_image_snapshot *s,
			 struct pl_err *err)
{
	struct pl_uuid uuid;
	int rc = name_is_free(img, name, err);

	if (rc < 0)
		return rc;
	memset(s, 0, sizeof(*s));
	if (name && strlen(name) >= sizeof(s->name))
		return pl_err_set(err, PL_E_INVALID_ARGUMENT, EINVAL,
				  "name: at most %zu bytes",
				  sizeof(s->name) - 1);
	if (description && strlen(description) >= sizeof(s->description))
		return pl_err_set(err, PL_E_INVALID_ARGUMENT, EINVAL,
				  "description: at most %zu bytes",
				  sizeof(s->description) - 1);
	rc = pl_uuid_random(&uuid);
	if (rc < 0)
		return pl_err_sys(err, rc, "no random numbers");
	pl_uuid_format(&uuid, s->id);
	memcpy(s->layer, img->desc.top, sizeof(s->layer));
	snprintf(s->name, sizeof(s->name), "%s", name ? name : "");
	snprintf(s->description, sizeof(s->description), "%s",
		 description ? description : "");
	iso_now(s->created, sizeof(s->created));
	return 0;
}

/* The descriptor after a snapshot: the prepared layer on top. */
static int commit_snapshot(struct pl_image *img,
			   const struct pl_image_snapshot *snap,
			   struct pl_err *err)
{
	struct pl_image_layer layer;
	struct pl_image_desc next;
	int rc = descriptor_copy(&img->desc, &next);

	if (rc < 0)
		return pl_err_sys(err, rc, "snapshot");
	layer = *descriptor_layer(&img->desc, img->desc.top);
	memcpy(layer.parent, layer.id, sizeof(layer.id));
	memcpy(layer.id, img->prepared, sizeof(layer.id));
	memcpy(next.top, layer.id, sizeof(layer.id));
	rc = descriptor_add_layer(&next, &layer);
	if (rc == 0)
		rc = descriptor_add_snapshot(&next, snap);
	if (rc < 0) {
		descriptor_free(&next);
		return pl_err_sys(err, rc, "snapshot");
	}
	rc = descriptor_commit(img, &next, err);
	if (rc == 0 || rc == -ESTALE)
		img->prepared[0] = '\0';
	return rc;
}

static int switch_live(struct pl_image *img, struct pl_chain *live,
		       struct pl_err *err)
{
	struct pl_layer *top;
	int rc = pl_layer_seal(pl_chain_top(live), err);

	if (rc == 0)
		rc = layer_file_open(img, img->desc.top, PL_LAYER_WRITE, true,
				     img->pending, &top, err);
	if (rc == 0) {
		rc = pl_chain_push(live, top, err);
		if (rc < 0)
			pl_layer_abandon(top);
	}
	return rc < 0 ? -ESTALE : 0;
}

static int snapshot(struct pl_image *img, struct pl_chain *live,
		    const struct pl_image_snapshot *snap, struct pl_err *err)
{
	int rc;

	if (pl_chain_depth(live) >= PL_CHAIN_MAX)
		return pl_err_set(err, PL_E_UNSUPPORTED, E2BIG,
				  "%s: a chain has at most %u layers; delete "
				  "snapshots first",
				  img->dir->path, PL_CHAIN_MAX);
	rc = pl_chain_flush(live);
	if (rc < 0)
		return pl_err_sys(err, rc, "snapshot: flush");
	/* A resize whose commit failed; opening it again settles that. */
	if (pl_chain_size(live) !=
	    descriptor_layer(&img->desc, img->desc.top)->size)
		return pl_err_set(err, PL_E_BUSY, EBUSY,
				  "%s: its last resize did not finish; "
				  "detach it, or resize it again",
				  img->dir->path);
	rc = commit_snapshot(img, snap, err);
	return rc < 0 ? rc : switch_live(img, live, err);
}

int pl_image_snapshot(struct pl_image *img, struct pl_chain *live,
		      const char *name, const char *description, char *ret_id,
		      struct pl_err *err)
{
	struct pl_image_snapshot snap;
	struct pl_chain *ch = live;
	int rc = fill_snapshot(img, name, description, &snap, err), rc2;

	if (rc == 0)
		rc = pl_image_snapshot_prepare(img, err);
	if (rc == 0 && !ch)
		rc = pl_image_open_chain(img, NULL, false, NULL, &ch, err);
	if (rc < 0)
		return rc;
	rc = snapshot(img, ch, &snap, err);
	if (!live) {
		rc2 = pl_chain_close(ch, rc < 0 ? NULL : err);
		rc = rc < 0 ? rc : rc2;
	}
	if (rc == 0)
		memcpy(ret_id, snap.id, sizeof(snap.id));
	if (rc == 0 && !live)
		sum_sealed(img);
	return rc;
}

/* ---- layers that nobody needs ---- */

static unsigned children_of(const struct pl_image_desc *desc, const char *id,
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

/* Drops a layer without children, with its snapshot. */
static int drop_leaf(struct pl_image *img, const char *layer_id,
		     struct pl_err *err)
{
	const struct pl_image_snapshot *snap;
	struct pl_image_desc next;
	char id[PL_ID_LEN + 1];
	int rc = descriptor_copy(&img->desc, &next);

	if (rc < 0)
		return pl_err_sys(err, rc, "delete");
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

static int merge_layers(struct pl_image *img, const char *child_id,
			const struct pl_image_layer *parent,
			const struct pl_maint_progress *progress,
			struct pl_err *err)
{
	struct pl_uuid grand = { 0 };
	struct pl_layer *child, *from;
	bool sealed;
	int rc = layer_file_open(img, parent->id, 0, false, NULL, &from, err),
	    rc2;

	if (rc < 0)
		return rc;
	rc = layer_file_open(img, child_id, PL_LAYER_WRITE | PL_LAYER_MAINTAIN,
			     false, NULL, &child, err);
	if (rc < 0) {
		pl_layer_abandon(from);
		return rc;
	}
	sealed = pl_layer_header(child)->state == PL_LAYER_SEALED;
	rc = pl_merge(child, from, progress);
	if (rc == 0 && parent->parent[0])
		pl_uuid_parse(parent->parent, &grand);
	if (rc == 0)
		rc = pl_layer_set_parent(child, &grand);
	pl_layer_abandon(from);
	if (rc == -ECANCELED)
		pl_err_set(err, PL_E_INTERRUPTED, ECANCELED,
			   "the merge was interrupted; nothing has changed, "
			   "run it again to go on");
	else if (rc < 0)
		pl_err_sys(err, rc, "merging layer %s into %s", parent->id,
			   child_id);
	if (rc == 0 && sealed)
		rc = pl_layer_seal(child, err);
	rc2 = pl_layer_close(child, rc < 0 ? NULL : err);
	return rc < 0 ? rc : rc2;
}

/* Merges a layer into its only child, then drops it. */
static int merge_away(struct pl_image *img, const char *layer_id,
		      const char *child_id,
		      const struct pl_maint_progress *progress,
		      struct pl_err *err)
{
	struct pl_image_layer gone = *descriptor_layer(&img->desc, layer_id);
	const struct pl_image_snapshot *snap;
	struct pl_image_desc next;
	char child[PL_ID_LEN + 1];
	int rc;

	memcpy(child, child_id, sizeof(child));
	rc = merge_layers(img, child, &gone, progress, err);
	if (rc == 0)
		rc = descriptor_copy(&img->desc, &next);
	if (rc < 0)
		return rc;
	memcpy(descriptor_layer(&next, child)->parent, gone.parent,
	       sizeof(gone.parent));
	snap = descriptor_snapshot_of(&next, gone.id);
	if (snap)
		descriptor_drop_snapshot(&next, snap->id);
	descriptor_drop_layer(&next, gone.id);
	rc = descriptor_commit(img, &next, err);
	if (rc == 0)
		layer_file_unlink(img, gone.id);
	return rc;
}

/* A layer that no snapshot shows and fewer than two layers need. */
static const struct pl_image_layer *find_needless(const struct pl_image *img)
{
	const struct pl_image_layer *child;

	for (unsigned i = 0; i < img->desc.n_layers; i++) {
		const struct pl_image_layer *l = &img->desc.layers[i];
		const struct pl_image_snapshot *s =
			descriptor_snapshot_of(&img->desc, l->id);

		if (strcmp(l->id, img->desc.top) != 0 && (!s || s->hidden) &&
		    children_of(&img->desc, l->id, &child) < 2)
			return l;
	}
	return NULL;
}

static int drop_needless(struct pl_image *img,
			 const struct pl_maint_progress *progress,
			 struct pl_err *err)
{
	const struct pl_image_layer *l, *child = NULL;
	int rc = 0;

	while (rc == 0 && (l = find_needless(img)) != NULL) {
		if (children_of(&img->desc, l->id, &child) == 0)
			rc = drop_leaf(img, l->id, err);
		else
			rc = merge_away(img, l->id, child->id, progress, err);
	}
	return rc;
}

/* ---- switch ---- */

int pl_image_switch(struct pl_image *img, const char *key, struct pl_err *err)
{
	const struct pl_image_snapshot *snap;
	struct pl_image_layer layer = { .id = "" };
	struct pl_image_desc next;
	char old[PL_ID_LEN + 1];
	int rc = need_writable(img, err);

	if (rc == 0)
		rc = pl_image_find(img, key, &snap, err);
	if (rc < 0)
		return rc;
	layer.size = descriptor_layer(&img->desc, snap->layer)->size;
	memcpy(layer.parent, snap->layer, sizeof(layer.parent));
	rc = layer_file_create(img, layer.parent, layer.size, layer.id, err);
	if (rc < 0)
		return rc;
	rc = descriptor_copy(&img->desc, &next);
	if (rc == 0) {
		memcpy(old, next.top, sizeof(old));
		descriptor_drop_layer(&next, old);
		rc = descriptor_add_layer(&next, &layer);
		memcpy(next.top, layer.id, sizeof(layer.id));
		next.size = layer.size;
		if (rc < 0)
			descriptor_free(&next);
	}
	rc = rc < 0 ? pl_err_sys(err, rc, "switch") :
		      descriptor_commit(img, &next, err);
	if (rc < 0) {
		if (rc != -ESTALE)
			layer_file_unlink(img, layer.id);
		return rc;
	}
	layer_file_unlink(img, old);
	return drop_needless(img, NULL, err);
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
	struct pl_layer *ly;
	const char *ids[2] = { layer_id, NULL };
	int rc = 0;

	if (children_of(&img->desc, layer_id, &child) == 1)
		ids[1] = child->id;
	for (unsigned i = 0; i < 2 && ids[i] && rc == 0; i++) {
		rc = layer_file_open(img, ids[i], 0, false, NULL, &ly, err);
		if (rc == 0)
			pl_layer_abandon(ly);
	}
	return rc;
}

int pl_image_delete(struct pl_image *img, const char *key,
		    pl_progress_fn *progress, void *arg, struct pl_err *err)
{
	struct pl_maint_progress p = { .fn = progress, .arg = arg };
	const struct pl_image_snapshot *snap;
	int rc = need_writable(img, err);

	if (rc < 0)
		return rc;
	if (!half_deleted(img, key)) {
		rc = pl_image_find(img, key, &snap, err);
		if (rc == 0)
			rc = check_mergeable(img, snap->layer, err);
		/* Hidden first: what is interrupted goes on at the next one. */
		if (rc == 0)
			rc = hide(img, snap->layer, err);
	}
	if (rc == 0)
		rc = drop_needless(img, &p, err);
	if (rc == 0)
		sum_sealed(img);
	return rc;
}
