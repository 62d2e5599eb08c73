/* SPDX-License-Identifier: Apache-2.0 */
/* Check of a whole image: the descriptor, every layer, and how they fit. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/uuid.h"
#include "image/image_int.h"
#include "maint/maint.h"

static void found(void *arg, enum pl_damage kind, uint64_t off,
		  const char *text)
{
	struct checkup *c = arg;
	struct pl_finding f = { .code = pl_damage_code(kind),
				.kind = kind,
				.layer = c->layer,
				.offset = off };

	c->ret->findings++;
	snprintf(f.text, sizeof(f.text), "%s", text);
	if (!c->stopped)
		c->stopped = !c->each(c->arg, &f);
}

static void __attribute__((format(printf, 3, 4)))
foundf(struct checkup *c, enum pl_damage kind, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	found(c, kind, 0, text);
}

/* Does the file agree with the descriptor about what it is? */
static void check_fit(struct checkup *c, const struct pl_image_layer *l,
		      const struct pl_header *h)
{
	const struct pl_image_desc *d = &c->img.desc;
	const struct pl_image_layer *p = l;
	char text[PL_UUID_TEXT];
	bool known;

	pl_uuid_format(&h->uuid, text);
	if (strcmp(text, l->id) != 0) {
		foundf(c, PL_DAMAGE_LAYER_FOREIGN, "the file holds layer %s",
		       text);
		return;
	}
	if (h->block_size != d->block_size)
		foundf(c, PL_DAMAGE_LAYER_MISFIT,
		       "block size %u; the image has %u", h->block_size,
		       d->block_size);
	known = pl_uuid_is_nil(&h->parent);
	pl_uuid_format(&h->parent, text);
	while (!known && (p = descriptor_layer(d, p->parent)) != NULL)
		known = strcmp(p->id, text) == 0;
	if (!known)
		foundf(c, PL_DAMAGE_LAYER_MISFIT,
		       "was made on layer %s, which is not below it", text);
}

static void add_up(struct checkup *c, const struct pl_check_layer *cl)
{
	c->ret->map_pages += cl->map_pages;
	c->ret->clusters += cl->clusters;
	c->ret->journal_records += cl->journal_records;
	c->ret->layers_with_sums += cl->sums;
	c->ret->verified += cl->verified;
	c->ret->uncovered += cl->uncovered;
}

int checkup_layer(struct checkup *c, const struct pl_image_layer *l,
		  struct check_layer_state *ret, struct pl_err *err)
{
	struct pl_damage_sink sink = { .found = found, .arg = c };
	struct pl_dir *dir = c->img.dir;
	struct pl_check_layer cl;
	char name[LAYER_NAME_MAX];
	struct pl_store *st;
	int rc;

	memset(ret, 0, sizeof(*ret));
	c->layer = l->id;
	c->ret->layers++;
	layer_file_name(name, l->id);
	rc = dir->ops->open(dir, name, 0, &st, err);
	if (rc == -ENOENT || (rc < 0 && err->code == PL_E_CORRUPT)) {
		foundf(c, PL_DAMAGE_LAYER_MISSING, "%s",
		       rc == -ENOENT ? "the layer's file is missing" :
				       err->msg);
		return 0;
	}
	if (rc < 0)
		return rc;
	rc = pl_check_layer_file(st, c->flags & PL_CHECK_DATA, &sink, &cl, err);
	if (rc < 0) {
		pl_err_wrap(err, "layer %s", l->id);
		return rc;
	}
	add_up(c, &cl);
	if (!cl.opened)
		return 0;
	check_fit(c, l, &cl.hdr);
	ret->opened = true;
	ret->clean = cl.hdr.flags & PL_HEADER_CLEAN;
	ret->sealed = cl.hdr.state == PL_LAYER_SEALED;
	if (!ret->clean ||
	    (!ret->sealed && strcmp(l->id, c->img.desc.top) != 0))
		c->ret->unclean++;
	return 0;
}

static int count_leftover(void *arg, const char *name)
{
	struct checkup *c = arg;
	char id[PL_ID_LEN + 1];

	snprintf(id, sizeof(id), "%s", name);
	if (strlen(name) != PL_ID_LEN + 4 ||
	    !descriptor_layer(&c->img.desc, id))
		c->ret->leftovers++;
	return 0;
}

int checkup_start(struct checkup *c, struct pl_err *err)
{
	struct pl_dir *dir = c->img.dir;
	struct pl_store *st;
	int rc;

	memset(c->ret, 0, sizeof(*c->ret));
	c->layer = "";
	rc = dir->ops->open(dir, DESCRIPTOR, 0, &st, err);
	if (rc == -ENOENT)
		return pl_err_set(err, PL_E_NOT_AN_IMAGE, ENOENT,
				  "%s is not an image: it has no " DESCRIPTOR,
				  dir->path);
	if (rc == 0)
		pl_store_close(st);
	return rc;
}

int checkup_all(struct checkup *c, struct pl_err *err)
{
	struct check_layer_state state;
	int rc = descriptor_load(c->img.dir, &c->img.desc, err);

	c->layer = "";
	if (rc < 0 && err->code == PL_E_CORRUPT) {
		foundf(c, PL_DAMAGE_DESCRIPTOR, "%s", err->msg);
		return 0;
	}
	for (unsigned i = 0; rc == 0 && i < c->img.desc.n_layers; i++)
		rc = checkup_layer(c, &c->img.desc.layers[i], &state, err);
	if (rc == 0)
		c->img.dir->ops->list(c->img.dir, LAYERS, count_leftover, c);
	descriptor_free(&c->img.desc);
	return rc;
}

int pl_image_check_deep(struct pl_dir *dir, unsigned flags, pl_finding_fn *each,
			void *arg, struct pl_check_result *ret,
			struct pl_err *err)
{
	struct checkup c = { .img.dir = dir,
			     .flags = flags,
			     .each = each,
			     .arg = arg,
			     .ret = ret };
	struct pl_err local;
	int rc;

	err = err ? err : &local;
	rc = checkup_start(&c, err);
	if (rc == 0)
		rc = dir->ops->lock(dir, false, "ploop check", err);
	if (rc < 0)
		return rc;
	rc = checkup_all(&c, err);
	dir->ops->unlock(dir);
	return rc;
}

int pl_image_check(struct pl_dir *dir, pl_finding_fn *each, void *arg,
		   struct pl_check_result *ret, struct pl_err *err)
{
	return pl_image_check_deep(dir, 0, each, arg, ret, err);
}
