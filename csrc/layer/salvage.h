/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files that open damaged layers share (salvage*.c), and what the
 * ordinary way of opening asks of them when `ly->salvage` is set.
 */
#ifndef PLOOP_LAYER_SALVAGE_H
#define PLOOP_LAYER_SALVAGE_H

#include "layer/layer_int.h"

/* Two entries name one host cluster: this one gets its own. */
struct salvage_twin {
	uint64_t cno, where;
};

struct salvage {
	const struct pl_damage_sink *sink;
	uint64_t found; /* how often the sink was called */
	uint64_t records; /* of the journal, that apply */
	bool writing; /* changes are made, not only told */
	bool journal_told;
	bool *bad_dirs; /* by directory page: to be written anew */

	uint64_t size,
		n_clusters; /* of the file: bytes; clusters, rounded up */
	uint64_t limit; /* the bitmaps' */
	uint64_t *used,
		*meta; /* bit per host cluster: by anything; by metadata */
	uint64_t *owned; /* by host cluster: the blocks that are owned */
	struct salvage_twin *twins;
	size_t n_twins, cap_twins;
	uint64_t cut_blocks,
		cut_cno; /* owned blocks beyond the end; the first */
	uint64_t cut_pages; /* map pages beyond the end */
};

void salvage_found(struct pl_layer *ly, enum pl_damage kind, uint64_t off,
		   const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* ---- asked by replay.c when something does not hold ---- */

/* Keeps the entries of a bad directory page that map pages prove. */
int salvage_dir_page(struct pl_layer *ly, uint64_t dpno,
		     struct pl_dir_entry *entries);
/* The entry has a place where no map page can be: empties it. */
void salvage_dir_entry(struct pl_layer *ly, uint64_t page_no,
		       struct pl_dir_entry *entry);
/* The raw entries of a map page that nothing heals. */
int salvage_map_page(struct pl_layer *ly, uint64_t page_no,
		     struct pl_entry *entries);
/* Something in the journal that can't be applied. */
void salvage_journal(struct pl_layer *ly, uint64_t lsn, const char *what);
/*
 * Is a bad record at buf followed by one that was written later? Then it was
 * whole once, and its followers are still good. Returns its length, or 0.
 */
uint32_t salvage_record(const char *buf, size_t avail, uint64_t lsn,
			uint32_t *ret_crc);

/* ---- salvage_map.c, salvage_space.c ---- */

/* Looks at all entries; leaves in memory only what holds. */
int salvage_map(struct pl_layer *ly);
/* Looks for bytes where a layer without STALE says that zeros are. */
int salvage_space(struct pl_layer *ly);
/* Gives each twin a host cluster of its own. */
int salvage_part_twins(struct pl_layer *ly);

#endif
