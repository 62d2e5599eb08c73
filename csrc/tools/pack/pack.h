/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packing a mounted ext4: moving the data of sparsely used units into the
 * holes of fuller ones, so that a discard can give whole units back to the
 * host. A unit is what the host gets back in one piece: a cluster of the
 * image's layer, or one of its blocks.
 *
 *   fs.c     the file system: its geometry, files by inode number, trim
 *   space.c  which blocks are used (FS_IOC_GETFSMAP), counted by unit
 *   below.c  which of them layers below show
 *   walk.c   which of them are files' data, and whose (FIEMAP)
 *   plan.c   which units to empty into which
 *   donor.c  free blocks of the wanted units, held by an unnamed file
 *   move.c   the exchange (EXT4_IOC_MOVE_EXT) and giving back
 *
 * INVARIANTS
 *   1. Nothing of a file but the place of its blocks is ever changed: not its
 *      content, times, attributes.
 *   2. All state on disk is in files without a name: whatever ends the
 *      program, the kernel frees what it held.
 *   3. The room taken from the file system at a time is at most
 *      pack_hold_limit(), and never the last of it.
 *
 * Numbers: block = file system block, unit = run of unit_blocks blocks from
 * the start of the device. All functions answer 0 or -errno unless said.
 */
#ifndef PLOOP_TOOLS_PACK_H
#define PLOOP_TOOLS_PACK_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "../load.h"

/* Of a unit. */
struct pack_unit {
	uint32_t used; /* blocks in use, by anything, of the top layer */
	uint32_t below; /* blocks in use that layers below show */
	uint32_t movable; /* of those: data of files that can be moved */
	bool victim; /* to be emptied */
};

/* A run of a file's blocks in one candidate unit. */
struct pack_piece {
	uint64_t block; /* where it is */
	uint32_t ino, lblk, len;
};

struct pack_skipped {
	uint64_t files; /* that cannot be moved */
	uint64_t blocks; /* theirs */
};

struct pack {
	int root; /* the mount's root directory */
	dev_t dev;
	char device[32]; /* its name in /sys, "loop3" */
	uint32_t block_size;
	uint32_t group_blocks;
	uint32_t flex_groups; /* groups that share their metadata's place */
	uint64_t blocks; /* of the device */
	uint32_t inodes;
	/* by inode number, a bit each */
	uint8_t *seen; /* in this walk */
	uint8_t *stuck; /* could not be moved before */
	/* what layers below show, a bit for each block; NULL = nothing */
	uint8_t *below;
	uint32_t unit_blocks;
	uint64_t units;
	struct pack_unit *unit;

	/* candidates: units with at most this many blocks in use */
	uint32_t candidate_used;
	struct pack_piece *piece;
	size_t pieces, pieces_cap;
	uint64_t files;
	struct pack_skipped skipped;

	/* what the plan comes to */
	uint64_t used_blocks;
	uint64_t held_units, ideal_units; /* not empty; if all were packed */
	uint64_t victims, move_blocks;

	/* what was done */
	uint64_t moved_blocks, moved_pieces, busy_pieces, emptied_units;
	uint64_t trimmed_bytes;

	/* limits; 0 = none */
	uint64_t rate; /* bytes per second */
	uint64_t deadline_ns;
	struct load load; /* others who use the device */
	double max_fill; /* of a unit that is worth emptying */

	/* told after each step, may be NULL */
	void (*progress)(const struct pack *p);
	int *stop; /* the signal that asked to stop, 0 = none */
};

/* ---- fs.c ---- */

/* Why it did not work, for people. */
extern char pack_why[256];

/* Opens what path is the mount point of; unit_bytes as given to the program. */
int pack_open(struct pack *p, const char *path, uint64_t unit_bytes);
void pack_close(struct pack *p);
/* A file by inode number; flags as of open(2). -1 and errno. */
int pack_open_inode(const struct pack *p, uint32_t ino, int flags);
/* Blocks that may be held at a time: see INVARIANTS. */
uint64_t pack_hold_limit(const struct pack *p);
int pack_trim(struct pack *p, uint64_t block, uint64_t len);
uint64_t pack_now_ns(void);

/* Bits by inode number; numbers beyond the last are never set. */
bool pack_inode_bit(const struct pack *p, const uint8_t *bits, uint32_t ino);
void pack_set_inode_bit(const struct pack *p, uint8_t *bits, uint32_t ino);

/* ---- space.c ---- */

/* What is free, in order of place. */
typedef int pack_free_fn(void *arg, uint64_t block, uint64_t len);

int pack_read_space(struct pack *p);
int pack_each_free(struct pack *p, uint64_t block, uint64_t len,
		   pack_free_fn *fn, void *arg);

/* ---- below.c ---- */

/* Lines "offset length" in bytes, up to an empty one. */
int pack_read_below(struct pack *p, FILE *from);
bool pack_below(const struct pack *p, uint64_t block);
uint32_t pack_count_below(const struct pack *p, uint64_t block, uint32_t len);
/* The blocks are the top's now. */
void pack_written(struct pack *p, uint64_t block, uint32_t len);

/* ---- walk.c ---- */

int pack_walk(struct pack *p);

/* ---- plan.c ---- */

void pack_plan(struct pack *p);

/* ---- move.c ---- */

/* Does what was planned. */
int pack_move(struct pack *p);

#endif
