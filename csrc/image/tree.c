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
#include "image/tree_int.h"

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
		tree_sum_sealed(img);
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
	return tree_drop_needless(img, NULL, NULL, err);
}

/* Whether a snapshot that can be reached holds the same as the top. */
static int is_kept(struct pl_image *img, bool *ret, struct pl_err *err)
{
	const struct pl_image_desc *d = &img->desc;
	const struct pl_image_layer *top = descriptor_layer(d, d->top);
	struct pl_layer_usage usage;
	int rc = pl_image_layer_usage(img, NULL, d->top, &usage, err);

	*ret = false;
	if (rc < 0 || usage.owned_bytes)
		return rc;
	for (unsigned i = 0; i < d->n_snapshots; i++)
		if (!d->snapshots[i].hidden &&
		    !strcmp(d->snapshots[i].layer, top->parent) &&
		    descriptor_layer(d, top->parent)->size == top->size)
			*ret = true;
	return 0;
}

int pl_image_switch_keeping(struct pl_image *img, const char *key,
			    const char *name, const char *description,
			    char *ret_id, struct pl_err *err)
{
	const struct pl_image_snapshot *snap;
	char target[PL_ID_LEN + 1] = "";
	bool kept = false;
	int rc = need_writable(img, err);

	ret_id[0] = '\0';
	if (rc == 0)
		rc = pl_image_find(img, key, &snap, err);
	if (rc == 0) {
		memcpy(target, snap->id, sizeof(target));
		rc = is_kept(img, &kept, err);
	}
	if (rc == 0 && !kept)
		rc = pl_image_snapshot(img, NULL, name, description, ret_id,
				       err);
	return rc == 0 ? pl_image_switch(img, target, err) : rc;
}
