/* SPDX-License-Identifier: Apache-2.0 */
/* Creating, opening and closing images; their layer files. See image.h. */
#include "image/image.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/co.h"
#include "base/uuid.h"
#include "image/image_int.h"

void layer_file_name(char name[LAYER_NAME_MAX], const char *id)
{
	snprintf(name, LAYER_NAME_MAX, LAYERS "/%s.plp", id);
}

void layer_file_unlink(struct pl_image *img, const char *id)
{
	char name[LAYER_NAME_MAX];

	/* What stays behind is collected at the next open. */
	layer_file_name(name, id);
	img->dir->ops->unlink(img->dir, name);
}

int need_writable(const struct pl_image *img, struct pl_err *err)
{
	return img->writable ? 0 :
			       pl_err_set(err, PL_E_READ_ONLY, EROFS,
					  "%s is open for reading only",
					  img->dir->path);
}

static int new_id(char *ret_id, struct pl_uuid *uuid, struct pl_err *err)
{
	int rc = pl_uuid_random(uuid);

	if (rc < 0)
		return pl_err_sys(err, rc, "no random numbers");
	pl_uuid_format(uuid, ret_id);
	return 0;
}

int layer_file_create(struct pl_image *img, const char *parent, uint64_t size,
		      char *ret_id, struct pl_err *err)
{
	struct pl_layer_params params = { .virtual_size = size,
					  .block_size = img->desc.block_size,
					  .label = img->desc.label };
	char name[LAYER_NAME_MAX];
	struct pl_store *st;
	int rc = new_id(ret_id, &params.uuid, err);

	if (rc < 0)
		return rc;
	if (parent[0] && !pl_uuid_parse(parent, &params.parent))
		return pl_err_set(err, PL_E_INTERNAL, EINVAL, "layer id");
	layer_file_name(name, ret_id);
	rc = img->dir->ops->open(img->dir, name, PL_OPEN_WRITE | PL_OPEN_CREATE,
				 &st, err);
	if (rc < 0)
		return rc;
	rc = pl_layer_create(st, &params, err);
	pl_store_close(st);
	if (rc == 0) {
		rc = img->dir->ops->sync(img->dir, LAYERS);
		if (rc < 0)
			pl_err_sys(err, rc, "%s/" LAYERS, img->dir->path);
	}
	if (rc < 0)
		layer_file_unlink(img, ret_id);
	return rc;
}

int layer_file_store(struct pl_image *img, const char *id, unsigned open_flags,
		     struct pl_store **ret, struct pl_err *err)
{
	char name[LAYER_NAME_MAX];
	int rc;

	layer_file_name(name, id);
	rc = img->dir->ops->open(img->dir, name, open_flags, ret, err);
	if (rc == -ENOENT)
		return pl_err_set(err, PL_E_CORRUPT, ENOENT,
				  "%s: layer %s is missing", img->dir->path,
				  id);
	return rc;
}

#define LOOK_TRIES 100 /* of 20 ms: a layer that is just being sealed */

static int lock_to_look(struct pl_image *img, const char *id,
			struct pl_store *st, struct pl_err *err)
{
	const struct timespec pause = { .tv_nsec = 20000000 };
	int rc = pl_store_lock(st, PL_STORE_SHARED);

	/* Beside requests nobody may block. */
	for (unsigned i = 0; rc == -EBUSY && !pl_co_self() && i < LOOK_TRIES;
	     i++) {
		nanosleep(&pause, NULL);
		rc = pl_store_lock(st, PL_STORE_SHARED);
	}
	if (rc == -EBUSY)
		return pl_err_set(err, PL_E_BUSY, EBUSY,
				  "%s: layer %s is being merged after a "
				  "deletion; wait for that or stop it: see "
				  "ploop jobs",
				  img->dir->path, id);
	return rc < 0 ? pl_err_sys(err, rc, "layer %s: lock", id) : 0;
}

unsigned layer_file_direct(const struct pl_image *img)
{
	return img->cached ? 0 : PL_OPEN_DIRECT;
}

int layer_file_open(struct pl_image *img, const char *id, unsigned flags,
		    bool direct, struct pl_pending *pending,
		    struct pl_layer **ret, struct pl_err *err)
{
	return layer_file_open_how(
		img, id, flags,
		(flags & PL_LAYER_WRITE ? PL_OPEN_WRITE : 0) |
			(direct ? layer_file_direct(img) : 0),
		pending, ret, err);
}

int layer_file_open_how(struct pl_image *img, const char *id, unsigned flags,
			unsigned open_flags, struct pl_pending *pending,
			struct pl_layer **ret, struct pl_err *err)
{
	char name[LAYER_NAME_MAX];
	struct pl_store *st;
	int rc = layer_file_store(img, id, open_flags, &st, err);

	*ret = NULL; /* callers clean up what they were given */
	if (rc < 0)
		return rc;
	layer_file_name(name, id);
	rc = flags & LAYER_FILE_LOOK ? lock_to_look(img, id, st, err) : 0;
	if (rc < 0) {
		pl_store_close(st);
		return rc;
	}
	rc = pl_layer_open(ret, st, flags & ~LAYER_FILE_LOOK, pending, err);
	if (rc < 0) {
		pl_store_close(st);
		/* The descriptor says that it is a layer. */
		if (err && err->code == PL_E_NOT_AN_IMAGE)
			err->code = PL_E_CORRUPT;
		pl_err_wrap(err, "%s/%s", img->dir->path, name);
		return rc;
	}
	if (pl_layer_header(*ret)->block_size != img->desc.block_size) {
		pl_err_set(err, PL_E_CORRUPT, EUCLEAN,
			   "%s/%s: block size %u; the image has %u",
			   img->dir->path, name,
			   pl_layer_header(*ret)->block_size,
			   img->desc.block_size);
		pl_layer_abandon(*ret);
		*ret = NULL;
		return -EUCLEAN;
	}
	if (strcmp(pl_layer_id(*ret), id) != 0) {
		pl_layer_abandon(*ret);
		*ret = NULL;
		return pl_err_set(err, PL_E_CORRUPT, EUCLEAN,
				  "%s/%s holds another layer", img->dir->path,
				  name);
	}
	return 0;
}

/* ---- create ---- */

/* What an unfinished create leaves; "creating" is the note of the command that
 * makes the image (src/image/creation.ts). */
static int found_entry(void *arg, const char *name)
{
	static const char *const ours[] = { "lock", LAYERS, DESCRIPTOR_NEW,
					    "creating" };

	(void)arg;
	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		if (strcmp(name, ours[i]) == 0)
			return 0;
	return -EEXIST;
}

static int check_params(struct pl_dir *dir, const struct pl_image_params *p,
			struct pl_image_desc *desc, struct pl_err *err)
{
	uint32_t bs = p->block_size ? p->block_size : PL_BLOCK_MIN;

	if (dir->ops->list(dir, "", found_entry, NULL) == -EEXIST)
		return pl_err_set(err, PL_E_EXISTS, EEXIST,
				  "%s exists and is not empty", dir->path);
	if (!pl_block_size_valid(bs))
		return pl_err_set(err, PL_E_INVALID_ARGUMENT, EINVAL,
				  "block size %u: must be 4096, 8192, 16384, "
				  "32768 or 65536",
				  bs);
	if (p->size == 0)
		return pl_err_set(err, PL_E_INVALID_ARGUMENT, EINVAL,
				  "size 0: must be at least one block");
	if (p->size > PL_MAX_BLOCKS * bs)
		return pl_err_set(err, PL_E_INVALID_ARGUMENT, EINVAL,
				  "size %llu: at most %llu bytes with %u-byte "
				  "blocks",
				  (unsigned long long)p->size,
				  (unsigned long long)(PL_MAX_BLOCKS * bs), bs);
	if (p->label && strlen(p->label) > PL_LABEL_MAX)
		return pl_err_set(err, PL_E_INVALID_ARGUMENT, EINVAL,
				  "label: at most %u bytes", PL_LABEL_MAX);
	desc->block_size = bs;
	desc->size = pl_div_up(p->size, bs) * bs;
	snprintf(desc->label, sizeof(desc->label), "%s",
		 p->label ? p->label : "");
	snprintf(desc->fs, sizeof(desc->fs), "%s", p->fs ? p->fs : "none");
	iso_now(desc->created, sizeof(desc->created));
	desc->checksums = p->checksums;
	return 0;
}

/* Is this the name of a layer file (FMT-112)? */
static bool is_layer_file(const char *name, char id[PL_ID_LEN + 1])
{
	struct pl_uuid uuid;

	if (strlen(name) != PL_ID_LEN + 4 ||
	    strcmp(name + PL_ID_LEN, ".plp") != 0)
		return false;
	memcpy(id, name, PL_ID_LEN);
	id[PL_ID_LEN] = '\0';
	return pl_uuid_parse(id, &uuid);
}

/* Files of a create that was interrupted before its commit. */
static int drop_layer_file(void *arg, const char *name)
{
	char id[PL_ID_LEN + 1];

	if (is_layer_file(name, id))
		layer_file_unlink(arg, id);
	return 0;
}

void image_drop_layer_files(struct pl_image *img)
{
	img->dir->ops->list(img->dir, LAYERS, drop_layer_file, img);
}

int image_begin(struct pl_image *img, const struct pl_image_params *params,
		struct pl_err *err)
{
	struct pl_uuid uuid;
	int rc = check_params(img->dir, params, &img->desc, err);

	if (rc == 0)
		rc = new_id(img->desc.id, &uuid, err);
	if (rc < 0)
		return rc;
	rc = img->dir->ops->mkdir(img->dir, LAYERS);
	if (rc < 0 && rc != -EEXIST)
		return pl_err_sys(err, rc, "%s/" LAYERS, img->dir->path);
	image_drop_layer_files(img);
	return 0;
}

static int create_locked(struct pl_image *img,
			 const struct pl_image_params *params,
			 struct pl_err *err)
{
	struct pl_image_layer layer = { .parent = "" };
	int rc = image_begin(img, params, err);

	if (rc == 0)
		rc = layer_file_create(img, "", img->desc.size, layer.id, err);
	if (rc < 0)
		return rc;
	layer.size = img->desc.size;
	memcpy(img->desc.top, layer.id, sizeof(layer.id));
	if (descriptor_add_layer(&img->desc, &layer) < 0)
		rc = pl_err_sys(err, -ENOMEM, "descriptor");
	else
		rc = descriptor_store(img->dir, &img->desc, err);
	if (rc < 0 && rc != -ESTALE)
		layer_file_unlink(img, layer.id);
	return rc;
}

int pl_image_create(struct pl_dir *dir, const struct pl_image_params *params,
		    struct pl_err *err)
{
	struct pl_image img = { .dir = dir };
	int rc = dir->ops->lock(dir, true, "ploop create", err);

	if (rc < 0)
		return rc;
	rc = create_locked(&img, params, err);
	descriptor_free(&img.desc);
	dir->ops->unlock(dir);
	return rc;
}

/* ---- open ---- */

/* Removes a layer file that the descriptor does not name. */
static int collect_one(void *arg, const char *name)
{
	struct pl_image *img = arg;
	char id[PL_ID_LEN + 1];

	if (is_layer_file(name, id) && !descriptor_layer(&img->desc, id))
		layer_file_unlink(img, id);
	return 0;
}

void collect_leftovers(struct pl_image *img)
{
	img->dir->ops->unlink(img->dir, DESCRIPTOR_NEW);
	img->dir->ops->list(img->dir, LAYERS, collect_one, img);
}

int pl_image_open(struct pl_image **ret, struct pl_dir *dir, unsigned flags,
		  const char *who, struct pl_err *err)
{
	struct pl_image *img = calloc(1, sizeof(*img));
	int rc = 0;

	if (!img)
		return pl_err_sys(err, -ENOMEM, "image");
	img->dir = dir;
	img->writable = flags & PL_IMAGE_WRITE;
	img->cached = flags & PL_IMAGE_CACHED;
	/* Read first: what is no image is not given a lock file. */
	rc = descriptor_load(dir, &img->desc, err);
	if (rc == 0 && !(flags & PL_IMAGE_NO_LOCK)) {
		rc = dir->ops->lock(dir, img->writable, who, err);
		img->locked = rc == 0;
		descriptor_free(&img->desc);
		if (rc == 0)
			rc = descriptor_load(dir, &img->desc, err);
	}
	if (rc < 0) {
		pl_image_close(img);
		return rc;
	}
	if (img->writable)
		collect_leftovers(img);
	*ret = img;
	return 0;
}

int pl_image_settle(struct pl_image *img, struct pl_err *err)
{
	struct pl_store *st = NULL;
	int rc = layer_file_store(img, img->desc.top, PL_OPEN_WRITE, &st, err);

	pl_store_close(st);
	/* Then nobody has written. */
	return rc == -EROFS || rc == -EACCES ? 0 : rc;
}

void pl_image_close(struct pl_image *img)
{
	if (!img)
		return;
	snapshot_forget_prepared(img);
	if (img->locked)
		img->dir->ops->unlock(img->dir);
	descriptor_free(&img->desc);
	free(img);
}

const struct pl_image_desc *pl_image_desc(const struct pl_image *img)
{
	return &img->desc;
}

/* ---- finding snapshots ---- */

static const struct pl_image_snapshot *by_name(const struct pl_image_desc *d,
					       const char *key, unsigned *n)
{
	const struct pl_image_snapshot *hit = NULL;

	for (unsigned i = 0; i < d->n_snapshots; i++) {
		const struct pl_image_snapshot *s = &d->snapshots[i];

		if (!s->hidden && s->name[0] && strcmp(s->name, key) == 0) {
			hit = s;
			++*n;
		}
	}
	return hit;
}

static const struct pl_image_snapshot *by_prefix(const struct pl_image_desc *d,
						 const char *key, unsigned *n)
{
	const struct pl_image_snapshot *hit = NULL;
	size_t len = strlen(key);

	for (unsigned i = 0; len >= 4 && i < d->n_snapshots; i++) {
		const struct pl_image_snapshot *s = &d->snapshots[i];

		if (!s->hidden && strncmp(s->id, key, len) == 0) {
			hit = s;
			++*n;
		}
	}
	return hit;
}

int pl_image_find(const struct pl_image *img, const char *key,
		  const struct pl_image_snapshot **ret, struct pl_err *err)
{
	unsigned n = 0;

	*ret = by_prefix(&img->desc, key, &n);
	if (n == 1 && strcmp((*ret)->id, key) == 0)
		return 0;
	*ret = by_name(&img->desc, key, (n = 0, &n));
	if (n == 0)
		*ret = by_prefix(&img->desc, key, &n);
	if (n == 1)
		return 0;
	if (n > 1)
		return pl_err_set(err, PL_E_AMBIGUOUS_ID, EINVAL,
				  "%s: %u snapshots match \"%s\"; give more of "
				  "the id",
				  img->dir->path, n, key);
	return pl_err_set(err, PL_E_SNAPSHOT_NOT_FOUND, ENOENT,
			  "%s: no snapshot has the id or name \"%s\"",
			  img->dir->path, key);
}
