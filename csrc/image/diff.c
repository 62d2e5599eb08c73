/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two chains of one image side by side. Each layer is opened once: the live
 * chain's are borrowed, others opened for reading, and both chains share them.
 * Nothing is sealed or repaired here, so that this may run beside everything
 * that does.
 */
#include "image/diff.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "image/image_int.h"

struct pl_diff {
	const struct pl_image *img;
	struct pl_chain *from, *to, *live;
	struct pl_layer **opened; /* ours to close */
	unsigned n_opened;
	char from_id[PL_ID_LEN + 1], to_id[PL_ID_LEN + 1];
};

static struct pl_layer *find_in(struct pl_chain *ch, const char *id)
{
	for (unsigned i = 0; ch && i < pl_chain_depth(ch); i++)
		if (strcmp(pl_layer_id(pl_chain_layer(ch, i)), id) == 0)
			return pl_chain_layer(ch, i);
	return NULL;
}

static int get_layer(struct pl_diff *d, struct pl_image *img, const char *id,
		     struct pl_layer **ret, struct pl_err *err)
{
	struct pl_layer **more;
	int rc;

	*ret = find_in(d->live, id);
	for (unsigned i = 0; i < d->n_opened && !*ret; i++)
		if (strcmp(pl_layer_id(d->opened[i]), id) == 0)
			*ret = d->opened[i];
	if (*ret)
		return 0;
	more = realloc(d->opened, (d->n_opened + 1) * sizeof(*more));
	if (!more)
		return pl_err_sys(err, -ENOMEM, "diff");
	d->opened = more;
	rc = layer_file_open(img, id, LAYER_FILE_LOOK, false, NULL, ret, err);
	if (rc == 0)
		d->opened[d->n_opened++] = *ret;
	return rc;
}

struct ids {
	char (*id)[PL_ID_LEN + 1];
	unsigned n;
};

/* Copies: the descriptor may be exchanged while layers are opened. */
static int copy_ids(const struct pl_image *img, const char *top,
		    struct ids *ret, struct pl_err *err)
{
	const struct pl_image_layer **list = NULL;
	int rc = chain_ids(img, top, &list, &ret->n, err);

	if (rc < 0)
		return rc;
	ret->id = calloc(ret->n, sizeof(*ret->id));
	for (unsigned i = 0; ret->id && i < ret->n; i++)
		memcpy(ret->id[i], list[i]->id, sizeof(ret->id[i]));
	free(list);
	return ret->id ? 0 : pl_err_sys(err, -ENOMEM, "diff");
}

static int make_chain(struct pl_diff *d, struct pl_image *img, const char *top,
		      struct pl_chain **ret, struct pl_err *err)
{
	struct pl_layer **layers = NULL;
	struct ids ids = { .n = 0 };
	int rc = copy_ids(img, top, &ids, err);

	if (rc < 0)
		return rc;
	layers = calloc(ids.n, sizeof(struct pl_layer *));
	if (!layers)
		rc = pl_err_sys(err, -ENOMEM, "diff");
	for (unsigned i = 0; i < ids.n && rc == 0; i++)
		rc = get_layer(d, img, ids.id[i], &layers[i], err);
	if (rc == 0)
		rc = pl_chain_new(ret, layers, ids.n, err);
	free(layers);
	free(ids.id);
	return rc;
}

static int open_state(struct pl_diff *d, struct pl_image *img, const char *key,
		      char *ret_id, struct pl_chain **ret, struct pl_err *err)
{
	const struct pl_image_snapshot *snap;
	int rc;

	if (!key && d->live) {
		*ret = d->live;
		return 0;
	}
	if (!key)
		return make_chain(d, img, img->desc.top, ret, err);
	rc = pl_image_find(img, key, &snap, err);
	if (rc < 0)
		return rc;
	memcpy(ret_id, snap->id, sizeof(snap->id));
	return make_chain(d, img, snap->layer, ret, err);
}

int pl_diff_open(struct pl_diff **ret, struct pl_image *img, const char *from,
		 const char *to, struct pl_chain *live, struct pl_err *err)
{
	struct pl_diff *d = calloc(1, sizeof(*d));
	int rc;

	if (!d)
		return pl_err_sys(err, -ENOMEM, "diff");
	d->img = img;
	d->live = live;
	rc = live ? snapshot_wait_sealed(img, err) : 0;
	if (rc == 0)
		rc = open_state(d, img, to, d->to_id, &d->to, err);
	if (rc == 0 && from)
		rc = open_state(d, img, from, d->from_id, &d->from, err);
	if (rc < 0) {
		pl_diff_close(d);
		return rc;
	}
	*ret = d;
	return 0;
}

void pl_diff_close(struct pl_diff *d)
{
	if (!d)
		return;
	if (d->from != d->live)
		pl_chain_release(d->from);
	if (d->to != d->live)
		pl_chain_release(d->to);
	for (unsigned i = 0; i < d->n_opened; i++)
		pl_layer_abandon(d->opened[i]);
	free(d->opened);
	free(d);
}

uint64_t pl_diff_size(const struct pl_diff *d)
{
	return pl_chain_size(d->to);
}

const char *pl_diff_from(const struct pl_diff *d)
{
	return d->from_id;
}

const char *pl_diff_to(const struct pl_diff *d)
{
	return d->to_id;
}

int pl_diff_read(struct pl_diff *d, void *buf, uint64_t len, uint64_t off)
{
	return pl_chain_read(d->to, buf, len, off);
}

int pl_diff_extents(struct pl_diff *d, uint64_t off, uint64_t len,
		    unsigned flags, pl_diff_fn *each, pl_diff_step_fn *step,
		    void *arg, uint64_t *ret_end, struct pl_err *err)
{
	struct pl_diff_request req = {
		.from = d->from,
		.to = d->to,
		.off = off,
		.len = len,
		.flags = flags,
		.each = each,
		.arg = arg,
		.step = step,
		.step_arg = arg,
	};
	uint32_t bs = pl_chain_block_size(d->to);
	int rc;

	if (off % bs)
		return pl_err_set(err, PL_E_INVALID_ARGUMENT, EINVAL,
				  "diff: offset %llu: must be a multiple of "
				  "the block size, %u",
				  (unsigned long long)off, bs);
	rc = pl_diff_chains(&req, ret_end);
	if (rc == -EUCLEAN)
		return pl_err_set(err, PL_E_CORRUPT, EUCLEAN,
				  "%s: a map page is damaged; see ploop check",
				  d->img->dir->path);
	if (rc == -ECANCELED)
		return pl_err_set(err, PL_E_INTERRUPTED, ECANCELED,
				  "diff was interrupted");
	return rc < 0 ? pl_err_sys(err, rc, "%s: diff", d->img->dir->path) : 0;
}
