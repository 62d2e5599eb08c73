/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames through a pipe: writing them with compression and checksums, reading
 * them with every check that can be made before their content is looked at.
 *
 * Both hold one frame in memory, whatever the stream says.
 */
#ifndef PLOOP_STREAM_PIPE_H
#define PLOOP_STREAM_PIPE_H

#include "stream/stream.h"
#include "stream/wire.h"

struct stream_out;
struct stream_in;

/* ---- writing ---- */

/* Writes the stream's header. level: of zstd, 0 = not compressed. */
int out_new(struct stream_out **ret, const struct pl_stream_io *io, int level,
	    struct pl_err *err);
void out_free(struct stream_out *out); /* accepts NULL */
int out_frame(struct stream_out *out, enum frame_type type, uint64_t arg,
	      const void *payload, uint32_t len, struct pl_err *err);
/* The last frame, over all that was written. */
int out_end(struct stream_out *out, const struct totals *totals,
	    struct pl_err *err);
uint64_t out_bytes(const struct stream_out *out);

/* ---- reading ---- */

/* Reads and checks the stream's header. */
int in_new(struct stream_in **ret, const struct pl_stream_io *io,
	   struct pl_err *err);
void in_free(struct stream_in *in); /* accepts NULL */
/*
 * The next frame with its payload, uncompressed, valid until the next call;
 * aligned to 4096. BAD_STREAM when the stream ends before its last frame.
 */
int in_frame(struct stream_in *in, struct frame *ret, const void **payload,
	     struct pl_err *err);
/* Compares the last frame with what came before it, and finds the end. */
int in_end(struct stream_in *in, const void *payload,
	   const struct totals *totals, struct pl_err *err);
uint64_t in_bytes(const struct stream_in *in);
/* BAD_STREAM with the place of the last frame that was read. */
int in_bad(const struct stream_in *in, struct pl_err *err, const char *what);

#endif
