/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stream format, version 1: docs/stream.md in C. Encodes, decodes and
 * checks single frames; makes no system calls. STR-nnn names the clause.
 *
 * Everything is little-endian; the structs below are in host order.
 */
#ifndef PLOOP_STREAM_WIRE_H
#define PLOOP_STREAM_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define STREAM_MAGIC "PLOOPSTM"
#define STREAM_VERSION 1u
#define STREAM_HEADER 16u /* bytes at the start */

#define FRAME_MAGIC 0x4d524650u /* "PFRM" */
#define FRAME_HEADER 32u
#define FRAME_ZSTD 1u /* flags: the payload is compressed */

/* Payloads, uncompressed, bytes (STR-013). */
#define FRAME_DATA_MAX (4u << 20)
#define FRAME_EXTENTS_MAX 4096u
#define FRAME_EXTENT 16u
#define FRAME_RAW_MAX (FRAME_DATA_MAX + FRAME_EXTENTS_MAX * FRAME_EXTENT)

enum frame_type {
	FRAME_MANIFEST = 1,
	FRAME_SEGMENT = 2,
	FRAME_BLOCKS = 3,
	FRAME_SEGMENT_END = 4,
	FRAME_END = 5,
};

struct frame {
	enum frame_type type;
	unsigned flags;
	uint32_t stored, raw; /* payload: bytes in the stream, uncompressed */
	uint64_t arg; /* what it means depends on the type */
	uint32_t number; /* of the frame, from 0 */
	uint32_t crc;
};

/* Everything but crc is filled in; returns the checksum, which it writes. */
uint32_t frame_encode(const struct frame *f, uint32_t prev_crc,
		      const void *payload, void *header);
/* What can be told without the payload. */
int frame_decode(const void *header, uint32_t number, struct frame *ret,
		 struct pl_err *err);
uint32_t frame_crc(const void *header, uint32_t prev_crc, const void *payload,
		   uint32_t len);

/* ---- blocks ---- */

/*
 * Payload: the data of all extents that have any, one after the other, then
 * the table of extents. frame.arg = number of extents.
 */
struct extent {
	uint64_t off, len; /* virtual bytes, multiples of the block size */
	bool zero; /* no data: the range reads as zeros */
};

void extent_encode(void *table, uint32_t i, const struct extent *e);

struct extent_limits {
	uint64_t start, end; /* extents lie in here, in order */
	uint32_t block_size;
};
/*
 * Checks all n entries of the table against the limits and the length of the
 * data before it; advances limits->start behind the last one.
 */
bool extents_check(const void *table, uint64_t n, uint64_t data_len,
		   struct extent_limits *limits);
void extent_decode(const void *table, uint32_t i, struct extent *ret);

/* ---- the other payloads ---- */

#define SEGMENT_PAYLOAD 16u
struct segment {
	uint64_t start; /* virtual bytes: what lies before is there already */
};
void segment_encode(void *payload, const struct segment *s);
void segment_decode(const void *payload, struct segment *ret);

#define TOTALS_PAYLOAD 16u /* of FRAME_SEGMENT_END */
struct totals {
	uint64_t data, zero; /* virtual bytes */
};
void totals_encode(void *payload, const struct totals *t);
void totals_decode(const void *payload, struct totals *ret);

#define END_PAYLOAD 40u
struct stream_end {
	struct totals totals;
	uint64_t bytes; /* of the stream before this frame */
	uint8_t hash[16]; /* XXH3-128 of them, canonical */
};
void end_encode(void *payload, const struct stream_end *e);
void end_decode(const void *payload, struct stream_end *ret);

#endif
