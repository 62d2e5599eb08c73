/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plain model of an image: one 32-bit value per 512-byte sector, snapshots as
 * copies, and for each sector the set of values a crash may leave.
 */
#ifndef PL_TEST_MODEL_H
#define PL_TEST_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "chain/chain.h"
#include "image/image.h"
#include "store/store.h"

#define MODEL_MAX_SECTORS (64u * 1024u)
#define MODEL_HISTORY 24u
#define MODEL_SNAPSHOTS 12u

struct model_sector {
	uint32_t value; /* what a read gives now */
	uint32_t allowed[MODEL_HISTORY]; /* flushed, then everything since */
	uint32_t n_allowed;
};

struct model_snapshot {
	char id[PL_ID_LEN + 1];
	uint32_t *values;
	uint64_t sectors;
};

/* The operation under way, for what a crash in the middle of it may leave. */
enum model_busy {
	MODEL_IDLE, /* or reading, writing, flushing, compacting */
	MODEL_SNAPSHOT,
	MODEL_SWITCH,
	MODEL_SWITCH_KEEPING,
	MODEL_DELETE,
	MODEL_GROW,
	MODEL_SHRINK,
};

struct model {
	struct pl_dir *dir;
	struct pl_image *img;
	struct pl_chain *ch;
	struct model_sector *s;
	uint64_t sectors, most; /* most: it does not grow beyond */
	uint32_t block_size, next_value;
	struct model_snapshot snap[MODEL_SNAPSHOTS];
	unsigned n_snap, max_snap;
	uint64_t seed;
	enum model_busy busy;
	struct model_snapshot *target; /* of a switch or delete */
	/* The disk at the switch of the snapshot under way; NULL = before it. */
	struct model_sector *taken;
	uint64_t resized; /* sectors after the grow or shrink under way */
	char top[PL_ID_LEN + 1]; /* the top layer, before the operation */
	uint64_t reclaimed; /* bytes of hidden layers that went back */
	char what[300]; /* what went wrong */
};

uint64_t model_random(struct model *m, uint64_t below);
/* Creates the image in dir and opens it. */
bool model_init(struct model *m, struct pl_dir *dir, uint32_t block_size,
		uint64_t size, uint64_t seed);
void model_fini(struct model *m);
/* "format" into m->what; always false. */
bool model_trouble(struct model *m, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/*
 * Memory of the test itself: zeroed, never NULL, and not counted by the loop
 * over failed allocations (memory_test.c).
 */
void *model_alloc(size_t n, size_t size);

enum model_op {
	MODEL_OP_WRITE,
	MODEL_OP_ZERO,
	MODEL_OP_DISCARD,
	MODEL_OP_FLUSH,
	MODEL_OP_SNAPSHOT,
	MODEL_OP_SWITCH,
	MODEL_OP_SWITCH_KEEPING, /* the state before, as a snapshot */
	MODEL_OP_DELETE,
	MODEL_OP_DELETE_LIVE, /* with the chain open */
	MODEL_OP_GROW,
	MODEL_OP_SHRINK, /* closes, and opens again */
	MODEL_OP_COMPACT,
	MODEL_OP_RECLAIM_HIDDEN,
	MODEL_OP_CLOSE, /* and open again */
	MODEL_OPS,
};
/* This operation with random arguments; false = it failed, see m->what. */
bool model_do(struct model *m, enum model_op op);
/* To, and of, the snapshot m->snap[i]. */
bool model_switch(struct model *m, unsigned i);
bool model_delete(struct model *m, unsigned i);
bool model_delete_live(struct model *m, unsigned i);
/* Some snapshot holds what the disk does. */
bool model_is_kept(const struct model *m);
/*
 * Gives the image a layer that no snapshot shows and two branches need, with
 * blocks that neither sees; nothing where there is no room for two snapshots.
 */
bool model_branch(struct model *m);
/*
 * Deletes a snapshot of a disk that was shrunk since and hardly written to, so
 * that its layer is cut and takes the rest; nothing where there is no room.
 */
bool model_cut(struct model *m);
/* One random operation with its check; false = see m->what. */
bool model_step(struct model *m);
/* Compares the whole disk, and checks the image when it is closed. */
bool model_verify_all(struct model *m);

#endif
