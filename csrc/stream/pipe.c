/* SPDX-License-Identifier: Apache-2.0 */
/* Frames to a pipe and from it: see pipe.h. */
#include "stream/pipe.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include <zstd.h>

#include "format/format.h"
#include "format/le.h"

typedef unsigned long long ull;

static void *alloc_aligned(size_t len)
{
	void *p;

	return posix_memalign(&p, PL_PAGE, len) == 0 ? p : NULL;
}

static void take_hash(const XXH3_state_t *state, uint8_t hash[16])
{
	XXH128_canonical_t c;

	XXH128_canonicalFromHash(&c, XXH3_128bits_digest(state));
	memcpy(hash, c.digest, sizeof(c.digest));
}

/* ---- writing ---- */

struct stream_out {
	struct pl_stream_io io;
	int level;
	uint32_t number, crc;
	uint64_t bytes;
	XXH3_state_t *hash;
	ZSTD_CCtx *zstd;
	char *buf; /* header and stored payload */
	size_t size;
};

static int put(struct stream_out *out, const void *buf, size_t len,
	       struct pl_err *err)
{
	int rc = out->io.write(out->io.arg, buf, len);

	if (rc == -ECANCELED)
		return pl_err_set(err, PL_E_INTERRUPTED, ECANCELED,
				  "interrupted after %llu bytes of the stream",
				  (ull)out->bytes);
	if (rc < 0)
		return pl_err_sys(err, rc,
				  "writing the stream, after %llu bytes",
				  (ull)out->bytes);
	XXH3_128bits_update(out->hash, buf, len);
	out->bytes += len;
	return 0;
}

int out_new(struct stream_out **ret, const struct pl_stream_io *io, int level,
	    struct pl_err *err)
{
	struct stream_out *out = calloc(1, sizeof(*out));
	char header[STREAM_HEADER] = STREAM_MAGIC;
	int rc;

	if (!out)
		return pl_err_sys(err, -ENOMEM, "send");
	out->io = *io;
	out->level = level;
	out->hash = XXH3_createState();
	out->zstd = ZSTD_createCCtx();
	out->size = FRAME_HEADER + FRAME_RAW_MAX;
	out->buf = malloc(out->size);
	if (!out->hash || !out->zstd || !out->buf) {
		out_free(out);
		return pl_err_sys(err, -ENOMEM, "send");
	}
	XXH3_128bits_reset(out->hash);
	put32(header, 8, STREAM_VERSION);
	put32(header, 12, 0);
	rc = put(out, header, sizeof(header), err);
	if (rc < 0)
		out_free(out);
	else
		*ret = out;
	return rc;
}

void out_free(struct stream_out *out)
{
	if (!out)
		return;
	XXH3_freeState(out->hash);
	ZSTD_freeCCtx(out->zstd);
	free(out->buf);
	free(out);
}

/* Compressed, where that makes it smaller; else as it is. */
static uint32_t store_payload(struct stream_out *out, const void *payload,
			      uint32_t len, unsigned *ret_flags)
{
	char *to = out->buf + FRAME_HEADER;
	size_t n = 0;

	if (out->level && len > 64)
		n = ZSTD_compressCCtx(out->zstd, to, len - 1, payload, len,
				      out->level);
	if (n && !ZSTD_isError(n)) {
		*ret_flags = FRAME_ZSTD;
		return (uint32_t)n;
	}
	memcpy(to, payload, len);
	*ret_flags = 0;
	return len;
}

int out_frame(struct stream_out *out, enum frame_type type, uint64_t arg,
	      const void *payload, uint32_t len, struct pl_err *err)
{
	struct frame f = {
		.type = type, .raw = len, .arg = arg, .number = out->number
	};

	f.stored = store_payload(out, payload, len, &f.flags);
	out->crc =
		frame_encode(&f, out->crc, out->buf + FRAME_HEADER, out->buf);
	out->number++;
	return put(out, out->buf, FRAME_HEADER + f.stored, err);
}

int out_end(struct stream_out *out, const struct totals *totals,
	    struct pl_err *err)
{
	struct stream_end end = { .totals = *totals, .bytes = out->bytes };
	char payload[END_PAYLOAD];

	take_hash(out->hash, end.hash);
	end_encode(payload, &end);
	return out_frame(out, FRAME_END, 0, payload, sizeof(payload), err);
}

uint64_t out_bytes(const struct stream_out *out)
{
	return out->bytes;
}

/* ---- reading ---- */

struct stream_in {
	struct pl_stream_io io;
	uint32_t number, crc; /* of the next frame; of the one before it */
	uint64_t bytes, frame_at; /* read; where the last frame begins */
	XXH3_state_t *hash;
	uint8_t before_end[16]; /* the hash before the last frame */
	ZSTD_DCtx *zstd;
	char *stored, *raw;
};

/* Of the frame that is being read or was read last. */
static uint32_t frame_number(const struct stream_in *in)
{
	return in->number ? in->number - 1 : 0;
}

int in_bad(const struct stream_in *in, struct pl_err *err, const char *what)
{
	return pl_err_set(err, PL_E_BAD_STREAM, EBADMSG,
			  "frame %u, at byte %llu of the stream: %s",
			  frame_number(in), (ull)in->frame_at, what);
}

static int get(struct stream_in *in, void *buf, size_t len, struct pl_err *err)
{
	size_t have = 0;
	int64_t n;

	while (have < len) {
		n = in->io.read(in->io.arg, (char *)buf + have, len - have);
		if (n == -ECANCELED)
			return pl_err_set(err, PL_E_INTERRUPTED, ECANCELED,
					  "interrupted after %llu bytes of the "
					  "stream",
					  (ull)in->bytes);
		if (n < 0)
			return pl_err_sys(err, (int)n,
					  "reading the stream, after %llu "
					  "bytes",
					  (ull)in->bytes);
		if (n == 0)
			return pl_err_set(err, PL_E_BAD_STREAM, EPIPE,
					  "the stream ends after %llu bytes, "
					  "in frame %u; its last frame is "
					  "missing",
					  (ull)in->bytes, frame_number(in));
		have += (size_t)n;
		in->bytes += (uint64_t)n;
	}
	XXH3_128bits_update(in->hash, buf, len);
	return 0;
}

static int read_header(struct stream_in *in, struct pl_err *err)
{
	char header[STREAM_HEADER];
	int rc = get(in, header, sizeof(header), err);

	if (rc < 0)
		return rc;
	if (memcmp(header, STREAM_MAGIC, 8) != 0)
		return pl_err_set(err, PL_E_BAD_STREAM, EBADMSG,
				  "this is no stream of ploop send");
	if (get32(header, 8) != STREAM_VERSION)
		return pl_err_set(err, PL_E_UNSUPPORTED_FEATURE, EOPNOTSUPP,
				  "the stream has version %u; this ploop reads "
				  "version %u",
				  get32(header, 8), STREAM_VERSION);
	if (get32(header, 12) != 0)
		return pl_err_set(err, PL_E_UNSUPPORTED_FEATURE, EOPNOTSUPP,
				  "the stream has flags %#x in its header, "
				  "which this version lacks",
				  get32(header, 12));
	return 0;
}

int in_new(struct stream_in **ret, const struct pl_stream_io *io,
	   struct pl_err *err)
{
	struct stream_in *in = calloc(1, sizeof(*in));
	int rc = 0;

	if (!in)
		return pl_err_sys(err, -ENOMEM, "receive");
	in->io = *io;
	in->hash = XXH3_createState();
	in->zstd = ZSTD_createDCtx();
	in->stored = malloc(FRAME_RAW_MAX);
	in->raw = alloc_aligned(FRAME_RAW_MAX);
	if (!in->hash || !in->zstd || !in->stored || !in->raw)
		rc = pl_err_sys(err, -ENOMEM, "receive");
	if (rc == 0) {
		XXH3_128bits_reset(in->hash);
		rc = read_header(in, err);
	}
	if (rc < 0)
		in_free(in);
	else
		*ret = in;
	return rc;
}

void in_free(struct stream_in *in)
{
	if (!in)
		return;
	XXH3_freeState(in->hash);
	ZSTD_freeDCtx(in->zstd);
	free(in->stored);
	free(in->raw);
	free(in);
}

static int unpack(struct stream_in *in, const struct frame *f,
		  struct pl_err *err)
{
	size_t n;

	if (!(f->flags & FRAME_ZSTD)) {
		memcpy(in->raw, in->stored, f->stored);
		return 0;
	}
	n = ZSTD_decompressDCtx(in->zstd, in->raw, f->raw, in->stored,
				f->stored);
	if (ZSTD_isError(n) || n != f->raw)
		return in_bad(in, err, "it can't be decompressed");
	return 0;
}

int in_frame(struct stream_in *in, struct frame *ret, const void **payload,
	     struct pl_err *err)
{
	char header[FRAME_HEADER];
	int rc;

	in->frame_at = in->bytes;
	take_hash(in->hash, in->before_end);
	in->number++;
	rc = get(in, header, sizeof(header), err);
	if (rc < 0)
		return rc;
	rc = frame_decode(header, frame_number(in), ret, err);
	if (rc < 0) {
		pl_err_wrap(err, "frame %u, at byte %llu of the stream",
			    frame_number(in), (ull)in->frame_at);
		return rc;
	}
	rc = get(in, in->stored, ret->stored, err);
	if (rc < 0)
		return rc;
	if (frame_crc(header, in->crc, in->stored, ret->stored) != ret->crc)
		return in_bad(in, err, "checksum mismatch");
	in->crc = ret->crc;
	rc = unpack(in, ret, err);
	*payload = in->raw;
	return rc;
}

int in_end(struct stream_in *in, const void *payload,
	   const struct totals *totals, struct pl_err *err)
{
	struct stream_end end;
	char more;

	end_decode(payload, &end);
	if (end.bytes != in->frame_at ||
	    memcmp(end.hash, in->before_end, sizeof(end.hash)) != 0)
		return in_bad(in, err,
			      "the checksum over the whole stream differs");
	if (end.totals.data != totals->data || end.totals.zero != totals->zero)
		return in_bad(in, err, "the totals differ from what came");
	if (in->io.read(in->io.arg, &more, 1) > 0)
		return in_bad(in, err, "something follows the last frame");
	return 0;
}

uint64_t in_bytes(const struct stream_in *in)
{
	return in->bytes;
}
