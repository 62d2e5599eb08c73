/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clones: a new image whose lower layers are those of a snapshot of another
 * one, the same files under a second name (hard links). The file system counts
 * who uses a file, so either image can go first, and there is nothing to keep
 * in step. A file with two names is never changed (FMT-086).
 *
 * The source may be attached. While its files are linked they are locked as by
 * a reader, so that no merge changes or drops them, and its descriptor is read
 * again after that: what is linked is what it says.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/uuid.h"
#include "image/image_int.h"

#define TRIES 20u /* while the source's layers are being rearranged */

struct clone {
	struct pl_image from, to;
	bool copy; /* where the files can't be shared */
	char base[PL_ID_LEN + 1]; /* the layer that the snapshot shows */
	const struct pl_image_layer **chain; /* of from.desc, base first */
	struct pl_layer **held;
	unsigned n;
};

static void release(struct clone *c)
{
	for (unsigned i = 0; c->held && i < c->n; i++)
		pl_layer_abandon(c->held[i]);
	free(c->held);
	free(c->chain);
	descriptor_free(&c->from.desc);
	c->held = NULL;
	c->chain = NULL;
	c->n = 0;
}

/* ---- the source ---- */

static int hold_layers(struct clone *c, struct pl_err *err)
{
	const struct pl_header *h;
	int rc = 0;

	c->held = calloc(c->n, sizeof(struct pl_layer *));
	if (!c->held)
		return pl_err_sys(err, -ENOMEM, "clone");
	for (unsigned i = 0; i < c->n && rc == 0; i++) {
		rc = layer_file_open(&c->from, c->chain[i]->id, LAYER_FILE_LOOK,
				     false, NULL, &c->held[i], err);
		if (rc < 0)
			break;
		h = pl_layer_header(c->held[i]);
		if (h->state != PL_LAYER_SEALED ||
		    !(h->flags & PL_HEADER_CLEAN))
			rc = pl_err_set(err, PL_E_BUSY, EAGAIN,
					"%s: layer %s is not sealed yet",
					c->from.dir->path, c->chain[i]->id);
	}
	return rc;
}

/* Does the source still say what it said before its layers were held? */
static bool unchanged(struct clone *c, const char *key)
{
	struct pl_image again = { .dir = c->from.dir };
	const struct pl_image_layer **chain = NULL;
	const struct pl_image_snapshot *snap;
	unsigned n = 0;
	bool same = descriptor_load(again.dir, &again.desc, NULL) == 0;

	same = same && pl_image_find(&again, key, &snap, NULL) == 0 &&
	       strcmp(snap->layer, c->base) == 0 &&
	       chain_ids(&again, c->base, &chain, &n, NULL) == 0 && n == c->n;
	for (unsigned i = 0; same && i < n; i++)
		same = strcmp(chain[i]->id, c->chain[i]->id) == 0;
	free(chain);
	descriptor_free(&again.desc);
	return same;
}

static int hold_once(struct clone *c, const char *key, struct pl_err *err)
{
	const struct pl_image_snapshot *snap;
	int rc = descriptor_load(c->from.dir, &c->from.desc, err);

	if (rc == 0)
		rc = pl_image_find(&c->from, key, &snap, err);
	if (rc < 0)
		return rc;
	memcpy(c->base, snap->layer, sizeof(c->base));
	rc = chain_ids(&c->from, c->base, &c->chain, &c->n, err);
	if (rc == 0)
		rc = hold_layers(c, err);
	if (rc == 0 && !unchanged(c, key))
		rc = pl_err_set(err, PL_E_BUSY, EAGAIN,
				"%s: its layers are being rearranged",
				c->from.dir->path);
	return rc;
}

static int hold(struct clone *c, const char *key, struct pl_err *err)
{
	const struct timespec pause = { .tv_nsec = 20000000 };
	int rc = 0;

	for (unsigned i = 0; i < TRIES; i++) {
		rc = hold_once(c, key, err);
		if (rc == 0 || (rc != -EAGAIN && rc != -EUCLEAN))
			return rc;
		release(c);
		nanosleep(&pause, NULL);
	}
	return rc;
}

/* ---- the files ---- */

static int share_file(struct clone *c, unsigned i, struct pl_err *err)
{
	struct pl_dir *to = c->to.dir;
	char name[LAYER_NAME_MAX];
	int rc = -EOPNOTSUPP;

	layer_file_name(name, c->chain[i]->id);
	if (to->ops->link)
		rc = to->ops->link(to, c->from.dir, name);
	if (rc == 0)
		return 0;
	if (rc != -EXDEV && rc != -EMLINK && rc != -EPERM && rc != -EOPNOTSUPP)
		return pl_err_sys(err, rc, "%s/%s", to->path, name);
	if (c->copy)
		return layer_file_copy(&c->to, pl_layer_store(c->held[i]), name,
				       err);
	return pl_err_set(err, PL_E_UNSUPPORTED, -rc,
			  "%s and %s can't share files (%s)", to->path,
			  c->from.dir->path,
			  rc == -EXDEV ? "they are on two file systems" :
					 "the host's file system refuses");
}

/* ---- the new image ---- */

static int describe(struct clone *c, struct pl_err *err)
{
	const struct pl_image_layer *base = c->chain[c->n - 1];
	struct pl_image_layer top = { .size = base->size };
	struct pl_image_desc *d = &c->to.desc;
	int rc = layer_file_create(&c->to, base->id, base->size, top.id, err);

	if (rc < 0)
		return rc;
	memcpy(top.parent, base->id, sizeof(top.parent));
	memcpy(d->top, top.id, sizeof(d->top));
	d->size = base->size;
	d->discard = c->from.desc.discard;
	for (unsigned i = 0; i < c->n && rc == 0; i++)
		rc = descriptor_add_layer(d, c->chain[i]);
	if (rc == 0)
		rc = descriptor_add_layer(d, &top);
	return rc < 0 ? pl_err_sys(err, rc, "clone") :
			descriptor_store(c->to.dir, d, err);
}

static int begin(struct clone *c, const char *label, struct pl_err *err)
{
	struct pl_image_params params = { .size = c->chain[c->n - 1]->size,
					  .block_size = c->from.desc.block_size,
					  .label = label ? label :
							   c->from.desc.label,
					  .fs = c->from.desc.fs,
					  .checksums = c->from.desc.checksums };

	return image_begin(&c->to, &params, err);
}

static int make(struct clone *c, const char *label, struct pl_err *err)
{
	int rc = begin(c, label, err);

	if (rc < 0)
		return rc;
	for (unsigned i = 0; i < c->n && rc == 0; i++)
		rc = share_file(c, i, err);
	if (rc == 0) {
		rc = c->to.dir->ops->sync(c->to.dir, LAYERS);
		if (rc < 0)
			pl_err_sys(err, rc, "%s/" LAYERS, c->to.dir->path);
	}
	if (rc == 0)
		rc = describe(c, err);
	if (rc < 0 && rc != -ESTALE)
		image_drop_layer_files(&c->to);
	return rc;
}

int pl_image_clone(struct pl_dir *from, const char *key, struct pl_dir *to,
		   const char *label, bool copy, struct pl_err *err)
{
	struct clone c = { .from = { .dir = from },
			   .to = { .dir = to },
			   .copy = copy };
	int rc = hold(&c, key, err);

	if (rc == 0)
		rc = to->ops->lock(to, true, "ploop clone", err);
	if (rc == 0) {
		rc = make(&c, label, err);
		to->ops->unlock(to);
	}
	release(&c);
	descriptor_free(&c.to.desc);
	return rc;
}

int pl_image_new_id(struct pl_image *img, char *ret_id, struct pl_err *err)
{
	struct pl_image_desc next;
	struct pl_uuid uuid;
	int rc = need_writable(img, err);

	if (rc < 0)
		return rc;
	rc = pl_uuid_random(&uuid);
	if (rc == 0)
		rc = descriptor_copy(&img->desc, &next);
	if (rc < 0)
		return pl_err_sys(err, rc, "new-id");
	pl_uuid_format(&uuid, next.id);
	memcpy(ret_id, next.id, sizeof(next.id));
	return descriptor_commit(img, &next, err);
}
