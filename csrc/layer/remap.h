/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Growing and shrinking: one header, written when everything it points to is
 * durable, is the moment of the change (FMT-079, FMT-088, FMT-089). Between
 * remap_layer() and its callback stands the map as it is to be.
 */
#ifndef PLOOP_LAYER_REMAP_H
#define PLOOP_LAYER_REMAP_H

#include "layer/layer_int.h"

/* The map as it is to be. */
struct remap {
	struct pl_layer *ly;
	struct pl_header hdr;
	struct pl_dir_entry *dir;
	uint64_t page_count;
	bool anew; /* the directory goes to another place */
	uint64_t place; /* for the next map page, bytes; 0 = none */
	/* The page that both sizes have in part, and what it is to be. */
	uint64_t last_no;
	struct pl_entry last[PL_PAGE_ENTRIES];
	bool last_changes;
	/* Host clusters that nothing will use, a bit for each. */
	uint64_t *left;
	uint64_t n_left; /* bits */
	uint64_t n_data; /* of these clusters, with data */
	struct mpage **pages; /* of page_count */
};

typedef int remap_change_fn(struct remap *m, void *arg);

/*
 * Takes flush_lock; change() says what else the new size asks for. 0, or a
 * failure, after which the layer has the one size or the other.
 */
int remap_layer(struct pl_layer *ly, uint64_t virtual_size,
		remap_change_fn *change, void *arg);

uint64_t remap_cluster_size(const struct remap *m);
/* Reads m->last, the map page that both sizes have a part of. */
int remap_load_last(struct remap *m);
/* Writes a map page at a place of its own. */
int remap_page(struct remap *m, uint64_t page_no,
	       const struct pl_entry entries[PL_PAGE_ENTRIES]);
/* Nothing will use this host cluster any more. */
void remap_leave(struct remap *m, uint64_t cluster);

#endif
