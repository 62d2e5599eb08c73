/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changed blocks between two states of one disk, from what layers own.
 *
 * A block counts as changed when a layer that only one of the two chains has
 * owns it: every differing block does. Without PL_DIFF_COMPARE some equal ones
 * do, too: those that were written with what they held, or written and changed
 * back. Blocks that both chains know to be zeros without reading data are left
 * out always.
 */
#ifndef PLOOP_MAINT_DIFF_H
#define PLOOP_MAINT_DIFF_H

#include <stdbool.h>
#include <stdint.h>

struct pl_chain;

/* Reads both states and leaves equal blocks out; zero then means zeros. */
#define PL_DIFF_COMPARE 1u

/* One run of changed blocks of one kind. */
struct pl_diff_extent {
	uint64_t off, len; /* virtual bytes */
	bool zero; /* reads as zeros in the later state, without host space */
};
/* Must not suspend. false = enough. */
typedef bool pl_diff_fn(void *arg, const struct pl_diff_extent *extent);

/* What has been looked at, for whoever wants to stop: false = -ECANCELED. */
typedef bool pl_diff_step_fn(void *arg, uint64_t looked_at_end);

struct pl_diff_request {
	/* The layers that both have are told by their ids. NULL: no layer. */
	struct pl_chain *from;
	struct pl_chain *to;
	uint64_t off, len; /* of `to`; off a multiple of the block size */
	unsigned flags;
	pl_diff_fn *each;
	void *arg;
	pl_diff_step_fn
		*step; /* NULL = not wanted; once per map page or cluster */
	void *step_arg;
};

/*
 * Calls each() for the changed extents in order, merged (suspends); beside
 * requests on `to`. *ret_end, may be NULL: everything before it was looked at
 * and told.
 */
int pl_diff_chains(const struct pl_diff_request *req, uint64_t *ret_end);

#endif
