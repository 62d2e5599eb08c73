/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changed blocks between two states of an image: its snapshots, on whichever
 * branch, and now. What counts as changed: maint/diff.h.
 *
 * An open diff looks at layers of the image, sealed ones and the live chain's.
 * It stays right while requests are served, snapshots taken and the disk
 * grown; layers that it looks at must not be merged or closed meanwhile.
 */
#ifndef PLOOP_IMAGE_DIFF_H
#define PLOOP_IMAGE_DIFF_H

#include "base/err.h"
#include "image/image.h"
#include "maint/diff.h"

struct pl_diff;

/*
 * from: a snapshot's id, id prefix or name; NULL = before everything, so that
 * all owned blocks are told. to: the same; NULL = now. live: the open chain of
 * an attached image (inside a coroutine), NULL when detached. Suspends.
 */
int pl_diff_open(struct pl_diff **ret, struct pl_image *img, const char *from,
		 const char *to, struct pl_chain *live, struct pl_err *err);
void pl_diff_close(struct pl_diff *diff); /* accepts NULL */

uint64_t pl_diff_size(const struct pl_diff *diff); /* of the later state */
const char *pl_diff_from(const struct pl_diff *diff); /* id; "" = NULL */
const char *pl_diff_to(const struct pl_diff *diff); /* id; "" = now */

/* Reads the later state (suspends); as pl_chain_read(). */
int pl_diff_read(struct pl_diff *diff, void *buf, uint64_t len, uint64_t off);

/*
 * The changed extents in [off, off + len), in order, merged (suspends); off a
 * multiple of the block size. flags: PL_DIFF_*. each() returns false when it
 * has enough. step, may be NULL: see pl_diff_request. *ret_end, may be NULL: as
 * far as was looked when step ended it (INTERRUPTED).
 */
int pl_diff_extents(struct pl_diff *diff, uint64_t off, uint64_t len,
		    unsigned flags, pl_diff_fn *each, pl_diff_step_fn *step,
		    void *arg, uint64_t *ret_end, struct pl_err *err);

#endif
