/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Receiving: each segment becomes a layer of its own, in a file that is not one
 * of the image's yet (".part"). When the whole stream has come and is right,
 * the files get their names and the descriptor names them: one commit.
 *
 * STATES of a transfer
 *   parts	filled in the order of the disk; receiving.json says how far
 *		they are durable. Any end here can be gone on with.
 *   complete	the last frame was right: parts are renamed (finish())
 *   adopted	the descriptor is replaced; receiving.json goes
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/uuid.h"
#include "stream/receive_int.h"

#define SAVE_BYTES (64u << 20) /* durable at least this often */

/* ---- life ---- */

static int read_manifest(struct pl_receive *r, struct pl_err *err)
{
	const void *payload;
	struct frame f;
	int rc = in_frame(r->in, &f, &payload, err);

	if (rc < 0)
		return rc;
	if (f.type != FRAME_MANIFEST)
		return in_bad(r->in, err, "a manifest belongs here");
	return manifest_decode(payload, f.raw, &r->m, err);
}

int pl_receive_open(struct pl_receive **ret, const struct pl_stream_io *io,
		    struct pl_err *err)
{
	struct pl_receive *r = calloc(1, sizeof(*r));
	int rc = r ? in_new(&r->in, io, err) :
		     pl_err_sys(err, -ENOMEM, "receive");

	if (rc == 0)
		rc = read_manifest(r, err);
	if (rc < 0)
		pl_receive_close(r);
	else
		*ret = r;
	return rc;
}

void pl_receive_close(struct pl_receive *r)
{
	if (!r)
		return;
	in_free(r->in);
	manifest_free(&r->m);
	progress_free(&r->p);
	free(r);
}

bool pl_receive_is_whole(const struct pl_receive *r)
{
	return !r->m.from[0];
}

bool pl_receive_is_resumed(const struct pl_receive *r)
{
	return r->m.first || r->m.start;
}

/* ---- how far it is ---- */

static int save(struct pl_receive *r, struct pl_err *err)
{
	int rc = pl_layer_flush(r->top);

	if (rc < 0)
		return pl_err_sys(err, rc, "layer %s", pl_layer_id(r->top));
	r->p.token.off = r->at;
	r->unsaved = 0;
	return progress_save(r->dir, &r->p, err);
}

/* Begins segment i in the notes; the one before it is complete. */
static int note_segment(struct pl_receive *r, unsigned i, const char *layer,
			struct pl_err *err)
{
	struct stream_token *t = &r->p.token;
	const struct stream_manifest *m = &r->m;
	const char *base = i ? m->list[i - 1].snap.id : m->from;

	memcpy(t->image, m->image, sizeof(t->image));
	memcpy(t->from, m->from, sizeof(t->from));
	memcpy(t->last, m->list[m->n - 1].snap.id, sizeof(t->last));
	memcpy(t->base, base, sizeof(t->base));
	memcpy(t->snapshot, m->list[i].snap.id, sizeof(t->snapshot));
	t->off = 0;
	if (progress_add(&r->p, m->list[i].snap.id, layer) < 0)
		return pl_err_sys(err, -ENOMEM, "receive");
	return 0;
}

/* ---- layers ---- */

static int add_lower(struct pl_receive *r, struct pl_layer *ly)
{
	struct pl_layer **list =
		realloc(r->lower, (r->n_lower + 2) * sizeof(*list));

	if (!list)
		return -ENOMEM;
	r->lower = list;
	list[r->n_lower++] = ly;
	return 0;
}

/* A chain of what is complete and the layer that is being filled. */
static int make_chain(struct pl_receive *r, struct pl_err *err)
{
	int rc = add_lower(r, r->top);

	if (rc < 0)
		return pl_err_sys(err, rc, "receive");
	r->n_lower--;
	return pl_chain_new(&r->chain, r->lower, r->n_lower + 1, err);
}

static int choose_id(struct pl_receive *r, unsigned i, struct pl_uuid *uuid,
		     char id[PL_ID_LEN + 1], struct pl_err *err)
{
	const char *wanted = r->m.list[i].snap.layer;
	int rc = 0;

	if (pl_image_has_id(r->img, wanted))
		rc = pl_uuid_random(uuid);
	else if (!pl_uuid_parse(wanted, uuid))
		rc = -EINVAL;
	if (rc < 0)
		return pl_err_sys(err, rc, "layer id");
	pl_uuid_format(uuid, id);
	return 0;
}

/* Of what it lies on; 0 = nothing. */
static uint64_t size_below(const struct pl_receive *r)
{
	return r->n_lower ?
		       pl_layer_header(r->lower[r->n_lower - 1])->virtual_size :
		       0;
}

/* Not larger than what it lies on: it grows over that. */
static int create_part(struct pl_receive *r, unsigned i, struct pl_err *err)
{
	struct pl_layer_params params = {
		.virtual_size = r->m.list[i].size,
		.block_size = r->m.block_size,
		.label = r->m.label,
	};
	char id[PL_ID_LEN + 1], name[PART_NAME_MAX];
	struct pl_store *st;
	int rc = choose_id(r, i, &params.uuid, id, err);

	if (rc < 0)
		return rc;
	if (r->n_lower)
		params.parent = pl_layer_header(r->lower[r->n_lower - 1])->uuid;
	if (r->n_lower && size_below(r) < params.virtual_size)
		params.virtual_size = size_below(r);
	part_name(id, name);
	/* From an attempt that ended before it was noted. */
	r->dir->ops->unlink(r->dir, name);
	rc = r->dir->ops->open(r->dir, name, PL_OPEN_WRITE | PL_OPEN_CREATE,
			       &st, err);
	if (rc < 0)
		return rc;
	rc = pl_layer_create(st, &params, err);
	pl_store_close(st);
	if (rc == 0)
		rc = r->dir->ops->sync(r->dir, "layers");
	if (rc < 0)
		return pl_err_sys(err, rc, "%s/%s", r->dir->path, name);
	return note_segment(r, i, id, err);
}

static int open_part(struct pl_receive *r, const char *id, unsigned flags,
		     struct pl_layer **ret, struct pl_err *err)
{
	char name[PART_NAME_MAX];
	struct pl_store *st;
	int rc;

	part_name(id, name);
	rc = r->dir->ops->open(r->dir, name,
			       flags & PL_LAYER_WRITE ? PL_OPEN_WRITE : 0, &st,
			       err);
	if (rc == -ENOENT)
		return pl_err_set(err, PL_E_NOT_FOUND, ENOENT,
				  "%s: what was kept of the transfer is not "
				  "complete; start again, without the token",
				  r->dir->path);
	if (rc < 0)
		return rc;
	rc = pl_layer_open(ret, st, flags, NULL, err);
	if (rc < 0)
		pl_store_close(st);
	else if (strcmp(pl_layer_id(*ret), id) != 0 ||
		 pl_layer_header(*ret)->block_size != r->m.block_size) {
		pl_layer_abandon(*ret);
		*ret = NULL;
		rc = pl_err_set(err, PL_E_CORRUPT, EUCLEAN,
				"%s/%s holds another layer", r->dir->path,
				name);
	}
	return rc;
}

/* The file of segment i, to be filled; the chain with it on top. */
static int begin_segment(struct pl_receive *r, unsigned i, struct pl_err *err)
{
	bool resumed = i == r->m.first && pl_receive_is_resumed(r);
	int rc = resumed ? 0 : create_part(r, i, err);

	r->at = resumed ? r->m.start : 0;
	if (rc == 0)
		rc = open_part(r, r->p.list[i].layer,
			       PL_LAYER_WRITE | PL_LAYER_MAINTAIN, &r->top,
			       err);
	if (rc == 0 && resumed &&
	    pl_layer_header(r->top)->virtual_size != r->m.list[i].size)
		rc = pl_err_set(err, PL_E_BAD_STREAM, EBADMSG,
				"snapshot %s has another size than when the "
				"transfer began; start again, without the "
				"token",
				r->m.list[i].snap.id);
	if (rc == 0)
		rc = make_chain(r, err);
	/* What no extent names is zeros there (STR-032). */
	if (rc == 0 && pl_chain_size(r->chain) < r->m.list[i].size)
		rc = pl_chain_grow(r->chain, r->m.list[i].size, err);
	return rc == 0 ? save(r, err) : rc;
}

static int end_segment(struct pl_receive *r, unsigned i, struct pl_err *err)
{
	int rc;

	r->at = r->m.list[i].size;
	rc = save(r, err);
	pl_chain_release(r->chain);
	r->chain = NULL;
	if (rc == 0)
		rc = pl_layer_seal(r->top, err);
	if (rc == 0)
		rc = add_lower(r, r->top) < 0 ?
			     pl_err_sys(err, -ENOMEM, "receive") :
			     0;
	if (rc == 0)
		r->top = NULL;
	return rc;
}

/* ---- blocks ---- */

static int apply_one(struct pl_receive *r, const struct extent *e,
		     const char *data, struct pl_err *err)
{
	int rc = e->zero ? pl_chain_zero(r->chain, e->len, e->off) :
			   pl_chain_write(r->chain, data, e->len, e->off);

	if (rc < 0)
		return pl_err_sys(err, rc, "layer %s, offset %llu of the disk",
				  pl_layer_id(r->top),
				  (unsigned long long)e->off);
	*(e->zero ? &r->totals.zero : &r->totals.data) += e->len;
	r->at = e->off + e->len;
	return 0;
}

static int apply(struct pl_receive *r, unsigned i, const struct frame *f,
		 const char *data, struct pl_err *err)
{
	uint64_t data_len = f->raw - f->arg * FRAME_EXTENT;
	const char *table = data + data_len;
	struct extent_limits limits = { .start = r->at,
					.end = r->m.list[i].size,
					.block_size = r->m.block_size };
	struct extent e;
	int rc = 0;

	if (!extents_check(table, f->arg, data_len, &limits))
		return in_bad(r->in, err, "its extents are not valid");
	for (uint32_t k = 0; k < f->arg && rc == 0; k++) {
		extent_decode(table, k, &e);
		rc = apply_one(r, &e, data, err);
		data += e.zero ? 0 : e.len;
	}
	r->done += data_len;
	r->unsaved += data_len;
	if (rc == 0 && r->opts->progress &&
	    !r->opts->progress(r->opts->arg, r->done, r->m.bytes))
		return pl_err_set(err, PL_E_INTERRUPTED, ECANCELED,
				  "interrupted after %llu bytes of the stream",
				  (unsigned long long)in_bytes(r->in));
	return rc == 0 && r->unsaved >= SAVE_BYTES ? save(r, err) : rc;
}

static int check_totals(struct pl_receive *r, const void *payload,
			struct pl_err *err)
{
	struct totals t;

	totals_decode(payload, &t);
	if (t.data != r->totals.data || t.zero != r->totals.zero)
		return in_bad(r->in, err, "the totals differ from what came");
	r->all.data += t.data;
	r->all.zero += t.zero;
	return 0;
}

static int receive_segment(struct pl_receive *r, unsigned i, struct pl_err *err)
{
	const void *payload;
	struct segment seg;
	struct frame f;
	int rc = in_frame(r->in, &f, &payload, err);

	if (rc < 0)
		return rc;
	if (f.type == FRAME_SEGMENT)
		segment_decode(payload, &seg);
	if (f.type != FRAME_SEGMENT || f.arg != i ||
	    seg.start != (i == r->m.first ? r->m.start : 0))
		return in_bad(r->in, err, "another segment belongs here");
	r->totals = (struct totals){ 0 };
	rc = begin_segment(r, i, err);
	while (rc == 0) {
		rc = in_frame(r->in, &f, &payload, err);
		if (rc < 0 || f.type != FRAME_BLOCKS)
			break;
		rc = apply(r, i, &f, payload, err);
	}
	if (rc == 0 && (f.type != FRAME_SEGMENT_END || f.arg != i))
		rc = in_bad(r->in, err,
			    "blocks or the segment's end belong "
			    "here");
	if (rc == 0)
		rc = check_totals(r, payload, err);
	return rc == 0 ? end_segment(r, i, err) : rc;
}

/* ---- all of it ---- */

static int receive_end(struct pl_receive *r, struct pl_err *err)
{
	const void *payload;
	struct frame f;
	int rc = in_frame(r->in, &f, &payload, err);

	if (rc < 0)
		return rc;
	if (f.type != FRAME_END)
		return in_bad(r->in, err, "the last frame belongs here");
	return in_end(r->in, payload, &r->all, err);
}

/* Layers of segments that an earlier attempt completed. */
static int reopen_complete(struct pl_receive *r, struct pl_err *err)
{
	struct pl_layer *ly;
	int rc = 0;

	for (unsigned i = 0; i < r->m.first && rc == 0; i++) {
		rc = open_part(r, r->p.list[i].layer, 0, &ly, err);
		if (rc == 0 && add_lower(r, ly) < 0) {
			pl_layer_abandon(ly);
			rc = pl_err_sys(err, -ENOMEM, "receive");
		}
	}
	return rc;
}

static void close_layers(struct pl_receive *r)
{
	pl_chain_release(r->chain);
	r->chain = NULL;
	pl_layer_abandon(r->top);
	r->top = NULL;
	while (r->n_lower > r->n_base)
		pl_layer_abandon(r->lower[--r->n_lower]);
	free(r->lower);
	r->lower = NULL;
	r->n_lower = r->n_base = 0;
	pl_chain_abandon(r->base);
	r->base = NULL;
}

int receive_all(struct pl_receive *r, struct pl_err *err)
{
	int rc = reopen_complete(r, err);

	for (unsigned i = r->m.first; i < r->m.n && rc == 0; i++)
		rc = receive_segment(r, i, err);
	if (rc == 0)
		rc = receive_end(r, err);
	/* What has arrived whole counts, whatever came then. */
	if (rc < 0 && r->chain)
		save(r, NULL);
	close_layers(r);
	return rc == 0 ? receive_finish(r, err) : rc;
}
