/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Maintenance of layers: merge, compact, check. Nothing here knows of
 * descriptors; see image/.
 */
#ifndef PLOOP_MAINT_MAINT_H
#define PLOOP_MAINT_MAINT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "chain/chain.h"
#include "layer/layer.h"

/* Work done and to do, in one unit; false = stop (-ECANCELED). */
typedef bool pl_maint_progress_fn(void *arg, uint64_t done, uint64_t total);

struct pl_maint_progress {
	pl_maint_progress_fn *fn; /* NULL = not wanted */
	void *arg;
	/* Waits as long as these bytes may take; NULL = as fast as it goes. */
	void (*pace)(void *arg, uint64_t bytes);
	/*
	 * Before a flush of its own: waits a moment for one of those who use the
	 * disk, for the turn-th time; false: do not wait. NULL = never.
	 */
	bool (*await_flush)(void *arg, unsigned turn);
	/* Does anybody use the disk meanwhile? NULL = nobody. */
	bool (*others)(void *arg);
};

/*
 * Merging two layers of which nobody shows the lower one by itself. Safe to
 * interrupt (-ECANCELED) and repeat: at any point the two together read the
 * same. live: the chain that both are in while requests use it; NULL = none
 * does, or the child is sealed and merged upwards. total: data bytes to move,
 * for progress (pl_merge_cost).
 *
 * Up: the child, open for writing, takes what the parent owns and it does not,
 * and alone says what both said when it returns 0, flushed.
 */
int pl_merge_up(struct pl_layer *child, struct pl_layer *parent,
		struct pl_chain *live, uint64_t total,
		const struct pl_maint_progress *progress);
/*
 * Down: the parent takes what the child owns, and the child owns nothing any
 * more, except what was written to it meanwhile; both open for writing, the
 * parent as large as the child. Durable when it returns 0.
 */
int pl_merge_down(struct pl_layer *child, struct pl_layer *parent,
		  struct pl_chain *live, uint64_t total,
		  const struct pl_maint_progress *progress);

struct pl_merge_cost {
	uint64_t up, down; /* bytes of data that each direction moves */
	uint64_t down_clusters; /* that have anything to move */
};
/* By reading both maps. */
int pl_merge_cost(struct pl_layer *child, struct pl_layer *parent,
		  struct pl_merge_cost *ret);

struct pl_compact_stats {
	uint64_t freed, moved; /* clusters */
	uint64_t length; /* of the file afterwards, bytes */
};

/*
 * On the top of a chain, beside requests: gives back host clusters without
 * data, moves data and map pages from the file's tail into free clusters and
 * shortens the file.
 */
int pl_compact(struct pl_chain *ch, const struct pl_maint_progress *progress,
	       struct pl_compact_stats *ret);

/* Blocks first to first + n - 1 of a host cluster. */
struct pl_hole {
	uint64_t where;
	unsigned first, n;
};

/*
 * Of a sealed, clean layer, open for reading over a store that can be written:
 * punches blocks that nobody sees, whose owners above are durable. Its map
 * stays; block checksums are those of zeros then (suspends). Interrupted: the
 * same again.
 */
int pl_layer_punch_hidden(struct pl_layer *ly, const struct pl_hole *holes,
			  unsigned n);

#define PL_FULLNESS 8u /* classes of how full a cluster is */

/* What a layer's map says it holds. */
struct pl_layer_count {
	uint64_t clusters; /* with host space */
	uint64_t owned, data; /* blocks; data: those with host space */
	/* Clusters by their data: [0] up to 1/8 full, [7] more than 7/8. */
	uint64_t full[PL_FULLNESS];
};

/* Reads the whole map (suspends). */
int pl_layer_count(struct pl_layer *ly, struct pl_layer_count *ret);

/* ---- check ---- */

struct pl_check_layer {
	uint64_t map_pages, clusters, journal_records;
	uint64_t verified, uncovered; /* owned blocks with data; with --data */
	struct pl_header hdr; /* valid when `opened` */
	bool opened;
	bool sums; /* it has block checksums */
};

/*
 * Reads all metadata of one layer file, with `data` also the blocks that have
 * checksums. Takes over st. Returns 0 when the check could be made, whatever it
 * found.
 */
int pl_check_layer_file(struct pl_store *st, bool data,
			const struct pl_damage_sink *sink,
			struct pl_check_layer *ret, struct pl_err *err);

/* ---- block checksums (FMT-120 ff.) ---- */

/*
 * Compares the table with itself, with `data` also the blocks with the table;
 * fills verified, uncovered and sums of ret.
 */
int pl_checksums_verify(struct pl_layer *ly, bool data,
			const struct pl_damage_sink *sink,
			struct pl_check_layer *ret, struct pl_err *err);

/*
 * Gives a sealed, clean layer without block checksums a table of them. st is
 * open for writing and taken over. *ret_added: false when it has them already,
 * or is not sealed or not clean. Safe to interrupt (suspends); beside readers
 * of the layer, but no other writer.
 */
int pl_checksums_add(struct pl_store *st,
		     const struct pl_maint_progress *progress, bool *ret_added,
		     struct pl_err *err);
/* The same for a layer that is open, with a store that is open for writing. */
int pl_checksums_add_to(struct pl_layer *ly,
			const struct pl_maint_progress *progress,
			bool *ret_added, struct pl_err *err);

#endif
