/* SPDX-License-Identifier: Apache-2.0 */
/* Received layers become part of an image: see adopt.h. */
#include "image/adopt.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/uuid.h"
#include "image/image_int.h"

int pl_image_found(struct pl_image **ret, struct pl_dir *dir,
		   const struct pl_image_desc *like, struct pl_err *err)
{
	struct pl_image *img = calloc(1, sizeof(*img));
	struct pl_uuid uuid;
	int rc;

	if (!img)
		return pl_err_sys(err, -ENOMEM, "image");
	rc = pl_uuid_random(&uuid);
	if (rc < 0) {
		free(img);
		return pl_err_sys(err, rc, "no random numbers");
	}
	img->dir = dir;
	img->writable = true;
	img->desc = *like;
	img->desc.layers = NULL;
	img->desc.snapshots = NULL;
	img->desc.n_layers = img->desc.n_snapshots = 0;
	img->desc.top[0] = '\0';
	pl_uuid_format(&uuid, img->desc.id);
	iso_now(img->desc.created, sizeof(img->desc.created));
	*ret = img;
	return 0;
}

static int fill(struct pl_image_desc *next, const struct pl_image_layer *layers,
		const struct pl_image_snapshot *snapshots, unsigned n,
		const struct pl_image_layer *top)
{
	int rc = 0;

	for (unsigned i = 0; i < n && rc == 0; i++) {
		rc = descriptor_add_layer(next, &layers[i]);
		if (rc == 0)
			rc = descriptor_add_snapshot(next, &snapshots[i]);
	}
	if (next->top[0])
		descriptor_drop_layer(next, next->top);
	if (rc == 0)
		rc = descriptor_add_layer(next, top);
	memcpy(next->top, top->id, sizeof(top->id));
	next->size = top->size;
	return rc;
}

int pl_image_adopt(struct pl_image *img, const struct pl_image_layer *layers,
		   const struct pl_image_snapshot *snapshots, unsigned n,
		   struct pl_err *err)
{
	struct pl_image_layer top = layers[n - 1];
	char old[PL_ID_LEN + 1];
	struct pl_image_desc next;
	int rc = need_writable(img, err);

	if (rc < 0)
		return rc;
	memcpy(old, img->desc.top, sizeof(old));
	memcpy(top.parent, layers[n - 1].id, sizeof(top.parent));
	rc = layer_file_create(img, top.parent, top.size, top.id, err);
	if (rc < 0)
		return rc;
	rc = descriptor_copy(&img->desc, &next);
	if (rc == 0) {
		rc = fill(&next, layers, snapshots, n, &top);
		if (rc < 0)
			descriptor_free(&next);
	}
	rc = rc < 0 ? pl_err_sys(err, rc, "receive") :
		      descriptor_commit(img, &next, err);
	if (rc < 0 && rc != -ESTALE)
		layer_file_unlink(img, top.id);
	if (rc == 0 && old[0])
		layer_file_unlink(img, old);
	return rc;
}

/* ---- the top of a clone ---- */

/* Closed in order, whatever its last user did. */
static int settle_top(struct pl_image *img, struct pl_err *err)
{
	struct pl_chain *ch;
	int rc = pl_image_open_chain(img, NULL, false, NULL, &ch, err);

	return rc < 0 ? rc : pl_chain_close(ch, err);
}

static int check_same_base(struct pl_image *img, const struct pl_image *clone,
			   struct pl_err *err)
{
	const struct pl_image_desc *d = &img->desc, *c = &clone->desc;
	bool empty = false;
	int rc = pl_image_top_is_empty(img, &empty, err);

	if (rc < 0)
		return rc;
	if (!empty || strcmp(descriptor_layer(d, d->top)->parent,
			     descriptor_layer(c, c->top)->parent) != 0)
		return pl_err_set(err, PL_E_BUSY, EBUSY,
				  "%s was changed while %s was at work",
				  img->dir->path, clone->dir->path);
	return 0;
}

/* It has one name at any time that counts (FMT-086). */
static int move_file(struct pl_image *img, struct pl_image *clone,
		     struct pl_err *err)
{
	char name[LAYER_NAME_MAX];
	int rc = -EOPNOTSUPP;

	layer_file_name(name, clone->desc.top);
	if (img->dir->ops->link)
		rc = img->dir->ops->link(img->dir, clone->dir, name);
	if (rc == 0)
		rc = img->dir->ops->sync(img->dir, LAYERS);
	if (rc == 0)
		rc = clone->dir->ops->unlink(clone->dir, name);
	return rc < 0 ? pl_err_sys(err, rc, "%s/%s", img->dir->path, name) : 0;
}

static int commit_top(struct pl_image *img, const struct pl_image_layer *top,
		      struct pl_err *err)
{
	char old[PL_ID_LEN + 1];
	struct pl_image_desc next;
	int rc = descriptor_copy(&img->desc, &next);

	memcpy(old, img->desc.top, sizeof(old));
	if (rc == 0) {
		descriptor_drop_layer(&next, old);
		rc = descriptor_add_layer(&next, top);
		memcpy(next.top, top->id, sizeof(top->id));
		next.size = top->size;
		if (rc < 0)
			descriptor_free(&next);
	}
	if (rc < 0)
		return pl_err_sys(err, rc, "%s", img->dir->path);
	rc = descriptor_commit(img, &next, err);
	if (rc == 0)
		layer_file_unlink(img, old);
	return rc;
}

static int adopt_top(struct pl_image *img, struct pl_image *clone,
		     struct pl_err *err)
{
	struct pl_image_layer top;
	int rc = check_same_base(img, clone, err);

	if (rc == 0)
		rc = settle_top(clone, err);
	if (rc < 0)
		return rc;
	top = *descriptor_layer(&clone->desc, clone->desc.top);
	rc = move_file(img, clone, err);
	if (rc == 0)
		rc = commit_top(img, &top, err);
	/* Of a failure the next open for writing collects it. */
	return rc;
}

int pl_image_adopt_top(struct pl_image *img, struct pl_dir *from,
		       struct pl_err *err)
{
	struct pl_image *clone;
	int rc = need_writable(img, err);

	if (rc == 0)
		rc = pl_image_open(&clone, from, PL_IMAGE_WRITE, "ploop resize",
				   err);
	if (rc < 0)
		return rc;
	rc = adopt_top(img, clone, err);
	pl_image_close(clone);
	return rc;
}

int pl_image_top_is_empty(struct pl_image *img, bool *ret, struct pl_err *err)
{
	struct pl_layer_usage usage;
	int rc = pl_image_layer_usage(img, NULL, img->desc.top, &usage, err);

	if (rc == 0)
		*ret = usage.owned_bytes == 0;
	return rc;
}

bool pl_image_has_id(const struct pl_image *img, const char *id)
{
	for (unsigned i = 0; i < img->desc.n_snapshots; i++)
		if (strcmp(img->desc.snapshots[i].id, id) == 0)
			return true;
	return descriptor_layer(&img->desc, id) != NULL;
}

void pl_image_layer_name(const char *id, char name[PL_LAYER_NAME_MAX])
{
	layer_file_name(name, id);
}

struct pl_dir *pl_image_dir(const struct pl_image *img)
{
	return img->dir;
}
