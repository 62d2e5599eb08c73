/* SPDX-License-Identifier: Apache-2.0 */
/* Block checksums for the sealed layers of an image. */
#include <errno.h>
#include <string.h>

#include "image/image_int.h"
#include "maint/maint.h"

static int add_one(struct pl_image *img, const char *id, unsigned open_flags,
		   const struct pl_maint_progress *progress,
		   unsigned *ret_added, struct pl_err *err)
{
	char name[LAYER_NAME_MAX];
	struct pl_store *st;
	uint64_t links;
	bool added;
	int rc;

	layer_file_name(name, id);
	rc = img->dir->ops->open(img->dir, name, PL_OPEN_WRITE | open_flags,
				 &st, err);
	if (rc < 0)
		return rc;
	/* A file that a clone uses, too, is not changed (FMT-086). */
	rc = pl_store_lock(st, PL_STORE_EXCLUSIVE);
	if (rc == 0)
		rc = pl_store_links(st, &links);
	if (rc < 0 || links > 1) {
		pl_store_close(st);
		return rc == -EBUSY || rc == 0 ?
			       0 :
			       pl_err_sys(err, rc, "%s", name);
	}
	rc = pl_checksums_add(st, progress, &added, err);
	*ret_added += rc == 0 && added;
	return rc;
}

/* The descriptor may change while one is read; what it adds has them already. */
static int add_all(struct pl_image *img, unsigned open_flags,
		   const struct pl_maint_progress *progress,
		   unsigned *ret_added, struct pl_err *err)
{
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < img->desc.n_layers; i++)
		if (strcmp(img->desc.layers[i].id, img->desc.top) != 0)
			rc = add_one(img, img->desc.layers[i].id, open_flags,
				     progress, ret_added, err);
	return rc;
}

int pl_image_add_checksums(struct pl_image *img, const char *layer_id,
			   pl_progress_fn *progress, void *arg,
			   unsigned *ret_added, struct pl_err *err)
{
	struct pl_maint_progress p = { .fn = progress, .arg = arg };
	int rc = need_writable(img, err);

	*ret_added = 0;
	if (rc == 0 && layer_id)
		return add_one(img, layer_id, 0, &p, ret_added, err);
	return rc < 0 ? rc : add_all(img, 0, &p, ret_added, err);
}

int pl_image_sum_beside(struct pl_image *img, const struct pl_image_work *work,
			unsigned *ret_added, struct pl_err *err)
{
	struct pl_maint_progress p = { .fn = work->progress,
				       .arg = work->arg,
				       .pace = work->pace };
	int rc = need_writable(img, err);

	*ret_added = 0;
	if (rc < 0 || !img->desc.checksums)
		return rc;
	return add_all(img, PL_OPEN_BESIDE, &p, ret_added, err);
}
