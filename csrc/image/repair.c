/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Repair: a check; copies and a report when something has no one right answer;
 * the layers one after the other, each ending with a clean header; leftovers;
 * the report again.
 *
 * Changing a layer drops its block checksums, so a repair always verifies the
 * data first: afterwards nothing could tell.
 *
 * Interrupted anywhere, the image is no worse than before, and the same can be
 * run again (it makes its own copies).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "image/repair.h"
#include "maint/maint.h"

/* ---- what is wrong ---- */

static bool blocks(enum pl_damage kind)
{
	return pl_damage_fix(kind) == PL_FIX_NONE && kind != PL_DAMAGE_DATA;
}

static void note(struct repair_work *w, enum pl_damage kind)
{
	if (!w)
		return;
	w->blocked |= blocks(kind);
	w->salvage |= pl_damage_fix(kind) == PL_FIX_SALVAGE;
	w->exact |= pl_damage_fix(kind) == PL_FIX_EXACT;
	w->header_only &= kind == PL_DAMAGE_HEADER_COPY ||
			  kind == PL_DAMAGE_DATA;
}

static bool collect(void *arg, const struct pl_finding *f)
{
	struct repair *r = arg;
	unsigned cap = r->cap ? r->cap * 2 : 64;
	void *p;

	note(r->current, f->kind);
	if (r->n == REPORT_FINDINGS)
		return true;
	if (r->n == r->cap) {
		p = realloc(r->list, cap * sizeof(*r->list));
		if (!p) {
			r->no_memory = true;
			return false;
		}
		r->list = p;
		r->cap = cap;
	}
	r->list[r->n++] = *f;
	return true;
}

static int examine(struct repair *r, struct pl_err *err)
{
	const struct pl_image_desc *d = &r->c.img.desc;
	int rc = 0;

	for (unsigned i = 0; i < d->n_layers && rc == 0; i++) {
		r->current = &r->work[i];
		r->current->header_only = true;
		rc = checkup_layer(&r->c, &d->layers[i], &r->current->state,
				   err);
		r->current->blocked |= !r->current->state.opened;
	}
	r->current = NULL;
	return rc == 0 && r->no_memory ? pl_err_sys(err, -ENOMEM, "repair") :
					 rc;
}

/* ---- one layer ---- */

static void ignore(void *arg, enum pl_damage kind, uint64_t off,
		   const char *text)
{
	(void)arg, (void)kind, (void)off, (void)text;
}

/* The good copy is written over the bad one. */
static int fix_header(struct pl_store *st, struct pl_err *err)
{
	struct pl_layer *ly;
	int rc = pl_layer_open(&ly, st, 0, NULL, err);

	if (rc < 0) {
		pl_store_close(st);
		return rc;
	}
	rc = pl_layer_renew_header(ly);
	if (rc < 0)
		pl_err_sys(err, rc, "layer %s: header", pl_layer_id(ly));
	pl_layer_abandon(ly);
	return rc;
}

static int fix_layer(struct pl_store *st, bool top, struct pl_err *err)
{
	struct pl_damage_sink sink = { .found = ignore };
	struct pl_layer *ly;
	int rc = pl_layer_open_damaged(&ly, st, PL_LAYER_WRITE, &sink, NULL,
				       err);

	if (rc < 0) {
		pl_store_close(st);
		return rc;
	}
	if (top)
		return pl_layer_close(ly, err);
	rc = pl_layer_seal(ly, err);
	pl_layer_abandon(ly);
	return rc;
}

/*
 * Open for writing, locked against those who look or link, and with no other
 * name: what a clone shares is copied first, so that it keeps what it has.
 */
static int open_own(struct repair *r, const char *id, struct pl_store **ret,
		    struct pl_err *err)
{
	struct pl_image *img = &r->c.img;
	uint64_t links = 0;
	int rc = layer_file_store(img, id, PL_OPEN_WRITE, ret, err);

	if (rc < 0)
		return rc;
	rc = pl_store_lock(*ret, PL_STORE_EXCLUSIVE);
	if (rc == -EBUSY)
		pl_err_set(err, PL_E_BUSY, EBUSY,
			   "%s: layer %s is being read by somebody else: a "
			   "mounted snapshot, a backup or a clone",
			   img->dir->path, id);
	if (rc == 0)
		rc = pl_store_links(*ret, &links);
	if (rc < 0 && rc != -EBUSY)
		pl_err_sys(err, rc, "layer %s: lock", id);
	if (rc == 0 && links > 1) {
		rc = layer_file_unshare(img, id, *ret, err);
		if (rc == 0) {
			pl_store_close(*ret);
			return open_own(r, id, ret, err);
		}
	}
	if (rc < 0)
		pl_store_close(*ret);
	return rc;
}

static int fix(struct repair *r, unsigned i, struct pl_err *err)
{
	const struct pl_image_desc *d = &r->c.img.desc;
	const struct repair_work *w = &r->work[i];
	bool top = strcmp(d->layers[i].id, d->top) == 0;
	bool settled = w->state.clean && (top || w->state.sealed);
	struct pl_store *st;
	int rc;

	if (w->blocked || (settled && !w->exact && !w->salvage))
		return 0;
	rc = open_own(r, d->layers[i].id, &st, err);
	if (rc < 0)
		return rc;
	/* A sealed top can only come from a switch that never was: as it is. */
	return settled && w->header_only ? fix_header(st, err) :
					   fix_layer(st, top, err);
}

/* ---- the whole ---- */

static const struct repair_work *work_of(const struct repair *r,
					 const char *layer)
{
	for (unsigned i = 0; i < r->c.img.desc.n_layers; i++)
		if (strcmp(r->c.img.desc.layers[i].id, layer) == 0)
			return &r->work[i];
	return NULL;
}

static void conclude(struct repair *r)
{
	for (unsigned i = 0; i < r->n; i++) {
		struct pl_finding *f = &r->list[i];
		const struct repair_work *w = work_of(r, f->layer);
		enum pl_fix how = pl_damage_fix(f->kind);

		f->outcome = !w || w->blocked || how == PL_FIX_NONE ? PL_LEFT :
			     how == PL_FIX_EXACT		    ? PL_FIXED :
								      PL_SALVAGED;
		r->c.ret->fixed += f->outcome == PL_FIXED;
		r->c.ret->salvaged += f->outcome == PL_SALVAGED;
		r->c.ret->left += f->outcome == PL_LEFT;
	}
}

static int count_file(void *arg, const char *name)
{
	struct repair *r = arg;
	char id[PL_ID_LEN + 1] = "";

	memcpy(id, name, strnlen(name, PL_ID_LEN));
	r->c.ret->leftovers += strlen(name) != PL_ID_LEN + 4 ||
			       !descriptor_layer(&r->c.img.desc, id);
	return 0;
}

static int repair_layers(struct repair *r, struct pl_err *err)
{
	const struct pl_image_desc *d = &r->c.img.desc;
	struct pl_dir *dir = r->c.img.dir;
	bool salvage = false;
	int rc = examine(r, err);

	for (unsigned i = 0; i < d->n_layers; i++)
		salvage |= r->work[i].salvage && !r->work[i].blocked;
	if (rc == 0 && salvage)
		rc = report_begin(r, err);
	for (unsigned i = 0; i < d->n_layers && rc == 0; i++)
		rc = fix(r, i, err);
	if (rc < 0)
		return rc;
	dir->ops->list(dir, LAYERS, count_file, r);
	collect_leftovers(&r->c.img);
	conclude(r);
	return salvage ? report_end(r, err) : 0;
}

static int repair_locked(struct repair *r, struct pl_err *err)
{
	int rc = descriptor_load(r->c.img.dir, &r->c.img.desc, err);
	struct pl_finding f = { .code = PL_E_CORRUPT,
				.kind = PL_DAMAGE_DESCRIPTOR,
				.layer = "" };

	if (rc < 0 && err->code == PL_E_CORRUPT) {
		memcpy(f.text, err->msg, sizeof(f.text) - 1);
		r->c.ret->findings++;
		collect(r, &f);
		conclude(r);
		return 0;
	}
	if (rc < 0)
		return rc;
	r->work = calloc(r->c.img.desc.n_layers, sizeof(*r->work));
	if (!r->work)
		return pl_err_sys(err, -ENOMEM, "repair");
	return repair_layers(r, err);
}

int pl_image_repair(struct pl_dir *dir, unsigned flags, pl_finding_fn *each,
		    void *arg, struct pl_check_result *ret, struct pl_err *err)
{
	struct repair r = { .c = { .img = { .dir = dir, .writable = true },
				   .flags = flags | PL_CHECK_DATA,
				   .each = collect,
				   .arg = &r,
				   .ret = ret } };
	struct pl_err local;
	int rc;

	err = err ? err : &local;
	rc = checkup_start(&r.c, err);
	if (rc == 0)
		rc = dir->ops->lock(dir, true, "ploop check --repair", err);
	if (rc < 0)
		return rc;
	rc = repair_locked(&r, err);
	for (unsigned i = 0; i < r.n && rc == 0; i++)
		if (!each(arg, &r.list[i]))
			break;
	dir->ops->unlock(dir);
	free(r.list);
	free(r.work);
	descriptor_free(&r.c.img.desc);
	return rc;
}
