/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of this module share.
 *
 * INVARIANTS
 *  1. Every change of an entry in memory has an entry in `pending` until its
 *     record is durable; so page images written by a checkpoint follow from
 *     the journal alone, and a torn one can be healed.
 *  2. A page image contains no change whose record is not durable.
 *  3. A host cluster is handed out only when it reads as zeros and nothing
 *     that could become durable refers to it.
 *  4. Before the first change of a session the header says "not clean".
 *  5. After `failed` is set nothing is ever reported as flushed.
 *
 * LOCKING (coroutines of one thread)
 *  flush_lock: one flush, checkpoint or header write at a time. load_lock: one page load at
 *  a time. Order: flush_lock before load_lock.
 */
#ifndef PLOOP_LAYER_LAYER_INT_H
#define PLOOP_LAYER_LAYER_INT_H

#include "base/co.h"
#include "layer/layer.h"

#define PENDING_CAPACITY 4096u
#define MPAGE_LIMIT 1024u /* map pages in memory, 4 MiB of entries */
#define DIRTY_LIMIT 256u /* map pages, before a checkpoint is due */
#define GROW_STEP (64ull << 20) /* bytes the file grows by at a time */

/* Is that part of the directory which tells of this map page not read yet? */
#define dir_unread(ly, page_no) \
	((ly)->unread && (ly)->unread[(page_no) / PL_DIR_ENTRIES])

/* ---- pending.c ---- */

#define PENDING_ORDERED 1u

struct pending_entry {
	uint64_t cno;
	struct pl_entry entry;
	uint64_t flags;
};

struct pending_head {
	uint64_t magic;
	uint32_t version, capacity;
	struct pl_uuid layer;
	uint64_t head, tail; /* entries ever added, ever made durable */
};

/* One layer's. */
struct pending {
	struct pending_head *head;
	struct pending_entry *ring;
	bool taken; /* by an open layer */
};

#define PENDING_SLOTS 2u

struct pl_pending {
	struct pending slot[PENDING_SLOTS];
};

static inline struct pending_entry *pending_at(struct pending *p, uint64_t pos)
{
	return &p->ring[pos % PENDING_CAPACITY];
}

/*
 * The slot that holds this layer's changes, else an empty one that no open
 * layer uses; NULL = there is none.
 */
struct pending *pending_take(struct pl_pending *p, const struct pl_uuid *layer);
/* The layer is closed; what it left in there stays. Accepts NULL. */
void pending_give_back(struct pending *p);
bool pending_full(const struct pending *p);
void pending_add(struct pending *p, const struct pending_entry *e);
/* Adds owned bits (and order) to an entry that is there already. */
void pending_update(struct pending *p, uint64_t pos, uint64_t owned,
		    uint64_t flags);
void pending_advance(struct pending *p, uint64_t tail);

/* ---- the map in memory: mpage.c ---- */

struct mpage {
	struct pl_entry entry[PL_PAGE_ENTRIES];
	uint32_t slot[PL_PAGE_ENTRIES]; /* low bits of the pending position */
	uint64_t fresh[PL_PAGE_ENTRIES / 64]; /* allocated in this session */
	uint64_t page_no;
	struct mpage *prev, *next; /* eviction order, oldest first */
	bool dirty, writing, used; /* writing: its image is on the way */
	bool damaged; /* what it holds could not be proven (salvage.c) */
};

/* ---- free space: alloc.c ---- */

struct freed {
	uint64_t where, after; /* free once pending.tail > after */
};

/*
 * Clusters behind a file's end that a writer puts up with (FMT-052): a crash can
 * lose the file's length, but not by more than was ahead.
 */
#define BEYOND_END_MAX 65536u

struct alloc {
	uint64_t *used; /* bit per host cluster */
	uint64_t n, cap; /* clusters in the file; bits allocated */
	uint64_t n_used, n_free; /* data clusters; zeroed free ones below n */
	uint64_t cursor; /* next fit */
	uint64_t file_clusters; /* what the file's length covers */
	struct freed *freed;
	size_t n_freed, cap_freed;
	uint64_t meta_next; /* next free map page place, bytes; 0 = none */
};

struct pl_layer {
	struct pl_store *st;
	struct pl_header hdr;
	unsigned slot; /* header copy that is current */
	char id[PL_UUID_TEXT];
	bool writable, marked_dirty, trusted, failed, data_dirty;
	/* Overwritten in place by a process that died? Not synced since opening. */
	bool unsynced;

	struct pl_dir_entry *dir; /* page_count entries */
	bool *unread; /* by directory page; NULL = all of them are in dir */
	struct mpage **pages; /* page_count pointers */
	uint64_t page_count;
	struct mpage *oldest, *newest;
	unsigned n_pages, n_dirty;

	struct pending *pending;
	struct pl_pending *own_pending; /* NULL = the caller's */
	uint64_t distrusted; /* how often pl_layer_distrust() was called */
	uint64_t batch_start; /* pending entries from here on may be updated */

	uint64_t journal_head; /* LSN of the next record */
	uint32_t journal_crc; /* chain value before it */

	struct pl_comutex flush_lock, load_lock;
	uint64_t flush_started, flush_done;

	struct alloc alloc;

	struct salvage *salvage; /* while a damaged layer is opened */
	struct pl_layer_trouble trouble; /* what NULL = none */
};

struct mpage *mpage_get(struct pl_layer *ly, uint64_t page_no);
/* Loads the page when needed (suspends). */
int mpage_load(struct pl_layer *ly, uint64_t page_no, struct mpage **ret);
int mpage_new(struct pl_layer *ly, uint64_t page_no, struct mpage **ret);
void mpage_mark_dirty(struct pl_layer *ly, struct mpage *mp);
void mpage_free_all(struct pl_layer *ly);
/* Clean pages from page_no on are forgotten. */
void mpage_forget_from(struct pl_layer *ly, uint64_t page_no);
/* Reads and verifies a page from the file. */
int mpage_read(struct pl_layer *ly, uint64_t page_no,
	       struct pl_entry entries[PL_PAGE_ENTRIES]);

/* Of `pages` map pages from `first` on; returns -EUCLEAN. */
int layer_troubled(struct pl_layer *ly, struct pl_layer_trouble trouble,
		   uint64_t first, uint64_t pages);

/* ---- alloc.c ---- */

/* Marks what the map uses; for a writable layer only (suspends). */
int alloc_scan(struct pl_layer *ly, struct pl_err *err);
/* After a crash: punches what free clusters hold, shortens the file, syncs. */
int alloc_sanitize(struct pl_layer *ly);
int alloc_take(struct pl_layer *ly, uint64_t *ret_where);
/* `count` adjacent clusters at the end of the file. */
int alloc_take_run(struct pl_layer *ly, uint64_t count, uint64_t *ret_where);
void alloc_free_now(struct pl_layer *ly, uint64_t where);
bool alloc_is_used(const struct pl_layer *ly, uint64_t where);
void alloc_free_later(struct pl_layer *ly, uint64_t where);
/* After a flush: clusters whose release is durable can be used again. */
void alloc_release(struct pl_layer *ly);
/* Gives a map page a place, with host space behind it (suspends). */
int alloc_map_page(struct pl_layer *ly, uint64_t page_no);
uint64_t alloc_end(const struct pl_layer *ly);
void alloc_fini(struct pl_layer *ly);

/* ---- commit.c, replay.c, open.c ---- */

int replay(struct pl_layer *ly, struct pl_err *err);
int load_directory(struct pl_layer *ly, bool lazy, struct pl_err *err);
/* Reads what of it says where this map page is (suspends). */
int need_directory(struct pl_layer *ly, uint64_t page_no);
int layer_read_header(struct pl_layer *ly, struct pl_err *err);
int layer_alloc_tables(struct pl_layer *ly);
/* Is there no room to count headers or the journal on? (FMT-014, FMT-015) */
bool layer_counted_out(const struct pl_header *hdr);
int layer_open_writable(struct pl_layer *ly, unsigned flags,
			struct pl_pending *pending, struct pl_err *err);
void layer_free_parts(struct pl_layer *ly);
/* Takes flush_lock. */
int mark_dirty(struct pl_layer *ly);
/* Under flush_lock. clean: the journal is empty afterwards, header says so. */
int commit_checkpoint(struct pl_layer *ly, bool clean);
int commit_header(struct pl_layer *ly);
/* A failed one is for ever (invariant 5). */
int commit_sync(struct pl_layer *ly);
int commit_place_pages(struct pl_layer *ly);

#endif
