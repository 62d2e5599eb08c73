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

#include "image/tree_int.h"

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
	if (rc == 0)
		rc = seal_below_top(img, err);
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
		rc = pl_image_snapshot(img, NULL, name, description, NULL,
				       ret_id, err);
	return rc == 0 ? pl_image_switch(img, target, err) : rc;
}
