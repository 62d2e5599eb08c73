/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A chain: layers on top of each other, one virtual disk.
 *
 * Reads fall through to the first layer that owns a block; writes go to the
 * top. What the sealed layers say about a cluster is worked out once and kept
 * (resolve.c), so a look-up costs the same at any depth.
 *
 * off and len are bytes, multiples of 512. The data path returns 0 or -errno
 * and suspends the running coroutine; outside of one it blocks.
 */
#ifndef PLOOP_CHAIN_CHAIN_H
#define PLOOP_CHAIN_CHAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "layer/layer.h"

#define PL_CHAIN_MAX 1000u /* layers */

struct pl_chain;

/*
 * layers[0] is the base. Takes over the layers (not the array) on success. All
 * must have one block size; only the last may be writable.
 */
int pl_chain_new(struct pl_chain **ret, struct pl_layer **layers, unsigned n,
		 struct pl_err *err);

/*
 * Closes all layers, those open for writing in order (see pl_layer_close), and
 * settles what is to be. Accepts NULL.
 */
int pl_chain_close(struct pl_chain *ch, struct pl_err *err);
/* As a crash would. */
void pl_chain_abandon(struct pl_chain *ch);
/* Gives the layers back, open as they are: for a chain that only borrowed them. */
void pl_chain_release(struct pl_chain *ch);

uint64_t pl_chain_size(const struct pl_chain *ch); /* bytes */
uint32_t pl_chain_block_size(const struct pl_chain *ch); /* bytes */
bool pl_chain_writable(const struct pl_chain *ch);
unsigned pl_chain_depth(const struct pl_chain *ch);
struct pl_layer *pl_chain_layer(const struct pl_chain *ch, unsigned i);
struct pl_layer *pl_chain_top(const struct pl_chain *ch);

int pl_chain_read(struct pl_chain *ch, void *buf, uint64_t len, uint64_t off);
int pl_chain_write(struct pl_chain *ch, const void *buf, uint64_t len,
		   uint64_t off);
/*
 * The range reads as zeros afterwards; the host space of whole blocks comes
 * back. Used for discard and write-zeroes.
 */
int pl_chain_zero(struct pl_chain *ch, uint64_t len, uint64_t off);
/* As zero, but leaves partial blocks at the ends alone. */
int pl_chain_discard(struct pl_chain *ch, uint64_t len, uint64_t off);
int pl_chain_flush(struct pl_chain *ch);

/*
 * What has to be durable besides the top before a flush may succeed: fn is
 * called (and may suspend) by the next flush, again after a failure, until it
 * returned 0. pl_chain_settle(): now.
 */
typedef int pl_chain_settle_fn(void *arg);
void pl_chain_set_settle(struct pl_chain *ch, pl_chain_settle_fn *fn,
			 void *arg);
int pl_chain_settle(struct pl_chain *ch);

/*
 * What zero and discard give back to the host. The disk reads the same with
 * each of them; what is kept is used again by writes to the same place.
 */
enum pl_discard {
	PL_DISCARD_BLOCK, /* every block (the default) */
	PL_DISCARD_CLUSTER, /* only clusters without any data left */
	PL_DISCARD_OFF, /* nothing */
};
void pl_chain_set_discard(struct pl_chain *ch, enum pl_discard discard);

/*
 * Puts a new, empty top on the chain (never suspends). No request may be in
 * flight that reads or changes; flushes may. The old top is the caller's to be
 * flushed (pl_chain_set_settle) and sealed, beside requests.
 */
int pl_chain_push(struct pl_chain *ch, struct pl_layer *top,
		  struct pl_err *err);

/*
 * The disk's new size (suspend), while no request is in flight and nobody else
 * changes the top. grow: the new part is zeros, whatever layers below hold
 * there. shrink: what lies beyond is gone from the top; nobody else may use the
 * chain meanwhile.
 */
int pl_chain_grow(struct pl_chain *ch, uint64_t size, struct pl_err *err);
int pl_chain_shrink(struct pl_chain *ch, uint64_t size, struct pl_err *err);
/* The top has another size: 0 or -errno. */
int pl_chain_grown(struct pl_chain *ch);

/* Forgets what is known about the layers below (they were changed). */
void pl_chain_forget(struct pl_chain *ch);

/*
 * ---- changing layers below the top, beside requests (swap.c) ----
 *
 * What the chain shows must not change by it. No request may be in flight in
 * replace and remove; they return what was there, which is the caller's then,
 * to be closed when nobody else that looks at the chain can hold it any more.
 */
struct pl_layer *pl_chain_replace(struct pl_chain *ch, unsigned i,
				  struct pl_layer *by);
struct pl_layer *pl_chain_remove(struct pl_chain *ch, unsigned i);
/*
 * A layer below the top, open for writing, gets the size of the one above it
 * (suspends). What it holds beyond is not seen, and is gone. Requests may be in
 * flight: look-ups wait.
 */
int pl_chain_fit(struct pl_chain *ch, struct pl_layer *ly, uint64_t size,
		 struct pl_err *err);
/* The layer's place in the chain, or -1. */
int pl_chain_find(const struct pl_chain *ch, const char *layer_id);

/* Holds requests on one cluster back (suspends): 0 or -errno. */
int pl_chain_lock(struct pl_chain *ch, uint64_t cno);
void pl_chain_unlock(struct pl_chain *ch, uint64_t cno);
/* Some layer's entry of this locked cluster was changed (suspends). */
void pl_chain_forget_cluster(struct pl_chain *ch, uint64_t cno);

#define PL_CHAIN_WATCH 64u

/* Which of some clusters the top got other content in. NULL = no watch. */
struct pl_chain_watch {
	unsigned n;
	uint64_t cno[PL_CHAIN_WATCH];
	bool changed[PL_CHAIN_WATCH];
};
void pl_chain_set_watch(struct pl_chain *ch, struct pl_chain_watch *watch);

/* One run of blocks with one owner. */
struct pl_chain_extent {
	uint64_t off, len; /* virtual bytes */
	struct pl_layer *layer; /* NULL = nobody owns it: zeros */
	uint64_t host_off; /* in the layer's file; UINT64_MAX = zeros */
};
typedef bool pl_chain_extent_fn(void *arg, const struct pl_chain_extent *ext);

/* Calls each() for runs covering [off, off + len), merged; false stops. */
int pl_chain_extents(struct pl_chain *ch, uint64_t off, uint64_t len,
		     pl_chain_extent_fn *each, void *arg);

/*
 * Space maintenance of the top, safe beside requests (suspends).
 *
 * reclaim: gives the cluster's host cluster back when it holds no data at all;
 * *ret_freed tells. In a stale layer, and where every block is to go back, it
 * punches unowned blocks first, as far as they have host space.
 */
int pl_chain_reclaim(struct pl_chain *ch, uint64_t cno, bool *ret_freed);

/* Told after each bytes that were copied, with nothing held; may suspend. */
typedef void pl_chain_rest_fn(void *arg, uint64_t bytes);

/*
 * Moves the data of a cluster whose host cluster is at or above `limit` below
 * it; *ret_old is the host cluster that is left behind (0 = nothing moved), to
 * be punched and freed after a flush. A large cluster is copied piece by piece
 * beside requests, which wait only while what they changed meanwhile is copied
 * again. One at a time. rest: NULL = none. sync: what was copied is durable
 * before the map changes, so that the disk's next flush need not order them.
 */
int pl_chain_relocate(struct pl_chain *ch, uint64_t cno, uint64_t limit,
		      bool sync, pl_chain_rest_fn *rest, void *arg,
		      uint64_t *ret_old);

#endif
