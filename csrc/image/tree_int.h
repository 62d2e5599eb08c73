/* SPDX-License-Identifier: Apache-2.0 */
/* What the operations on the snapshot tree share. */
#ifndef PLOOP_IMAGE_TREE_INT_H
#define PLOOP_IMAGE_TREE_INT_H

#include "image/image_int.h"
#include "maint/maint.h"

/* ---- tree_merge.c ---- */

/*
 * Merges the two into one layer and commits that. -EBUSY: somebody looks at one
 * of them; -EMLINK: a clone shares one of them; nothing has changed then.
 */
int tree_merge_pair(struct pl_image *img, const struct pl_image_live *live,
		    const char *parent, const char *child,
		    const struct pl_maint_progress *progress,
		    struct pl_err *err);

/* ---- tree_delete.c ---- */

/* Merges or drops every layer that nobody needs; see pl_image_tidy(). */
int tree_drop_needless(struct pl_image *img, const struct pl_image_live *live,
		       const struct pl_image_work *work, struct pl_err *err);
unsigned tree_children(const struct pl_image_desc *desc, const char *id,
		       const struct pl_image_layer **ret_child);
/* The image wants block checksums: sealed layers without get them. Detached. */
void tree_sum_sealed(struct pl_image *img);

#endif
