/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sending: one segment for each snapshot, with the blocks that changed since
 * the one before it (image/diff.h), in the order of the disk. So a segment does
 * not depend on how the layers are cut: a snapshot that was deleted in between
 * is part of the next one.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/zero.h"
#include "chain/chain.h"
#include "image/diff.h"
#include "stream/manifest.h"
#include "stream/pipe.h"

#define READ_BYTES (1u << 20) /* at once */

struct send {
	struct pl_image *img;
	const struct pl_send_options *opts;
	struct stream_manifest m;
	struct pl_chain *chain; /* of the last snapshot; lends its layers */
	struct stream_out *out;
	uint64_t done; /* data bytes */

	/* The segment under way, and its frame that fills up. */
	struct pl_diff *diff;
	struct totals totals, all;
	char *buf, *read_buf;
	char table[FRAME_EXTENTS_MAX * FRAME_EXTENT];
	struct extent last;
	uint32_t extents, data_len;
	int rc; /* of what a callback did */
	struct pl_err *err;
};

/* ---- what to send ---- */

static const struct pl_image_layer *layer_of(const struct pl_image_desc *d,
					     const char *id)
{
	for (unsigned i = 0; i < d->n_layers; i++)
		if (strcmp(d->layers[i].id, id) == 0)
			return &d->layers[i];
	return NULL;
}

static const struct pl_image_snapshot *shown_by(const struct pl_image_desc *d,
						const char *layer)
{
	for (unsigned i = 0; i < d->n_snapshots; i++)
		if (!d->snapshots[i].hidden &&
		    strcmp(d->snapshots[i].layer, layer) == 0)
			return &d->snapshots[i];
	return NULL;
}

/* The newest snapshot that the present state builds on. */
static int find_newest(const struct pl_image *img,
		       const struct pl_image_snapshot **ret, struct pl_err *err)
{
	const struct pl_image_desc *d = pl_image_desc(img);
	const struct pl_image_layer *l = layer_of(d, d->top);

	for (*ret = NULL; l && !*ret; l = layer_of(d, l->parent))
		*ret = shown_by(d, l->id);
	if (*ret)
		return 0;
	return pl_err_set(err, PL_E_SNAPSHOT_NOT_FOUND, ENOENT,
			  "the present state builds on no snapshot, and only "
			  "snapshots can be sent; take one: ploop snapshot");
}

static int add_snapshot(struct stream_manifest *m,
			const struct pl_image_desc *d,
			const struct pl_image_snapshot *snap)
{
	struct stream_snapshot *list =
		realloc(m->list, (m->n + 1) * sizeof(*list));

	if (!list)
		return -ENOMEM;
	m->list = list;
	memmove(list + 1, list, m->n * sizeof(*list));
	list[0] = (struct stream_snapshot){
		.snap = *snap, .size = layer_of(d, snap->layer)->size
	};
	m->n++;
	return 0;
}

/*
 * From `last` down to (without) the base. When the base is on another branch,
 * `last` alone: its changes against the base are all it takes.
 */
static int list_snapshots(struct send *s, const struct pl_image_snapshot *last,
			  const struct pl_image_snapshot *base)
{
	const struct pl_image_desc *d = pl_image_desc(s->img);
	const struct pl_image_snapshot *snap = NULL;
	int rc = 0;

	for (const struct pl_image_layer *l = layer_of(d, last->layer);
	     l && rc == 0; l = layer_of(d, l->parent)) {
		snap = shown_by(d, l->id);
		if (snap && snap == base)
			return 0;
		if (snap)
			rc = add_snapshot(&s->m, d, snap);
	}
	if (rc < 0 || !base)
		return rc;
	s->m.n = 0;
	return add_snapshot(&s->m, d, last);
}

static int check_sizes(struct send *s, const struct pl_image_snapshot *base,
		       struct pl_err *err)
{
	const struct pl_image_desc *d = pl_image_desc(s->img);
	uint64_t size = base ? layer_of(d, base->layer)->size : 0;

	if (s->m.n > MANIFEST_SNAPSHOTS_MAX)
		return pl_err_set(err, PL_E_UNSUPPORTED, E2BIG,
				  "%u snapshots; a stream has at most %u",
				  s->m.n, MANIFEST_SNAPSHOTS_MAX);
	for (unsigned i = 0; i < s->m.n; size = s->m.list[i++].size)
		s->m.shrinks = s->m.shrinks || s->m.list[i].size < size;
	return 0;
}

static int plan(struct send *s, const char *snapshot, const char *since,
		struct pl_err *err)
{
	const struct pl_image_desc *d = pl_image_desc(s->img);
	const struct pl_image_snapshot *last, *base = NULL;
	int rc = snapshot ? pl_image_find(s->img, snapshot, &last, err) :
			    find_newest(s->img, &last, err);

	if (rc == 0 && since)
		rc = pl_image_find(s->img, since, &base, err);
	if (rc < 0)
		return rc;
	if (base == last)
		return pl_err_set(err, PL_E_INVALID_ARGUMENT, EINVAL,
				  "nothing to send: %s is the base and the "
				  "last snapshot",
				  last->id);
	memcpy(s->m.image, d->id, sizeof(d->id));
	memcpy(s->m.label, d->label, sizeof(d->label));
	memcpy(s->m.fs, d->fs, sizeof(d->fs));
	memcpy(s->m.created, d->created, sizeof(d->created));
	s->m.block_size = d->block_size;
	s->m.checksums = d->checksums;
	if (base)
		memcpy(s->m.from, base->id, sizeof(base->id));
	rc = list_snapshots(s, last, base);
	if (rc < 0)
		return pl_err_sys(err, rc, "send");
	return check_sizes(s, base, err);
}

static const char *base_of(const struct stream_manifest *m, unsigned i)
{
	return i ? m->list[i - 1].snap.id : m->from;
}

static int gone(struct pl_err *err, const char *what, const char *id)
{
	return pl_err_set(err, PL_E_SNAPSHOT_NOT_FOUND, ENOENT,
			  "the transfer can't go on: %s %s is not there any "
			  "more, or not where it was; start again, without "
			  "the token",
			  what, id);
}

/* As far as the receiver is. */
static int plan_rest(struct send *s, struct pl_err *err)
{
	const struct pl_image_desc *d = pl_image_desc(s->img);
	struct stream_token t;
	int rc = token_parse(s->opts->token, &t, err);

	if (rc < 0)
		return rc;
	if (strcmp(t.image, d->id) != 0)
		return pl_err_set(err, PL_E_INVALID_ARGUMENT, EINVAL,
				  "the token is for the image %s; this is %s",
				  t.image, d->id);
	rc = plan(s, t.last, t.from[0] ? t.from : NULL, err);
	if (rc < 0)
		return rc;
	while (s->m.first < s->m.n &&
	       strcmp(s->m.list[s->m.first].snap.id, t.snapshot) != 0)
		s->m.first++;
	if (s->m.first == s->m.n)
		return gone(err, "snapshot", t.snapshot);
	if (strcmp(base_of(&s->m, s->m.first), t.base) != 0)
		return gone(err, "its base", t.base);
	if (t.off % s->m.block_size || t.off > s->m.list[s->m.first].size)
		return pl_err_set(err, PL_E_INVALID_ARGUMENT, EINVAL,
				  "the token's offset is not one of this disk");
	s->m.start = t.off;
	return 0;
}

/* ---- segments ---- */

static int open_segment(struct send *s, unsigned i, struct pl_err *err)
{
	const char *base = base_of(&s->m, i);

	return pl_diff_open(&s->diff, s->img, *base ? base : NULL,
			    s->m.list[i].snap.id, s->chain, err);
}

static void close_segment(struct send *s)
{
	pl_diff_close(s->diff);
	s->diff = NULL;
}

static uint64_t start_of(const struct send *s, unsigned i)
{
	return i == s->m.first ? s->m.start : 0;
}

static bool count(void *arg, const struct pl_diff_extent *e)
{
	struct send *s = arg;

	s->m.bytes += e->zero ? 0 : e->len;
	return true;
}

/* How much data there is at most, for progress. */
static int measure(struct send *s, struct pl_err *err)
{
	int rc = 0;

	for (unsigned i = s->m.first; i < s->m.n && rc == 0; i++) {
		rc = open_segment(s, i, err);
		if (rc == 0)
			rc = pl_diff_extents(s->diff, start_of(s, i),
					     UINT64_MAX, 0, count, NULL, s,
					     NULL, err);
		close_segment(s);
	}
	return rc;
}

static int send_frame(struct send *s, struct pl_err *err)
{
	const struct pl_send_options *o = s->opts;
	uint32_t n = s->extents, len = s->data_len;

	if (!n)
		return 0;
	memcpy(s->buf + len, s->table, n * FRAME_EXTENT);
	s->extents = s->data_len = 0;
	s->done += len;
	if (o->progress && !o->progress(o->arg, s->done, s->m.bytes))
		return pl_err_set(err, PL_E_INTERRUPTED, ECANCELED,
				  "interrupted after %llu bytes of the stream",
				  (unsigned long long)out_bytes(s->out));
	return out_frame(s->out, FRAME_BLOCKS, n, s->buf,
			 len + n * FRAME_EXTENT, err);
}

/* Into the frame's table, as part of the last extent where it continues that. */
static int add_extent(struct send *s, uint64_t off, uint64_t len, bool zero,
		      struct pl_err *err)
{
	int rc;

	*(zero ? &s->totals.zero : &s->totals.data) += len;
	if (s->extents && s->last.zero == zero &&
	    s->last.off + s->last.len == off) {
		s->last.len += len;
	} else {
		rc = s->extents == FRAME_EXTENTS_MAX ? send_frame(s, err) : 0;
		if (rc < 0)
			return rc;
		s->extents++;
		s->last =
			(struct extent){ .off = off, .len = len, .zero = zero };
	}
	extent_encode(s->table, s->extents - 1, &s->last);
	return 0;
}

static int add_data(struct send *s, uint64_t off, const char *p, uint64_t len,
		    struct pl_err *err)
{
	uint64_t n;
	int rc = 0;

	for (; len && rc == 0; p += n, off += n, len -= n) {
		if (s->data_len == FRAME_DATA_MAX)
			rc = send_frame(s, err);
		n = FRAME_DATA_MAX - s->data_len;
		n = n < len ? n : len;
		if (rc == 0)
			rc = add_extent(s, off, n, false, err);
		if (rc == 0) {
			memcpy(s->buf + s->data_len, p, n);
			s->data_len += (uint32_t)n;
		}
	}
	return rc;
}

/* Zeros; what has nothing below is zeros without saying so. */
static int add_zeros(struct send *s, uint64_t off, uint64_t len,
		     struct pl_err *err)
{
	return *pl_diff_from(s->diff) ? add_extent(s, off, len, true, err) : 0;
}

/* What was read, run by run of data or zeros. */
static int add_read(struct send *s, uint64_t off, const char *p, uint64_t len,
		    struct pl_err *err)
{
	uint64_t bs = s->m.block_size, n;
	int rc = 0;

	for (; len && rc == 0; p += n, off += n, len -= n) {
		bool zero = pl_is_zero(p, bs);

		for (n = bs; n < len && pl_is_zero(p + n, bs) == zero; n += bs)
			;
		rc = zero ? add_zeros(s, off, n, err) :
			    add_data(s, off, p, n, err);
	}
	return rc;
}

static bool send_extent(void *arg, const struct pl_diff_extent *e)
{
	struct send *s = arg;
	uint64_t off = e->off, end = e->off + e->len, n;

	if (e->zero) {
		s->rc = add_zeros(s, off, e->len, s->err);
		return s->rc == 0;
	}
	for (; off < end && s->rc == 0; off += n) {
		n = end - off < READ_BYTES ? end - off : READ_BYTES;
		s->rc = pl_diff_read(s->diff, s->read_buf, n, off);
		if (s->rc < 0)
			pl_err_sys(s->err, s->rc,
				   "snapshot %s, offset %llu of the disk",
				   pl_diff_to(s->diff),
				   (unsigned long long)off);
		else
			s->rc = add_read(s, off, s->read_buf, n, s->err);
	}
	return s->rc == 0;
}

static int send_blocks(struct send *s, unsigned i, struct pl_err *err)
{
	int rc;

	s->err = err;
	s->rc = 0;
	rc = pl_diff_extents(s->diff, start_of(s, i), UINT64_MAX, 0,
			     send_extent, NULL, s, NULL, err);
	if (rc == 0)
		rc = s->rc;
	return rc == 0 ? send_frame(s, err) : rc;
}

static int send_segment(struct send *s, unsigned i, struct pl_err *err)
{
	struct segment seg = { .start = start_of(s, i) };
	char payload[SEGMENT_PAYLOAD], ends[TOTALS_PAYLOAD];
	int rc = open_segment(s, i, err);

	s->totals = (struct totals){ 0 };
	segment_encode(payload, &seg);
	if (rc == 0)
		rc = out_frame(s->out, FRAME_SEGMENT, i, payload,
			       sizeof(payload), err);
	if (rc == 0)
		rc = send_blocks(s, i, err);
	close_segment(s);
	totals_encode(ends, &s->totals);
	if (rc == 0)
		rc = out_frame(s->out, FRAME_SEGMENT_END, i, ends, sizeof(ends),
			       err);
	s->all.data += s->totals.data;
	s->all.zero += s->totals.zero;
	return rc;
}

/* ---- all of it ---- */

static int send_manifest(struct send *s, struct pl_err *err)
{
	char *text = manifest_encode(&s->m);
	size_t len = text ? strlen(text) : 0;
	int rc;

	if (!text)
		return pl_err_sys(err, -ENOMEM, "manifest");
	rc = len > MANIFEST_BYTES_MAX ? pl_err_set(err, PL_E_UNSUPPORTED, E2BIG,
						   "the manifest is too long") :
					out_frame(s->out, FRAME_MANIFEST, 0,
						  text, (uint32_t)len, err);
	free(text);
	return rc;
}

static int send_all(struct send *s, const struct pl_stream_io *io,
		    struct pl_err *err)
{
	int rc = pl_image_open_chain(s->img, s->m.list[s->m.n - 1].snap.id,
				     true, NULL, &s->chain, err);

	if (rc == 0)
		rc = measure(s, err);
	if (rc == 0)
		rc = out_new(&s->out, io, s->opts->level, err);
	if (rc == 0)
		rc = send_manifest(s, err);
	for (unsigned i = s->m.first; i < s->m.n && rc == 0; i++)
		rc = send_segment(s, i, err);
	return rc == 0 ? out_end(s->out, &s->all, err) : rc;
}

static void tell(const struct send *s, struct pl_stream_result *ret)
{
	memset(ret, 0, sizeof(*ret));
	memcpy(ret->from, s->m.from, sizeof(ret->from));
	memcpy(ret->to, s->m.list[s->m.n - 1].snap.id, sizeof(ret->to));
	ret->snapshots = s->m.n;
	ret->data_bytes = s->all.data;
	ret->zero_bytes = s->all.zero;
	ret->stream_bytes = s->out ? out_bytes(s->out) : 0;
	ret->resumed = s->opts->token != NULL;
}

int pl_send(struct pl_image *img, const struct pl_send_options *options,
	    const struct pl_stream_io *io, struct pl_stream_result *ret,
	    struct pl_err *err)
{
	struct send *s = calloc(1, sizeof(*s));
	void *buf = NULL;
	int rc;

	if (!s)
		return pl_err_sys(err, -ENOMEM, "send");
	s->img = img;
	s->opts = options;
	s->buf = malloc(FRAME_RAW_MAX);
	if (!s->buf || posix_memalign(&buf, PL_PAGE, READ_BYTES) != 0)
		rc = pl_err_sys(err, -ENOMEM, "send");
	else
		rc = options->token ?
			     plan_rest(s, err) :
			     plan(s, options->snapshot, options->since, err);
	s->read_buf = buf;
	if (rc == 0)
		rc = send_all(s, io, err);
	if (rc == 0)
		tell(s, ret);
	out_free(s->out);
	pl_chain_abandon(s->chain);
	manifest_free(&s->m);
	free(buf);
	free(s->buf);
	free(s);
	return rc;
}
