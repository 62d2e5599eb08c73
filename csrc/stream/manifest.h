/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a stream holds, and how far a receiver is: the manifest (the first
 * frame), the token that goes on with a broken transfer, and the receiver's
 * file about it. All of it JSON or text, all of it untrusted.
 */
#ifndef PLOOP_STREAM_MANIFEST_H
#define PLOOP_STREAM_MANIFEST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "image/image.h"

#define MANIFEST_BYTES_MAX (4u << 20)
#define MANIFEST_SNAPSHOTS_MAX 1000u

/* The state of one snapshot, as changes to the one before it. */
struct stream_snapshot {
	struct pl_image_snapshot snap; /* .layer: the sender's */
	uint64_t size; /* of the disk, bytes */
};

struct stream_manifest {
	char image[PL_ID_LEN + 1];
	char label[64], fs[16], created[32];
	uint32_t block_size;
	bool checksums;
	bool shrinks; /* a snapshot may be smaller than the one before */
	char from[PL_ID_LEN + 1]; /* the base: a snapshot's id; "" = whole */
	uint64_t bytes; /* about, of data; for progress */
	struct stream_snapshot *list; /* in the order they come */
	unsigned n;
	/* Goes on with a broken transfer: list[first] from `start` on. */
	unsigned first;
	uint64_t start; /* virtual bytes */
};

/* Text that free() frees, or NULL without memory. */
char *manifest_encode(const struct stream_manifest *m);
int manifest_decode(const char *text, size_t len, struct stream_manifest *ret,
		    struct pl_err *err);
void manifest_free(struct stream_manifest *m);

/* ---- tokens ---- */

/* What a receiver has: all before `snapshot`, and that one below `off`. */
struct stream_token {
	char image[PL_ID_LEN + 1];
	char from[PL_ID_LEN + 1]; /* as in the manifest */
	char last[PL_ID_LEN + 1]; /* the stream's last snapshot */
	char base[PL_ID_LEN + 1]; /* before `snapshot`; "" = nothing */
	char snapshot[PL_ID_LEN + 1];
	uint64_t off;
};

#define TOKEN_TEXT 256

void token_format(const struct stream_token *t, char text[TOKEN_TEXT]);
int token_parse(const char *text, struct stream_token *ret, struct pl_err *err);

#endif
