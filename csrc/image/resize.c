/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Another size of the disk. The top's header is the moment of the change; the
 * descriptor follows, and is brought up to date after a crash in between
 * (FMT-114).
 */
#include <errno.h>

#include "image/image_int.h"

static int commit_size(struct pl_image *img, uint64_t size, struct pl_err *err)
{
	struct pl_image_desc next;
	int rc = descriptor_copy(&img->desc, &next);

	if (rc < 0)
		return pl_err_sys(err, rc, "resize");
	next.size = size;
	descriptor_layer(&next, next.top)->size = size;
	return descriptor_commit(img, &next, err);
}

/* size: rounded up to whole blocks. */
static int check_size(const struct pl_image *img, uint64_t *size,
		      struct pl_err *err)
{
	uint64_t bs = img->desc.block_size, most = PL_MAX_BLOCKS * bs;
	int rc = need_writable(img, err);

	if (rc < 0)
		return rc;
	if (*size == 0 || *size > most)
		return pl_err_set(err, PL_E_INVALID_ARGUMENT, EINVAL,
				  "size %llu: must be 1 to %llu bytes with "
				  "%u-byte blocks",
				  (unsigned long long)*size,
				  (unsigned long long)most,
				  img->desc.block_size);
	*size = pl_div_up(*size, bs) * bs;
	return 0;
}

static int grow(struct pl_image *img, struct pl_chain *ch, uint64_t size,
		struct pl_err *err)
{
	uint64_t now = pl_chain_size(ch);
	int rc;

	if (size < now)
		return pl_err_set(err, PL_E_INVALID_ARGUMENT, EINVAL,
				  "%s has %llu bytes; it is made smaller only "
				  "while it is detached: ploop resize",
				  img->dir->path, (unsigned long long)now);
	if (size == now && size == img->desc.size)
		return 0;
	rc = pl_chain_grow(ch, size, err);
	return rc < 0 ? rc : commit_size(img, size, err);
}

int pl_image_resize(struct pl_image *img, struct pl_chain *live, uint64_t size,
		    struct pl_err *err)
{
	struct pl_chain *ch = live;
	int rc = check_size(img, &size, err), rc2;

	if (rc == 0 && !ch)
		rc = pl_image_open_chain(img, NULL, false, NULL, &ch, err);
	if (rc < 0)
		return rc;
	rc = grow(img, ch, size, err);
	if (!live) {
		rc2 = pl_chain_close(ch, rc < 0 ? NULL : err);
		rc = rc < 0 ? rc : rc2;
	}
	return rc;
}

static int shrink(struct pl_image *img, struct pl_chain *ch, uint64_t size,
		  struct pl_err *err)
{
	uint64_t now = pl_chain_size(ch);
	int rc;

	if (size > now)
		return pl_err_set(err, PL_E_INVALID_ARGUMENT, EINVAL,
				  "%s has %llu bytes, less than the %llu to "
				  "shrink to",
				  img->dir->path, (unsigned long long)now,
				  (unsigned long long)size);
	if (size == now)
		return 0;
	rc = pl_chain_shrink(ch, size, err);
	return rc < 0 ? rc : commit_size(img, size, err);
}

int pl_image_shrink(struct pl_image *img, uint64_t size, struct pl_err *err)
{
	struct pl_chain *ch;
	int rc = check_size(img, &size, err), rc2;

	if (rc == 0)
		rc = pl_image_open_chain(img, NULL, false, NULL, &ch, err);
	if (rc < 0)
		return rc;
	rc = shrink(img, ch, size, err);
	rc2 = pl_chain_close(ch, rc < 0 ? NULL : err);
	return rc < 0 ? rc : rc2;
}
