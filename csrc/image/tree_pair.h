/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two layers that are merged into one: a parent that nobody shows, and its only
 * child.
 */
#ifndef PLOOP_IMAGE_TREE_PAIR_H
#define PLOOP_IMAGE_TREE_PAIR_H

#include "image/tree_int.h"

struct pair {
	struct pl_image *img;
	const struct pl_image_live *live;
	const struct pl_maint_progress *progress;
	struct pl_image_layer parent, child; /* what the descriptor says */
	struct pl_layer *p, *c;
	struct pl_merge_cost cost;
	bool in_chain; /* of live, both */
	bool child_is_top;
	bool p_lent, c_lent; /* they belong to the chain */
	bool c_sealed;
	bool p_unsealed; /* the descriptor may name it as top by now */
};

/* What each direction would move; before the pair is opened. */
int pair_estimate(struct pair *m, struct pl_err *err);
/* Downwards moves less, and can be. */
bool pair_goes_down(const struct pair *m);
/*
 * Opens what is to be changed, and puts it into the live chain. -EBUSY,
 * -EMLINK: somebody else uses one of them. pair_close() in any case.
 */
int pair_open(struct pair *m, bool down, struct pl_err *err);
/* Back to layers that only look: in order, or as a crash would leave them. */
void pair_close(struct pair *m);
/*
 * A layer of the pair that the descriptor does not name any more: file and
 * chain lose it. When requests can't be held back it stays in the chain, where
 * it changes nothing. own: the pair's, which is gone afterwards.
 */
void pair_retire(struct pair *m, const char *id, struct pl_layer *own);
/* Requests wait until live->resume(). */
int pair_hold(const struct pair *m, struct pl_err *err);
int pair_failed(const struct pair *m, int rc, struct pl_err *err);

#endif
