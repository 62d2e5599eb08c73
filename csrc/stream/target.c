/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a stream is received: may it be taken in here, does it go on with what
 * an earlier attempt left, and, at the end, the commit.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stream/receive_int.h"

static const struct pl_image_snapshot *find_id(const struct pl_image_desc *d,
					       const char *id)
{
	for (unsigned i = 0; i < d->n_snapshots; i++)
		if (strcmp(d->snapshots[i].id, id) == 0)
			return &d->snapshots[i];
	return NULL;
}

static const struct pl_image_snapshot *find_name(const struct pl_image_desc *d,
						 const char *name)
{
	for (unsigned i = 0; i < d->n_snapshots && *name; i++)
		if (!d->snapshots[i].hidden &&
		    strcmp(d->snapshots[i].name, name) == 0)
			return &d->snapshots[i];
	return NULL;
}

/* ---- may it be taken in? ---- */

static int check_snapshots(struct pl_receive *r, struct pl_err *err)
{
	const struct pl_image_desc *d = pl_image_desc(r->img);
	const struct pl_image_snapshot *s;

	for (unsigned i = r->m.n; i-- > 0;) {
		s = find_id(d, r->m.list[i].snap.id);
		if (s && i == r->m.n - 1)
			return pl_err_set(err, PL_E_EXISTS, EEXIST,
					  "%s has snapshot %s already: there "
					  "is nothing to receive",
					  r->dir->path, s->id);
		if (s)
			return pl_err_set(err, PL_E_EXISTS, EEXIST,
					  "%s has snapshot %s already; send "
					  "with --since %s",
					  r->dir->path, s->id, s->id);
		s = find_name(d, r->m.list[i].snap.name);
		if (s)
			return pl_err_set(err, PL_E_EXISTS, EEXIST,
					  "%s has another snapshot \"%s\" "
					  "(%s); delete it there first",
					  r->dir->path, s->name, s->id);
	}
	return 0;
}

static int find_base(struct pl_receive *r, const struct pl_image_snapshot **ret,
		     struct pl_err *err)
{
	const struct pl_image_desc *d = pl_image_desc(r->img);

	*ret = find_id(d, r->m.from);
	if (!*ret || (*ret)->hidden)
		return pl_err_set(err, PL_E_SNAPSHOT_NOT_FOUND, ENOENT,
				  "the stream holds changes to snapshot %s (of "
				  "image %s), which %s does not have",
				  r->m.from, r->m.image, r->dir->path);
	if (d->block_size != r->m.block_size)
		return pl_err_set(err, PL_E_UNSUPPORTED, EINVAL,
				  "the stream has %u-byte blocks, %s has %u",
				  r->m.block_size, r->dir->path, d->block_size);
	return 0;
}

static int check_top(struct pl_receive *r, struct pl_err *err)
{
	bool empty;
	int rc = pl_image_top_is_empty(r->img, &empty, err);

	if (rc < 0 || empty || r->opts->force)
		return rc;
	return pl_err_set(err, PL_E_EXISTS, EEXIST,
			  "%s was written to since its last snapshot, and "
			  "receiving would discard that; take a snapshot to "
			  "keep it, or receive with --force",
			  r->dir->path);
}

/* The layers that the changes are to lie on. */
static int borrow_base(struct pl_receive *r, const char *snapshot,
		       struct pl_err *err)
{
	int rc = pl_image_open_chain(r->img, snapshot, true, NULL, &r->base,
				     err);
	unsigned n;

	if (rc < 0)
		return rc;
	n = pl_chain_depth(r->base);
	if (!r->m.shrinks && pl_chain_size(r->base) > r->m.list[0].size)
		return pl_err_set(err, PL_E_BAD_STREAM, EINVAL,
				  "the stream's disk is smaller than that of "
				  "its base");
	if (n + r->m.n + 1 > PL_CHAIN_MAX)
		return pl_err_set(err, PL_E_UNSUPPORTED, E2BIG,
				  "%s would get a chain of %u layers; at most "
				  "%u: delete snapshots first",
				  r->dir->path, n + r->m.n + 1, PL_CHAIN_MAX);
	r->lower = calloc(n, sizeof(struct pl_layer *));
	if (!r->lower)
		return pl_err_sys(err, -ENOMEM, "receive");
	for (unsigned i = 0; i < n; i++)
		r->lower[i] = pl_chain_layer(r->base, i);
	r->n_lower = r->n_base = n;
	return 0;
}

/* ---- does it go on? ---- */

static bool goes_on(const struct pl_receive *r)
{
	const struct stream_token *t = &r->p.token;
	const struct stream_manifest *m = &r->m;

	if (strcmp(t->image, m->image) != 0 || strcmp(t->from, m->from) != 0 ||
	    strcmp(t->last, m->list[m->n - 1].snap.id) != 0 ||
	    r->p.n != m->first + 1 || m->start > t->off)
		return false;
	for (unsigned i = 0; i < r->p.n; i++)
		if (strcmp(r->p.list[i].snapshot, m->list[i].snap.id) != 0)
			return false;
	return true;
}

/* A stream from the start discards what there is of another attempt. */
static int take_up(struct pl_receive *r, struct pl_err *err)
{
	int rc;

	if (!pl_receive_is_resumed(r)) {
		progress_discard(r->dir);
		return 0;
	}
	rc = progress_load(r->dir, &r->p, err);
	if (rc < 0)
		return rc;
	if (goes_on(r))
		return 0;
	return pl_err_set(err, PL_E_INVALID_ARGUMENT, EINVAL,
			  "%s: the stream does not go on with the transfer "
			  "that was kept here; ask for its token anew: ploop "
			  "receive --resume-token",
			  r->dir->path);
}

/* ---- the commit ---- */

static int rename_parts(struct pl_receive *r, struct pl_err *err)
{
	char part[PART_NAME_MAX], name[PL_LAYER_NAME_MAX];
	int rc = 0;

	for (unsigned i = 0; i < r->p.n && rc == 0; i++) {
		part_name(r->p.list[i].layer, part);
		pl_image_layer_name(r->p.list[i].layer, name);
		rc = r->dir->ops->rename(r->dir, part, name);
	}
	if (rc == 0)
		rc = r->dir->ops->sync(r->dir, "layers");
	return rc < 0 ? pl_err_sys(err, rc, "%s/layers", r->dir->path) : 0;
}

static int adopt(struct pl_receive *r, const char *parent, struct pl_err *err)
{
	struct pl_image_layer *layers = calloc(r->m.n, sizeof(*layers));
	struct pl_image_snapshot *snaps = calloc(r->m.n, sizeof(*snaps));
	int rc = layers && snaps ? 0 : pl_err_sys(err, -ENOMEM, "receive");

	for (unsigned i = 0; i < r->m.n && rc == 0; i++) {
		const char *below = i ? layers[i - 1].id : parent;

		layers[i].size = r->m.list[i].size;
		memcpy(layers[i].id, r->p.list[i].layer, PL_ID_LEN + 1);
		memcpy(layers[i].parent, below, strlen(below) + 1);
		snaps[i] = r->m.list[i].snap;
		snaps[i].hidden = false;
		snaps[i].holder[0] = '\0';
		memcpy(snaps[i].layer, layers[i].id, PL_ID_LEN + 1);
	}
	if (rc == 0)
		rc = pl_image_adopt(r->img, layers, snaps, r->m.n, err);
	free(layers);
	free(snaps);
	return rc;
}

int receive_finish(struct pl_receive *r, struct pl_err *err)
{
	const struct pl_image_snapshot *base =
		find_id(pl_image_desc(r->img), r->m.from);
	char parent[PL_ID_LEN + 1] = "";
	int rc;

	if (base)
		memcpy(parent, base->layer, sizeof(parent));
	rc = rename_parts(r, err);
	if (rc == 0)
		rc = adopt(r, parent, err);
	if (rc == 0)
		progress_discard(r->dir);
	return rc;
}

/* ---- the two ways ---- */

static int receive(struct pl_receive *r, struct pl_stream_result *ret,
		   struct pl_err *err)
{
	const struct stream_manifest *m = &r->m;
	int rc = receive_all(r, err);

	if (rc < 0)
		return rc;
	memset(ret, 0, sizeof(*ret));
	memcpy(ret->from, m->from, sizeof(ret->from));
	memcpy(ret->to, m->list[m->n - 1].snap.id, sizeof(ret->to));
	ret->snapshots = m->n;
	ret->data_bytes = r->all.data;
	ret->zero_bytes = r->all.zero;
	ret->stream_bytes = in_bytes(r->in);
	ret->resumed = pl_receive_is_resumed(r);
	return 0;
}

int pl_receive_whole(struct pl_receive *r, struct pl_dir *dir,
		     const struct pl_receive_options *options,
		     struct pl_stream_result *ret, struct pl_err *err)
{
	struct pl_image_desc like = { .block_size = r->m.block_size,
				      .checksums = r->m.checksums };
	int rc = dir->ops->mkdir(dir, "layers");

	if (rc < 0 && rc != -EEXIST)
		return pl_err_sys(err, rc, "%s/layers", dir->path);
	snprintf(like.label, sizeof(like.label), "%s", r->m.label);
	snprintf(like.fs, sizeof(like.fs), "%s", r->m.fs);
	r->dir = dir;
	r->opts = options;
	rc = take_up(r, err);
	if (rc == 0)
		rc = pl_image_found(&r->img, dir, &like, err);
	if (rc < 0)
		return rc;
	rc = receive(r, ret, err);
	pl_image_close(r->img);
	r->img = NULL;
	return rc;
}

int pl_receive_changes(struct pl_receive *r, struct pl_image *img,
		       const struct pl_receive_options *options,
		       struct pl_stream_result *ret, struct pl_err *err)
{
	const struct pl_image_snapshot *base;
	int rc;

	r->dir = pl_image_dir(img);
	r->img = img;
	r->opts = options;
	rc = check_snapshots(r, err);
	if (rc == 0)
		rc = find_base(r, &base, err);
	if (rc == 0)
		rc = check_top(r, err);
	if (rc == 0)
		rc = take_up(r, err);
	if (rc == 0)
		rc = borrow_base(r, base->id, err);
	if (rc == 0)
		rc = receive(r, ret, err);
	else if (r->base) {
		free(r->lower);
		r->lower = NULL;
		r->n_lower = r->n_base = 0;
		pl_chain_abandon(r->base);
		r->base = NULL;
	}
	return rc;
}

int pl_receive_token(struct pl_dir *dir, char text[PL_TOKEN_TEXT],
		     struct pl_err *err)
{
	struct progress p;
	int rc = progress_load(dir, &p, err);

	if (rc < 0)
		return rc;
	token_format(&p.token, text);
	progress_free(&p);
	return 0;
}
