/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a receiver reads. Input: a byte that says how the rest is meant.
 *
 *   0	the rest is the stream
 *   1	a whole image: the rest describes frames, which get right numbers and
 *	checksums
 *   2	the same, as changes to an image that has the base
 *
 * A stream that is refused leaves no image, or the image as it was, and what it
 * leaves can be gone on with or thrown away; one that is taken leaves an image
 * that a check finds nothing in.
 */
#include <xxhash.h>

#include "format/le.h"
#include "fuzz.h"
#include "image/image.h"
#include "store/store.h"
#include "stream/manifest.h"
#include "stream/stream.h"
#include "stream/wire.h"

#define STREAM_MAX (6u << 20)
#define DISK (1u << 20)
#define BASE "11111111-1111-4111-8111-111111111111"

struct stream {
	uint8_t *p;
	size_t len, at;
	uint32_t number, crc;
};

/* ---- the stream ---- */

static int64_t stream_read(void *arg, void *buf, size_t len)
{
	struct stream *s = arg;
	size_t n = s->len - s->at < len ? s->len - s->at : len;

	if (n)
		memcpy(buf, s->p + s->at, n);
	s->at += n;
	return (int64_t)n;
}

static void append(struct stream *s, const void *p, size_t len)
{
	if (s->len + len > STREAM_MAX)
		return;
	memcpy(s->p + s->len, p, len);
	s->len += len;
}

static void add_frame(struct stream *s, unsigned type, uint64_t arg,
		      const void *payload, uint32_t len)
{
	struct frame f = { .type = (enum frame_type)type,
			   .stored = len,
			   .raw = len,
			   .arg = arg,
			   .number = s->number++ };
	uint8_t header[FRAME_HEADER];

	s->crc = frame_encode(&f, s->crc, payload, header);
	append(s, header, sizeof(header));
	append(s, payload, len);
}

/* One to three snapshots; an edit of the text where the input asks for one. */
static void add_manifest(struct stream *s, struct fuzz_in *in, bool changes)
{
	static const char *const ids[] = {
		"22222222-2222-4222-8222-222222222222",
		"33333333-3333-4333-8333-333333333333",
		"44444444-4444-4444-8444-444444444444",
	};
	struct stream_snapshot list[3];
	struct stream_manifest m = {
		.image = BASE, .fs = "none", .block_size = 4096, .list = list
	};
	uint8_t shape = (uint8_t)fuzz_take(in, 1);
	char *text;
	size_t len, at;

	memset(list, 0, sizeof(list));
	m.n = 1 + shape % 3;
	for (unsigned i = 0; i < m.n; i++) {
		memcpy(list[i].snap.id, ids[i], sizeof(list[i].snap.id));
		memcpy(list[i].snap.layer, ids[2 - i],
		       sizeof(list[i].snap.layer));
		list[i].size = DISK + (shape >> 6) * 4096u * i;
	}
	if (changes)
		memcpy(m.from, BASE, sizeof(m.from));
	if (shape & 16) {
		m.first = (shape >> 2u) % m.n;
		m.start = 8192;
	}
	text = manifest_encode(&m);
	fuzz_require(text != NULL);
	len = strlen(text);
	for (unsigned n = shape & 32 ? 1 + fuzz_take(in, 1) % 4 : 0; n; n--) {
		at = fuzz_take(in, 2) % len;
		text[at] = (char)fuzz_take(in, 1);
	}
	add_frame(s, FRAME_MANIFEST, 0, text, (uint32_t)len);
	free(text);
}

/* A table of a few extents, with or without the data that it needs. */
static void add_blocks(struct stream *s, struct fuzz_in *in)
{
	static uint8_t payload[64 * 4096 + 256];
	uint8_t table[8 * FRAME_EXTENT];
	uint32_t n = 1 + (uint32_t)fuzz_take(in, 1) % 8, len = 0;
	struct extent e;

	for (uint32_t i = 0; i < n; i++) {
		uint8_t how = (uint8_t)fuzz_take(in, 1);

		e.off = fuzz_take(in, how & 64 ? 7 : 1) * 4096;
		e.len = (1u + how % 8u) * 4096u;
		e.zero = how & 8;
		if (how & 128)
			e.len = fuzz_take(in, 8);
		extent_encode(table, i, &e);
		if (!e.zero && len < 56 * 4096)
			len += (1u + how % 8u) * 4096u;
	}
	memset(payload, (int)fuzz_take(in, 1), len);
	memcpy(payload + len, table, n * FRAME_EXTENT);
	add_frame(s, FRAME_BLOCKS, n, payload, len + n * FRAME_EXTENT);
}

static void add_any(struct stream *s, struct fuzz_in *in)
{
	uint8_t kind = (uint8_t)fuzz_take(in, 1), payload[64] = { 0 };
	uint32_t len;

	switch (kind % 6) {
	case 0:
		put64(payload, 0, fuzz_take(in, 2) * 4096);
		add_frame(s, FRAME_SEGMENT, kind / 6u % 4u, payload,
			  SEGMENT_PAYLOAD);
		break;
	case 1:
		put64(payload, 0, fuzz_take(in, 1) * 4096);
		put64(payload, 8, fuzz_take(in, 1) * 4096);
		add_frame(s, FRAME_SEGMENT_END, kind / 6u % 4u, payload,
			  TOTALS_PAYLOAD);
		break;
	case 2:
		put64(payload, 0, fuzz_take(in, 1) * 4096);
		put64(payload, 8, fuzz_take(in, 1) * 4096);
		put64(payload, 16, s->len);
		XXH128_canonicalFromHash((XXH128_canonical_t *)(payload + 24),
					 XXH3_128bits(s->p, s->len));
		add_frame(s, FRAME_END, 0, payload, END_PAYLOAD);
		break;
	case 3:
		len = kind / 6;
		for (uint32_t i = 0; i < len; i++)
			payload[i % 64] = (uint8_t)fuzz_take(in, 1);
		add_frame(s, (unsigned)fuzz_take(in, 1), fuzz_take(in, 8),
			  payload, len % 65);
		break;
	default:
		add_blocks(s, in);
	}
}

static void build(struct stream *s, struct fuzz_in *in, bool changes)
{
	uint8_t header[STREAM_HEADER] = STREAM_MAGIC;

	put32(header, 8, STREAM_VERSION);
	put32(header, 12, 0);
	append(s, header, sizeof(header));
	add_manifest(s, in, changes);
	while (in->left && s->len < STREAM_MAX / 2)
		add_any(s, in);
}

/* ---- the receiver ---- */

static void put_text(struct pl_dir *dir, const char *name, const char *text)
{
	struct pl_store *st;

	dir->ops->unlink(dir, name);
	fuzz_require(dir->ops->open(dir, name, PL_OPEN_WRITE | PL_OPEN_CREATE,
				    &st, NULL) == 0);
	fuzz_require(pl_store_write(st, text, strlen(text), 0, PL_IO_META) ==
		     0);
	pl_store_close(st);
}

/* An image that has the snapshot BASE: a layer of zeros under the top. */
static void make_base(struct pl_dir *dir)
{
	struct pl_image_params p = { .size = DISK, .block_size = 4096 };
	char id[PL_ID_LEN + 1], text[2048], *at;
	struct pl_image *img;
	struct pl_store *st;
	uint64_t size;

	fuzz_require(pl_image_create(dir, &p, NULL) == 0);
	fuzz_require(pl_image_open(&img, dir, PL_IMAGE_WRITE, "fuzz", NULL) ==
		     0);
	fuzz_require(pl_image_snapshot(img, NULL, "base", NULL, NULL, id,
				       NULL) == 0);
	pl_image_close(img);
	fuzz_require(dir->ops->open(dir, "image.json", 0, &st, NULL) == 0);
	fuzz_require(pl_store_size(st, &size) == 0 && size < sizeof(text));
	fuzz_require(pl_store_read(st, text, size, 0, PL_IO_META) == 0);
	pl_store_close(st);
	text[size] = '\0';
	at = strstr(text, id);
	fuzz_require(at != NULL);
	memcpy(at, BASE, PL_ID_LEN);
	put_text(dir, "image.json", text);
}

static bool any_finding(void *arg, const struct pl_finding *f)
{
	(void)arg;
	fuzz_require(f->text[0]);
	return true;
}

static void check_image(struct pl_dir *dir, unsigned snapshots)
{
	struct pl_check_result res;
	struct pl_image *img;

	fuzz_require(pl_image_check(dir, any_finding, NULL, &res, NULL) == 0);
	fuzz_require(res.findings == 0);
	fuzz_require(pl_image_open(&img, dir, 0, "fuzz", NULL) == 0);
	fuzz_require(pl_image_desc(img)->n_snapshots == snapshots);
	pl_image_close(img);
}

static int receive(struct pl_receive *r, struct pl_dir *dir, bool changes,
		   struct pl_stream_result *result, struct pl_err *err)
{
	struct pl_receive_options o = { .force = false };
	struct pl_image *img;
	int rc;

	if (!changes)
		return pl_receive_whole(r, dir, &o, result, err);
	fuzz_require(pl_image_open(&img, dir, PL_IMAGE_WRITE, "fuzz", NULL) ==
		     0);
	rc = pl_receive_changes(r, img, &o, result, err);
	pl_image_close(img);
	return rc;
}

static void look(struct pl_dir *dir, bool changes, int rc,
		 const struct pl_stream_result *result)
{
	char token[PL_TOKEN_TEXT];
	struct stream_token parsed;
	struct pl_image *img;

	if (rc == 0)
		check_image(dir, result->snapshots + changes);
	else if (changes)
		check_image(dir, 1);
	else
		fuzz_require(pl_image_open(&img, dir, 0, "fuzz", NULL) < 0);
	if (pl_receive_token(dir, token, NULL) == 0)
		fuzz_require(rc < 0 && token_parse(token, &parsed, NULL) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { data, size };
	struct stream s = { .p = malloc(STREAM_MAX) };
	struct pl_stream_io io = { .read = stream_read, .arg = &s };
	unsigned mode = (unsigned)fuzz_take(&in, 1) % 3;
	struct pl_stream_result result;
	struct pl_receive *r = NULL;
	struct pl_dir *dir = NULL;
	struct pl_err err = { 0 };
	int rc;

	fuzz_require(s.p != NULL);
	fuzz_require(pl_dir_memory(&dir, 0) == 0);
	if (mode)
		build(&s, &in, mode == 2);
	else
		append(&s, in.at, in.left);
	if (mode == 2)
		make_base(dir);
	rc = pl_receive_open(&r, &io, &err);
	/* An edit of the manifest may make it the other kind. */
	if (rc == 0 && pl_receive_is_whole(r) == (mode != 2)) {
		rc = receive(r, dir, mode == 2, &result, &err);
		look(dir, mode == 2, rc, &result);
	}
	fuzz_require(rc == 0 || err.msg[0]);
	pl_receive_close(r);
	pl_dir_close(dir);
	free(s.p);
	return 0;
}
