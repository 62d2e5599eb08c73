/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One native layer: a file that maps virtual clusters to host clusters.
 *
 * The layer keeps the map, the journal and the free space; the chain above
 * moves the data and decides what is owned. Calls marked (suspends) may wait
 * for I/O; state read before such a call may be stale after it.
 *
 * DURABILITY
 *   A change of the map is pending when pl_layer_set() returns: kept in
 *   `pending`, where it outlives the process, but not a crash of the host.
 *   pl_layer_flush() makes everything pending and all data written before
 *   durable.
 *
 * Numbers: cno = virtual cluster, where = host cluster, page_no = map page.
 */
#ifndef PLOOP_LAYER_LAYER_H
#define PLOOP_LAYER_LAYER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "format/format.h"
#include "layer/damage.h"
#include "store/store.h"

struct pl_layer;

/* ---- pending changes ---- */

/*
 * Memory for map changes that are not in the journal yet. Over a memfd it
 * survives the worker; a layer that is opened with what a dead worker left
 * goes on where that one stopped. It has room for two layers: a top, and the
 * one that was the top until a snapshot.
 */
struct pl_pending;
#define PL_PENDING_SIZE (2u * (4096u + 4096u * 32u)) /* bytes of the memfd */

/*
 * fd: a memfd (kept by the caller; one of an earlier program is made larger),
 * or -1 = private.
 */
int pl_pending_new(struct pl_pending **ret, int fd, struct pl_err *err);
void pl_pending_free(struct pl_pending *p); /* accepts NULL */

/* ---- life ---- */

struct pl_layer_params {
	struct pl_uuid uuid, parent; /* parent nil = base */
	uint64_t virtual_size; /* bytes, multiple of block_size */
	uint32_t block_size;
	const char *label; /* NULL = none */
};

/* Writes an empty layer into st and syncs it. */
int pl_layer_create(struct pl_store *st, const struct pl_layer_params *params,
		    struct pl_err *err);

#define PL_LAYER_WRITE 1u
#define PL_LAYER_MAINTAIN 2u /* with WRITE: a sealed layer, too */
/*
 * Without WRITE: a large directory is not read, and not verified, as a whole,
 * but each of its pages when it is needed first, as map pages are.
 */
#define PL_LAYER_LAZY 4u

/*
 * Takes over st on success. Replays the journal in memory where needed and
 * changes nothing on disk unless PL_LAYER_WRITE. pending: NULL = private.
 */
int pl_layer_open(struct pl_layer **ret, struct pl_store *st, unsigned flags,
		  struct pl_pending *pending, struct pl_err *err);

/*
 * A writable layer is flushed, checkpointed and marked clean first (suspends);
 * when that fails the layer is closed all the same and opens by replay.
 */
int pl_layer_close(struct pl_layer *ly, struct pl_err *err); /* accepts NULL */

/* Closes without writing anything, as a crash would. For tests and errors. */
void pl_layer_abandon(struct pl_layer *ly);

/*
 * Does now what the first change would have to wait for: the header says "not
 * clean" (suspends). For a top that is about to take over.
 */
int pl_layer_begin(struct pl_layer *ly);

/*
 * Flush, checkpoint, state = sealed, no journal; read-only afterwards. Others
 * may read meanwhile.
 */
int pl_layer_seal(struct pl_layer *ly, struct pl_err *err); /* suspends */

/* Of one open to be maintained: it is to be a top again (suspends). */
int pl_layer_unseal(struct pl_layer *ly, struct pl_err *err);

/*
 * Grow and shrink the virtual size, durably and at one moment, while nothing
 * else changes the map (suspend). grow_over: blocks of the new part that layers
 * below own, as fn tells for each map page before below_end (bytes), are owned
 * as zeros at the same moment. shrink: what the layer said about the rest is
 * gone, and its host space free; what layers below say is not touched.
 */
typedef int pl_layer_below_fn(void *arg, uint64_t page_no,
			      uint64_t owned[PL_PAGE_ENTRIES]);
int pl_layer_grow(struct pl_layer *ly, uint64_t virtual_size,
		  struct pl_err *err);
int pl_layer_grow_over(struct pl_layer *ly, uint64_t virtual_size,
		       uint64_t below_end, pl_layer_below_fn *fn, void *arg,
		       struct pl_err *err);
int pl_layer_shrink(struct pl_layer *ly, uint64_t virtual_size,
		    struct pl_err *err);

/* Changes the parent it names, durably (suspends). */
int pl_layer_set_parent(struct pl_layer *ly, const struct pl_uuid *parent);
/* Somebody else who has the file open did so. */
void pl_layer_note_parent(struct pl_layer *ly, const struct pl_uuid *parent);

/* ---- damaged layers ---- */

/*
 * Opens a layer in spite of damage, which is told: what does not hold is left
 * out of the map. flags: 0 only looks; PL_LAYER_WRITE makes the file hold what
 * the map in memory does, at the latest when it is closed or sealed. Takes over
 * st on success; fails when there is no good header. ret_records: of the
 * journal, that apply; may be NULL.
 */
int pl_layer_open_damaged(struct pl_layer **ret, struct pl_store *st,
			  unsigned flags, const struct pl_damage_sink *sink,
			  uint64_t *ret_records, struct pl_err *err);
/* Writes the header anew, over the copy that does not count (suspends). */
int pl_layer_renew_header(struct pl_layer *ly);

/*
 * Around writing a table of block checksums behind a sealed, clean layer that
 * is open for reading: the header is not clean and names no table meanwhile, and
 * names this one afterwards (pages 0: none) (suspend).
 */
int pl_layer_begin_sums(struct pl_layer *ly);
int pl_layer_end_sums(struct pl_layer *ly, uint64_t off, uint64_t pages);

/* ---- what it is ---- */

const struct pl_header *pl_layer_header(const struct pl_layer *ly);
const char *pl_layer_id(const struct pl_layer *ly); /* UUID text */
struct pl_store *pl_layer_store(const struct pl_layer *ly);
bool pl_layer_writable(const struct pl_layer *ly);
uint64_t pl_layer_page_count(const struct pl_layer *ly);
/*
 * Where a map page is in the file, bytes; 0 = it has no place yet. Of a LAZY
 * layer after pl_layer_page().
 */
uint64_t pl_layer_page_location(const struct pl_layer *ly, uint64_t page_no);
/* Of a writable layer: host clusters in use after the metadata's. */
uint64_t pl_layer_used(const struct pl_layer *ly);
/* Of a writable layer: clusters in use by data. */
uint64_t pl_layer_clusters(const struct pl_layer *ly);

/*
 * What gave somebody an error that stays, the latest; NULL = nothing since the
 * layer was opened: a part of the map that was found damaged when it was needed
 * (EUCLEAN), or a sync that failed, after which every flush does.
 */
struct pl_layer_trouble {
	int error; /* EUCLEAN, else what the sync said */
	const char *what; /* "map page", "directory page"; "sync" */
	const char *why; /* "checksum mismatch", ...; the rest is of EUCLEAN */
	uint64_t number; /* of the page */
	uint64_t off; /* in the layer's file, bytes */
	uint64_t first, end; /* what it tells of, bytes of the disk */
};
const struct pl_layer_trouble *pl_layer_trouble(const struct pl_layer *ly);

/* ---- the map ---- */

/* The entry of a cluster, zeros beyond the end (suspends). */
int pl_layer_entry(struct pl_layer *ly, uint64_t cno, struct pl_entry *ret);
/* The same when it is in memory; false when it would have to be read. */
bool pl_layer_peek(struct pl_layer *ly, uint64_t cno, struct pl_entry *ret);
/* A whole map page, uncached for a read-only layer (suspends). */
int pl_layer_page(struct pl_layer *ly, uint64_t page_no,
		  struct pl_entry entries[PL_PAGE_ENTRIES]);
/* False when the page certainly owns nothing, without reading it. */
bool pl_layer_page_present(const struct pl_layer *ly, uint64_t page_no);

/*
 * Makes sure that the cluster has a host cluster; a new one reads as zeros
 * (suspends).
 */
int pl_layer_map(struct pl_layer *ly, uint64_t cno, uint64_t *ret_where);

/*
 * Sets the entry (suspends). ordered: data written before must be durable
 * before the entry is (blocks newly owned over parent data).
 */
int pl_layer_set(struct pl_layer *ly, uint64_t cno, struct pl_entry entry,
		 bool ordered);

/*
 * Adds owned bits to whatever the entry is by then (suspends). For several
 * writers of one cluster at a time; all bits inside the virtual size.
 */
int pl_layer_own(struct pl_layer *ly, uint64_t cno, uint64_t mask,
		 bool ordered);

/*
 * A host cluster that no entry refers to any more and that the caller has
 * punched. It is handed out again after the next flush. When its content was
 * not discarded but moved, flush before punching.
 */
void pl_layer_free_cluster(struct pl_layer *ly, uint64_t where);

/*
 * May unowned blocks of the cluster's host cluster be taken for zeros? Not
 * after a crash, when unfinished writes may have left something there.
 */
bool pl_layer_trusts(struct pl_layer *ly, uint64_t cno);
/* A data write failed: trust nothing from now on. */
void pl_layer_distrust(struct pl_layer *ly);
uint64_t pl_layer_distrusted(const struct pl_layer *ly); /* how often */
/* Do unowned blocks need punching (PL_HEADER_STALE)? */
bool pl_layer_stale(const struct pl_layer *ly);
/*
 * Every unowned block was punched; trusted again, durably with the next
 * header, unless something failed since the count was `since` (suspends).
 */
int pl_layer_trust(struct pl_layer *ly, uint64_t since);

/* Data was written or punched: the next flush has something to sync. */
void pl_layer_touch(struct pl_layer *ly);

/*
 * Everything written and set before is durable (suspends). After a failed sync
 * every later flush fails, too: what was lost can't be told any more.
 */
int pl_layer_flush(struct pl_layer *ly);

/*
 * What was written and set before this call is durable when the flush of this
 * number is done, whoever asks for it. So maintenance can let the disk's own
 * flushes do the work.
 */
uint64_t pl_layer_next_flush(const struct pl_layer *ly);
bool pl_layer_flushed(const struct pl_layer *ly, uint64_t number);

/*
 * Data that was written before is durable, changes of the map need not be. For
 * maintenance: the flush that makes a change durable has nothing to wait for.
 */
int pl_layer_sync_data(struct pl_layer *ly);

/* Flush, then the map pages in place and an empty journal (suspends). */
int pl_layer_checkpoint(struct pl_layer *ly);

/*
 * Shortens the file to its last used cluster (suspends); *ret_len is the
 * length after.
 */
int pl_layer_trim_tail(struct pl_layer *ly, uint64_t *ret_len);

/* Host clusters up to and including the last used one. */
uint64_t pl_layer_end(const struct pl_layer *ly);
/* A free host cluster below `limit`, or 0. It reads as zeros. */
uint64_t pl_layer_take_below(struct pl_layer *ly, uint64_t limit);
/*
 * Moves map pages that lie in host clusters at or above `limit` below it, as
 * far as there is room (suspends).
 */
int pl_layer_move_maps(struct pl_layer *ly, uint64_t limit);

#endif
