/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of this module share.
 *
 * LOCKING (coroutines): every request holds the clusters it touches, shared
 * (reads; writes of whole blocks; writes into owned blocks) or exclusive
 * (everything that reads, changes and writes back, or gives a host cluster
 * up). Several are taken in ascending order.
 */
#ifndef PLOOP_CHAIN_CHAIN_INT_H
#define PLOOP_CHAIN_CHAIN_INT_H

#include "base/co.h"
#include "chain/chain.h"

#define LOCK_BUCKETS 256u

struct cluster_lock {
	uint64_t cno;
	unsigned shared, refs, wanted; /* wanted: exclusive ones that wait */
	bool exclusive;
	struct pl_waitq waiters;
	struct cluster_lock *next;
};

/* What the layers below the top say about one cluster. */
#define SOURCE_NONE UINT32_MAX
#define SOURCE_MULTI (UINT32_MAX - 1)

struct rsource {
	uint64_t where;
	uint32_t layer;
};

struct rmulti {
	uint8_t owner[PL_CLUSTER_BLOCKS]; /* index into src */
	uint8_t n;
	struct rsource src[];
};

struct rcluster {
	uint64_t owned; /* by any of them */
	union {
		uint64_t where;
		struct rmulti *multi;
	};
	uint32_t layer; /* or SOURCE_* */
};

struct rpage {
	uint64_t page_no;
	size_t bytes;
	bool used;
	struct rpage *prev, *next;
	struct rcluster cluster[PL_PAGE_ENTRIES];
};

struct moving;

struct pl_chain {
	struct pl_layer **layers;
	unsigned n;
	uint64_t size, cluster_size;
	uint32_t block_size;
	enum pl_discard discard;

	struct rpage **rpages; /* by page number */
	uint64_t n_rpages;
	struct rpage *oldest, *newest;
	size_t rbytes;
	struct pl_comutex resolve_lock;
	uint64_t pushed; /* how many tops were put on it */

	pl_chain_settle_fn *settle; /* NULL = nothing to settle */
	void *settle_arg;
	struct pl_comutex settle_lock;

	struct cluster_lock *locks[LOCK_BUCKETS], *spare_locks;
	struct pl_chain_watch *watch;
	struct moving *moving; /* NULL = no cluster is being copied */
};

/* A cluster that is copied without its lock, and what changed since. */
struct moving {
	uint64_t cno;
	uint64_t changed; /* blocks */
};

/* ---- lock.c ---- */
int lock_shared(struct pl_chain *ch, uint64_t cno);
int lock_exclusive(struct pl_chain *ch, uint64_t cno);
void unlock(struct pl_chain *ch, uint64_t cno);
void locks_fini(struct pl_chain *ch);

/* ---- resolve.c ---- */
/* Blocks of the cluster that some layer below the top owns (suspends). */
int lower_owned(struct pl_chain *ch, uint64_t cno, uint64_t *ret);
/* Makes sure that lower_get() finds the cluster (suspends). */
int lower_load(struct pl_chain *ch, uint64_t cno);
/* Both what lower_get() finds and the top's entry (suspends). */
int load_cluster(struct pl_chain *ch, uint64_t cno, struct pl_entry *ret);
const struct rcluster *lower_get(struct pl_chain *ch, uint64_t cno);
void lower_forget(struct pl_chain *ch);
void lower_forget_page(struct pl_chain *ch, uint64_t page_no);
/* Makes room for what a disk of this size looks up. */
int lower_resize(struct pl_chain *ch, uint64_t size);

/* ---- swap.c ---- */
/* The top's content of these blocks of a locked cluster is about to change. */
void note_change(struct pl_chain *ch, uint64_t cno, uint64_t mask);

/* ---- run.c ---- */
/* Adjacent blocks of one cluster from one place. */
struct run {
	unsigned blocks;
	struct pl_layer *layer; /* NULL = zeros that nobody owns */
	uint64_t host_off; /* of the first block; UINT64_MAX = zeros */
};
/* The run at block b, at most up to block end. Loaded before: does not suspend. */
struct run run_at(struct pl_chain *ch, uint64_t cno, const struct pl_entry *top,
		  unsigned b, unsigned end);

/* No layer says anything about this map page: it reads as zeros. */
bool chain_page_empty(const struct pl_chain *ch, uint64_t page_no);

/* ---- zero.c ---- */
/* Punches the blocks of mask in a host cluster, run by run (suspends). */
int punch_blocks(struct pl_chain *ch, uint64_t where, uint64_t mask);
/* Nothing is left in e's host cluster: frees it (suspends). */
int give_up(struct pl_chain *ch, uint64_t cno, struct pl_entry e,
	    uint64_t owned);

/* ---- read.c ---- */
/* Reads inside one cluster that the caller has locked (suspends). */
int read_locked(struct pl_chain *ch, uint64_t cno, char *buf, uint64_t in,
		uint64_t len);
/* Aligned memory for transfers; free() it. */
void *bounce_alloc(uint64_t len);

/* Bits [first, first + n) of a cluster. */
static inline uint64_t block_mask(unsigned first, unsigned n)
{
	return (n >= 64 ? UINT64_MAX : (1ull << n) - 1) << first;
}

#endif
