/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images as streams: sending snapshots, whole or as changes to an earlier one,
 * and receiving them. docs/stream.md is the format.
 *
 * A receiver changes nothing under a final name until all of the stream has
 * arrived and was found right; what has arrived is kept for going on.
 */
#ifndef PLOOP_STREAM_STREAM_H
#define PLOOP_STREAM_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "image/image.h"

/* Where a stream goes to or comes from; both block. */
struct pl_stream_io {
	/* All of it: 0, or -errno. -ECANCELED: told to stop. */
	int (*write)(void *arg, const void *buf, size_t len);
	/* Bytes read, at least one; 0 at the end; -errno. */
	int64_t (*read)(void *arg, void *buf, size_t len);
	void *arg;
};

struct pl_stream_result {
	char from[PL_ID_LEN + 1]; /* "" = a whole image */
	char to[PL_ID_LEN + 1]; /* the last snapshot */
	unsigned snapshots;
	uint64_t data_bytes, zero_bytes; /* virtual bytes in the stream */
	uint64_t stream_bytes;
	bool resumed;
};

#define PL_STREAM_LEVEL 1 /* of zstd, unless told otherwise */

struct pl_send_options {
	const char *snapshot; /* the last one; NULL = newest of the top's */
	const char *since; /* NULL = all of the image */
	const char *token; /* goes on with a broken transfer; alone */
	int level; /* of zstd, 0 to 19; 0 = not compressed */
	pl_progress_fn *progress; /* NULL = not wanted; false = stop */
	void *arg;
};

/*
 * Writes the stream. Sealed layers are all it reads, so that the image may be
 * attached and written meanwhile; the caller sees to it that nobody merges
 * them (the image's lock, or pl_image_hold()).
 */
int pl_send(struct pl_image *img, const struct pl_send_options *options,
	    const struct pl_stream_io *io, struct pl_stream_result *ret,
	    struct pl_err *err);

/* ---- receiving ---- */

struct pl_receive;

struct pl_receive_options {
	bool force; /* discards what was written to the image since its base */
	pl_progress_fn *progress;
	void *arg;
};

/* Reads as far as the manifest. */
int pl_receive_open(struct pl_receive **ret, const struct pl_stream_io *io,
		    struct pl_err *err);
void pl_receive_close(struct pl_receive *r); /* accepts NULL */
/* A whole image, for a directory of its own; else changes to a snapshot. */
bool pl_receive_is_whole(const struct pl_receive *r);
bool pl_receive_is_resumed(const struct pl_receive *r);

/*
 * A whole image into dir, whose lock the caller holds: empty, or with what an
 * earlier attempt left. When it returns 0 dir holds the image, durably.
 */
int pl_receive_whole(struct pl_receive *r, struct pl_dir *dir,
		     const struct pl_receive_options *options,
		     struct pl_stream_result *ret, struct pl_err *err);
/* Changes into an image, open for writing, whose base snapshot it has. */
int pl_receive_changes(struct pl_receive *r, struct pl_image *img,
		       const struct pl_receive_options *options,
		       struct pl_stream_result *ret, struct pl_err *err);

#define PL_TOKEN_TEXT 256
/* The token of what an interrupted receiver left in dir. NOT_FOUND: nothing. */
int pl_receive_token(struct pl_dir *dir, char text[PL_TOKEN_TEXT],
		     struct pl_err *err);

#endif
