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
};

/*
 * Copies into `child`, open for writing, what `parent` owns and it does not, so
 * that child alone says what both said. Safe to interrupt and repeat: at any
 * point the two together read the same. Flushed when it returns 0.
 */
int pl_merge(struct pl_layer *child, struct pl_layer *parent,
	     const struct pl_maint_progress *progress);

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

/* Clusters allocated and bytes owned, by reading the whole map. */
int pl_layer_count(struct pl_layer *ly, uint64_t *ret_clusters,
		   uint64_t *ret_owned_bytes);

/* ---- check ---- */

struct pl_check_sink {
	/* One finding: what is wrong and where in the file (bytes). */
	void (*found)(void *arg, enum pl_code code, uint64_t off,
		      const char *text);
	void *arg;
};

struct pl_check_layer {
	uint64_t map_pages, clusters;
	struct pl_header hdr; /* valid when `opened` */
	bool opened;
};

/*
 * Reads all metadata of one layer file. Takes over st. Returns 0 when the
 * check could be made, whatever it found.
 */
int pl_check_layer_file(struct pl_store *st, const struct pl_check_sink *sink,
			struct pl_check_layer *ret);

#endif
