/* SPDX-License-Identifier: Apache-2.0 */
/* Copies of layer files: byte by byte, holes as holes, shared where possible. */
#include <errno.h>
#include <stdlib.h>

#include "base/uuid.h"
#include "image/image_int.h"

#define COPY_BYTES (1u << 20)

static int copy_range(struct pl_store *to, struct pl_store *from, uint64_t off,
		      uint64_t end, char *buf)
{
	uint64_t n;
	int rc = pl_store_clone(to, off, from, off, end - off);

	if (rc != -EOPNOTSUPP)
		return rc;
	for (rc = 0; off < end && rc == 0; off += n) {
		n = end - off < COPY_BYTES ? end - off : COPY_BYTES;
		rc = pl_store_read(from, buf, n, off, 0);
		if (rc == 0)
			rc = pl_store_write(to, buf, n, off, 0);
	}
	return rc;
}

static int copy_data(struct pl_store *to, struct pl_store *from)
{
	uint64_t size, off = 0, start, end;
	char *buf = NULL;
	int rc = pl_store_size(from, &size);

	if (rc == 0)
		rc = pl_store_truncate(to, size);
	if (rc == 0 && posix_memalign((void **)&buf, PL_PAGE, COPY_BYTES) != 0)
		rc = -ENOMEM;
	while (rc == 0 && off < size) {
		rc = pl_store_seek_data(from, off, &start, &end);
		if (rc < 0 || start >= size)
			break;
		start = start / PL_PAGE * PL_PAGE;
		end = end < size ? pl_div_up(end, PL_PAGE) * PL_PAGE : end;
		end = end < size ? end : size;
		rc = copy_range(to, from, start, end, buf);
		off = end;
	}
	free(buf);
	return rc < 0 ? rc : pl_store_sync(to);
}

int layer_file_copy(struct pl_image *img, struct pl_store *from,
		    const char *name, struct pl_err *err)
{
	struct pl_store *to;
	int rc = img->dir->ops->open(img->dir, name,
				     PL_OPEN_WRITE | PL_OPEN_CREATE, &to, err);

	if (rc < 0)
		return rc;
	rc = copy_data(to, from);
	pl_store_close(to);
	return rc < 0 ? pl_err_sys(err, rc, "%s/%s", img->dir->path, name) : 0;
}

/* A crash before the rename leaves a file that no descriptor names. */
int layer_file_unshare(struct pl_image *img, const char *id,
		       struct pl_store *shared, struct pl_err *err)
{
	char name[LAYER_NAME_MAX], copy_name[LAYER_NAME_MAX];
	char copy_id[PL_ID_LEN + 1];
	struct pl_uuid uuid;
	int rc = pl_uuid_random(&uuid);

	if (rc < 0)
		return pl_err_sys(err, rc, "no random numbers");
	pl_uuid_format(&uuid, copy_id);
	layer_file_name(name, id);
	layer_file_name(copy_name, copy_id);
	rc = layer_file_copy(img, shared, copy_name, err);
	if (rc == 0) {
		rc = img->dir->ops->rename(img->dir, copy_name, name);
		if (rc == 0)
			rc = img->dir->ops->sync(img->dir, LAYERS);
		if (rc < 0)
			pl_err_sys(err, rc, "%s/%s", img->dir->path, name);
	}
	if (rc < 0)
		layer_file_unlink(img, copy_id);
	return rc;
}
