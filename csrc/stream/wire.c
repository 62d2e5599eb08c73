/* SPDX-License-Identifier: Apache-2.0 */
/* Single frames to bytes and back: see wire.h and docs/stream.md. */
#include "stream/wire.h"

#include <errno.h>
#include <string.h>

#include "base/crc32c.h"
#include "format/le.h"

enum {
	F_MAGIC = 0,
	F_TYPE = 4,
	F_FLAGS = 6,
	F_STORED = 8,
	F_RAW = 12,
	F_ARG = 16,
	F_NUMBER = 24,
	F_CRC = 28,
};

uint32_t frame_crc(const void *header, uint32_t prev_crc, const void *payload,
		   uint32_t len)
{
	return pl_crc32c(pl_crc32c(prev_crc, header, F_CRC), payload, len);
}

uint32_t frame_encode(const struct frame *f, uint32_t prev_crc,
		      const void *payload, void *header)
{
	uint32_t crc;

	memset(header, 0, FRAME_HEADER);
	put32(header, F_MAGIC, FRAME_MAGIC);
	put16(header, F_TYPE, (uint16_t)f->type);
	put16(header, F_FLAGS, (uint16_t)f->flags);
	put32(header, F_STORED, f->stored);
	put32(header, F_RAW, f->raw);
	put64(header, F_ARG, f->arg);
	put32(header, F_NUMBER, f->number);
	crc = frame_crc(header, prev_crc, payload, f->stored);
	put32(header, F_CRC, crc);
	return crc;
}

static int bad(struct pl_err *err, const char *what, uint64_t value)
{
	return pl_err_set(err, PL_E_BAD_STREAM, EBADMSG, "%s (%llu)", what,
			  (unsigned long long)value);
}

static bool payload_fits(const struct frame *f)
{
	switch (f->type) {
	case FRAME_MANIFEST:
		return f->raw > 0 && f->raw <= FRAME_DATA_MAX;
	case FRAME_SEGMENT:
		return f->raw == SEGMENT_PAYLOAD;
	case FRAME_BLOCKS:
		return f->arg > 0 && f->arg <= FRAME_EXTENTS_MAX &&
		       f->raw >= f->arg * FRAME_EXTENT &&
		       f->raw - f->arg * FRAME_EXTENT <= FRAME_DATA_MAX;
	case FRAME_SEGMENT_END:
		return f->raw == TOTALS_PAYLOAD;
	case FRAME_END:
		return f->raw == END_PAYLOAD;
	}
	return false;
}

int frame_decode(const void *header, uint32_t number, struct frame *ret,
		 struct pl_err *err)
{
	unsigned type = get16(header, F_TYPE);

	if (get32(header, F_MAGIC) != FRAME_MAGIC)
		return bad(err, "no frame begins here", get32(header, F_MAGIC));
	*ret = (struct frame){
		.type = (enum frame_type)type,
		.flags = get16(header, F_FLAGS),
		.stored = get32(header, F_STORED),
		.raw = get32(header, F_RAW),
		.arg = get64(header, F_ARG),
		.number = get32(header, F_NUMBER),
		.crc = get32(header, F_CRC),
	};
	if (ret->number != number)
		return bad(err, "the frame has another number", ret->number);
	if (type < FRAME_MANIFEST || type > FRAME_END)
		return bad(err, "a frame of a type that this version lacks",
			   type);
	if (ret->flags & ~FRAME_ZSTD)
		return bad(err, "a frame with flags that this version lacks",
			   ret->flags);
	if (!payload_fits(ret))
		return bad(err, "a frame with a length out of range", ret->raw);
	if (ret->flags & FRAME_ZSTD ? ret->stored >= ret->raw :
				      ret->stored != ret->raw)
		return bad(err, "a frame with a stored length out of range",
			   ret->stored);
	return 0;
}

/* ---- blocks ---- */

#define EXTENT_ZERO 1u /* in the length, whose low bits are 0 */

void extent_encode(void *table, uint32_t i, const struct extent *e)
{
	char *p = (char *)table + (size_t)i * FRAME_EXTENT;

	put64(p, 0, e->off);
	put64(p, 8, e->len | (e->zero ? EXTENT_ZERO : 0));
}

void extent_decode(const void *table, uint32_t i, struct extent *ret)
{
	const char *p = (const char *)table + (size_t)i * FRAME_EXTENT;
	uint64_t len = get64(p, 8);

	ret->off = get64(p, 0);
	ret->zero = len & EXTENT_ZERO;
	ret->len = len & ~(uint64_t)EXTENT_ZERO;
}

static bool extent_fits(const struct extent *e, const struct extent_limits *l)
{
	return e->off >= l->start && e->off < l->end && e->len > 0 &&
	       e->len <= l->end - e->off && e->off % l->block_size == 0 &&
	       e->len % l->block_size == 0;
}

bool extents_check(const void *table, uint64_t n, uint64_t data_len,
		   struct extent_limits *limits)
{
	struct extent e;

	for (uint32_t i = 0; i < n; i++) {
		extent_decode(table, i, &e);
		if (!extent_fits(&e, limits) || (!e.zero && e.len > data_len))
			return false;
		data_len -= e.zero ? 0 : e.len;
		limits->start = e.off + e.len;
	}
	return data_len == 0;
}

/* ---- the other payloads ---- */

void segment_encode(void *payload, const struct segment *s)
{
	memset(payload, 0, SEGMENT_PAYLOAD);
	put64(payload, 0, s->start);
}

void segment_decode(const void *payload, struct segment *ret)
{
	ret->start = get64(payload, 0);
}

void totals_encode(void *payload, const struct totals *t)
{
	put64(payload, 0, t->data);
	put64(payload, 8, t->zero);
}

void totals_decode(const void *payload, struct totals *ret)
{
	ret->data = get64(payload, 0);
	ret->zero = get64(payload, 8);
}

void end_encode(void *payload, const struct stream_end *e)
{
	totals_encode(payload, &e->totals);
	put64(payload, 16, e->bytes);
	memcpy((char *)payload + 24, e->hash, sizeof(e->hash));
}

void end_decode(const void *payload, struct stream_end *ret)
{
	totals_decode(payload, &ret->totals);
	ret->bytes = get64(payload, 16);
	memcpy(ret->hash, (const char *)payload + 24, sizeof(ret->hash));
}
