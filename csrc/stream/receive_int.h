/* SPDX-License-Identifier: Apache-2.0 */
/* What the two halves of receiving share: filling layers, and the image. */
#ifndef PLOOP_STREAM_RECEIVE_INT_H
#define PLOOP_STREAM_RECEIVE_INT_H

#include "chain/chain.h"
#include "image/adopt.h"
#include "store/store.h"
#include "stream/manifest.h"
#include "stream/pipe.h"
#include "stream/progress.h"

struct pl_receive {
	struct stream_in *in;
	struct stream_manifest m;
	const struct pl_receive_options *opts;
	struct pl_dir *dir;
	struct pl_image *img; /* the caller's, or one that has nothing yet */
	struct progress p;

	struct pl_chain *base; /* of the snapshot below all of it; NULL = none */
	/* base's layers (n_base) and complete ones of ours, from the bottom */
	struct pl_layer **lower;
	unsigned n_lower, n_base;
	struct pl_layer *top; /* the layer being filled */
	struct pl_chain *chain; /* of lower and top, which it borrows */

	uint64_t at; /* all before this offset of the segment is applied */
	uint64_t unsaved, done; /* data bytes */
	struct totals totals, all;
};

/* receive.c: takes all of the stream in, and finishes. */
int receive_all(struct pl_receive *r, struct pl_err *err);

/* target.c: makes the received layers part of the image. */
int receive_finish(struct pl_receive *r, struct pl_err *err);

#endif
