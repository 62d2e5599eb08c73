/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Free blocks in the wanted units. The kernel takes no wishes where a file's
 * blocks shall be. But mballoc serves large files from one group until nothing
 * is free there, then from the next: so this takes all that is free in a
 * group, keeps what lies in the holes of the units that stay, and gives the
 * rest back once it has gone on to the next group.
 */
#ifndef PLOOP_TOOLS_PACK_DONOR_H
#define PLOOP_TOOLS_PACK_DONOR_H

#include "pack.h"

/* A run of blocks of the donor in one unit that stays. */
struct pack_hole {
	uint64_t block; /* where it is */
	uint32_t lblk, len; /* of the donor */
};

struct pack_donor {
	int fd; /* a file without a name */
	uint32_t lblk; /* the next unused */
	struct pack_hole *hole; /* longest last */
	size_t holes, cap;
	uint64_t groups, visits;
	unsigned again; /* groups met that had been visited */
	uint8_t *visited; /* a bit per group */
	bool done; /* no group is left */
};

int pack_donor_open(struct pack *p, struct pack_donor *d);
void pack_donor_close(struct pack_donor *d);

/*
 * Takes the holes of the next group; those left from before stay. None may
 * come of it, and d->done be set.
 */
int pack_donor_grab(struct pack *p, struct pack_donor *d);

/* The best hole for len blocks, at most as long; len 0 = there is none. */
struct pack_hole pack_donor_take(struct pack_donor *d, uint32_t len);

/* Gives donor blocks back to the file system. */
int pack_donor_punch(const struct pack *p, struct pack_donor *d, uint32_t lblk,
		     uint32_t len);

#endif
