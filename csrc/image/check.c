/* SPDX-License-Identifier: Apache-2.0 */
/* Check of a whole image: the descriptor, every layer, and how they fit. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/uuid.h"
#include "image/image_int.h"
#include "maint/maint.h"

struct check {
	struct pl_image img;
	pl_finding_fn *each;
	void *arg;
	struct pl_check_result *ret;
	const char *layer; /* the one being checked, "" = descriptor */
	bool stopped;
};

static void found(void *arg, enum pl_code code, uint64_t off, const char *text)
{
	struct check *c = arg;
	struct pl_finding f = { .code = code, .layer = c->layer, .offset = off };

	c->ret->findings++;
	snprintf(f.text, sizeof(f.text), "%s", text);
	if (!c->stopped)
		c->stopped = !c->each(c->arg, &f);
}

static void __attribute__((format(printf, 2, 3)))
foundf(struct check *c, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	found(c, PL_E_CORRUPT, 0, text);
}

/* Does the file agree with the descriptor about what it is? */
static void check_fit(struct check *c, const struct pl_image_layer *l,
		      const struct pl_header *h)
{
	const struct pl_image_desc *d = &c->img.desc;
	const struct pl_image_layer *p = l;
	char text[PL_UUID_TEXT];
	bool known;

	pl_uuid_format(&h->uuid, text);
	if (strcmp(text, l->id) != 0)
		foundf(c, "the file holds layer %s", text);
	if (h->block_size != d->block_size)
		foundf(c, "block size %u; the image has %u", h->block_size,
		       d->block_size);
	known = pl_uuid_is_nil(&h->parent);
	pl_uuid_format(&h->parent, text);
	while (!known && (p = descriptor_layer(d, p->parent)) != NULL)
		known = strcmp(p->id, text) == 0;
	if (!known)
		foundf(c, "was made on layer %s, which is not below it", text);
}

static int check_layer(struct check *c, const struct pl_image_layer *l)
{
	struct pl_check_sink sink = { .found = found, .arg = c };
	struct pl_dir *dir = c->img.dir;
	struct pl_check_layer cl;
	char name[LAYER_NAME_MAX];
	struct pl_store *st;
	struct pl_err err;
	int rc;

	c->layer = l->id;
	c->ret->layers++;
	layer_file_name(name, l->id);
	rc = dir->ops->open(dir, name, 0, &st, &err);
	if (rc < 0) {
		found(c, PL_E_CORRUPT, 0,
		      rc == -ENOENT ? "the layer's file is missing" : err.msg);
		return 0;
	}
	rc = pl_check_layer_file(st, &sink, &cl);
	if (rc < 0)
		return rc;
	c->ret->map_pages += cl.map_pages;
	c->ret->clusters += cl.clusters;
	if (cl.opened)
		check_fit(c, l, &cl.hdr);
	return 0;
}

static int count_leftover(void *arg, const char *name)
{
	struct check *c = arg;
	char id[PL_ID_LEN + 1];

	snprintf(id, sizeof(id), "%s", name);
	if (strlen(name) != PL_ID_LEN + 4 || !descriptor_layer(&c->img.desc, id))
		c->ret->leftovers++;
	return 0;
}

static int check_locked(struct check *c, struct pl_err *err)
{
	int rc = descriptor_load(c->img.dir, &c->img.desc, err);

	if (rc < 0 && err->code == PL_E_CORRUPT) {
		found(c, err->code, 0, err->msg);
		return 0;
	}
	for (unsigned i = 0; rc == 0 && i < c->img.desc.n_layers; i++) {
		rc = check_layer(c, &c->img.desc.layers[i]);
		if (rc < 0)
			pl_err_sys(err, rc, "layer %s",
				   c->img.desc.layers[i].id);
	}
	if (rc == 0)
		c->img.dir->ops->list(c->img.dir, LAYERS, count_leftover, c);
	descriptor_free(&c->img.desc);
	return rc;
}

int pl_image_check(struct pl_dir *dir, pl_finding_fn *each, void *arg,
		   struct pl_check_result *ret, struct pl_err *err)
{
	struct check c = { .img.dir = dir, .each = each, .arg = arg,
			   .ret = ret, .layer = "" };
	struct pl_err local;
	struct pl_store *st;
	int rc;

	err = err ? err : &local;
	memset(ret, 0, sizeof(*ret));
	rc = dir->ops->open(dir, DESCRIPTOR, 0, &st, err);
	if (rc < 0)
		return rc == -ENOENT ?
			       pl_err_set(err, PL_E_NOT_AN_IMAGE, ENOENT,
					  "%s is not an image: it has no "
					  DESCRIPTOR,
					  dir->path) :
			       rc;
	pl_store_close(st);
	rc = dir->ops->lock(dir, false, "ploop check", err);
	if (rc < 0)
		return rc;
	rc = check_locked(&c, err);
	dir->ops->unlock(dir);
	return rc;
}
