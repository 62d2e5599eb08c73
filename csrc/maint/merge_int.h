/* SPDX-License-Identifier: Apache-2.0 */
/* What the two directions of a merge share. */
#ifndef PLOOP_MAINT_MERGE_INT_H
#define PLOOP_MAINT_MERGE_INT_H

#include "maint/maint.h"

struct merge {
	struct pl_layer *from, *to;
	struct pl_chain *ch; /* live; NULL = no requests beside */
	const struct pl_maint_progress *progress;
	uint64_t cs, bs;
	uint64_t done, total; /* bytes of data, for progress */
	uint64_t paced; /* of done */
	bool no_clone; /* the host can't share extents between these */
	char *buf; /* one cluster */
};

int merge_init(struct merge *m, struct pl_layer *from, struct pl_layer *to,
	       struct pl_chain *ch, const struct pl_maint_progress *progress);
void merge_fini(struct merge *m);
/* Says how far it is, and waits as told (no locks held): -ECANCELED = stop. */
int merge_go_on(struct merge *m);
/*
 * The blocks of mask, as `from` says in its entry e, become those of `to`
 * (suspends). Ordered after their data.
 */
int merge_blocks(struct merge *m, uint64_t cno, const struct pl_entry *e,
		 uint64_t mask);

#endif
