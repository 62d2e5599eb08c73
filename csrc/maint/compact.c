/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compact the top of a chain: reclaim, relocate, shorten.
 *
 * Relocation copies, orders the new place after the data, flushes, and only
 * then punches the old place; it works in batches so that one flush serves
 * many clusters.
 */
#include <errno.h>
#include <stdlib.h>

#include "maint/maint.h"

#define BATCH 64u /* clusters moved per flush, at most */
#define BATCH_BYTES (16ull << 20) /* and bytes: requests wait for the flush */
#define HOLE_BYTES (1u << 20) /* punched at a time, at most */

struct compact {
	struct pl_chain *ch;
	struct pl_layer *top;
	const struct pl_maint_progress *progress;
	struct pl_compact_stats *stats;
	uint64_t old[BATCH];
	unsigned n_old;
	uint64_t limit;
	uint64_t worked; /* bytes, since the last pause */
	uint64_t rested; /* bytes of a cluster that pauses were made for */
	uint64_t pages, step; /* map pages; progress over two passes */
};

static bool go_on(struct compact *c)
{
	const struct pl_maint_progress *p = c->progress;

	c->step++;
	return !p || !p->fn || p->fn(p->arg, c->step, c->pages * 2);
}

/* Between two clusters, with nothing held. */
static void give_way(struct compact *c)
{
	const struct pl_maint_progress *p = c->progress;

	if (p && p->pace)
		p->pace(p->arg, c->worked);
	c->worked = 0;
}

/* Between two pieces of a large cluster. */
static void rest(void *arg, uint64_t bytes)
{
	struct compact *c = arg;

	c->rested += bytes;
	c->worked += bytes;
	give_way(c);
}

/*
 * Everything so far is durable: by the next flush of those who use the disk, if
 * there is one soon. One of ours would make theirs wait.
 */
static int make_durable(struct compact *c)
{
	const struct pl_maint_progress *p = c->progress;
	uint64_t next = pl_layer_next_flush(c->top);
	unsigned turn = 0;

	while (!pl_layer_flushed(c->top, next))
		if (!p || !p->await_flush || !p->await_flush(p->arg, turn++))
			return pl_layer_flush(c->top);
	return 0;
}

typedef int cluster_fn(struct compact *c, uint64_t cno,
		       const struct pl_entry *entry);

static int each_cluster(struct compact *c, cluster_fn *fn)
{
	struct pl_entry entries[PL_PAGE_ENTRIES];
	int rc = 0;

	for (uint64_t p = 0; p < c->pages && rc == 0; p++) {
		if (!go_on(c))
			return -ECANCELED;
		if (!pl_layer_page_present(c->top, p))
			continue;
		rc = pl_layer_page(c->top, p, entries);
		for (unsigned i = 0; i < PL_PAGE_ENTRIES && rc == 0; i++) {
			if (!entries[i].where)
				continue;
			rc = fn(c, p * PL_PAGE_ENTRIES + i, &entries[i]);
			give_way(c);
		}
	}
	return rc;
}

static int reclaim_one(struct compact *c, uint64_t cno,
		       const struct pl_entry *entry)
{
	bool freed;
	int rc = pl_chain_reclaim(c->ch, cno, &freed);

	(void)entry;
	c->stats->freed += freed;
	return rc;
}

static int by_place(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* How many of them, from i on, are next to each other: one hole. */
static unsigned adjacent(const struct compact *c, unsigned i, uint64_t most)
{
	unsigned n = 1;

	while (i + n < c->n_old && n < most && c->old[i + n] == c->old[i] + n)
		n++;
	return n;
}

/* The new places are durable now: the old ones can go. */
static int settle(struct compact *c)
{
	uint64_t cs = pl_cluster_size(pl_layer_header(c->top));
	uint64_t most = HOLE_BYTES > cs ? HOLE_BYTES / cs : 1;
	int rc = make_durable(c);

	qsort(c->old, c->n_old, sizeof(c->old[0]), by_place);
	for (unsigned i = 0, n; i < c->n_old && rc == 0; i += n) {
		n = adjacent(c, i, most);
		give_way(c);
		rc = pl_store_punch(pl_layer_store(c->top), c->old[i] * cs,
				    n * cs);
		for (unsigned k = 0; k < n && rc == 0; k++)
			pl_layer_free_cluster(c->top, c->old[i + k]);
	}
	pl_layer_touch(c->top);
	c->n_old = 0;
	if (rc < 0) /* data stays behind where nobody uses it */
		pl_layer_distrust(c->top);
	return rc;
}

static int relocate_one(struct compact *c, uint64_t cno,
			const struct pl_entry *entry)
{
	uint64_t old, cs = pl_cluster_size(pl_layer_header(c->top));
	const struct pl_maint_progress *p = c->progress;
	bool sync = p && p->others && p->others(p->arg);
	int rc;

	if (entry->where < c->limit)
		return 0;
	c->rested = 0;
	rc = pl_chain_relocate(c->ch, cno, c->limit, sync, rest, c, &old);
	if (rc < 0 || !old)
		return rc;
	c->stats->moved++;
	c->old[c->n_old++] = old;
	c->worked += cs - c->rested;
	return c->n_old == BATCH || c->n_old * cs >= BATCH_BYTES ? settle(c) :
								   0;
}

/* Freed clusters are free for use after a flush that has something to do. */
static int flush_frees(struct compact *c)
{
	pl_layer_touch(c->top);
	return make_durable(c);
}

static int compact(struct compact *c)
{
	uint64_t since = pl_layer_distrusted(c->top);
	int rc = each_cluster(c, reclaim_one);

	if (rc == 0)
		rc = pl_layer_trust(c->top, since);
	if (rc == 0)
		rc = flush_frees(c);
	/* Everything fits below this, map pages and all. */
	c->limit =
		pl_layer_header(c->top)->first_cluster + pl_layer_used(c->top);
	if (rc == 0)
		rc = pl_layer_move_maps(c->top, c->limit);
	if (rc == 0)
		rc = each_cluster(c, relocate_one);
	if (rc == 0)
		rc = settle(c);
	if (rc == 0)
		rc = flush_frees(c);
	if (rc == 0)
		rc = pl_layer_trim_tail(c->top, &c->stats->length);
	return rc < 0 ? rc : make_durable(c);
}

int pl_compact(struct pl_chain *ch, const struct pl_maint_progress *progress,
	       struct pl_compact_stats *ret)
{
	struct compact c = {
		.ch = ch,
		.top = pl_chain_top(ch),
		.progress = progress,
		.stats = ret,
		.pages = pl_layer_page_count(pl_chain_top(ch)),
	};
	int rc, rc2;

	*ret = (struct pl_compact_stats){ 0 };
	rc = compact(&c);
	if (rc < 0 && c.n_old) {
		/* What moved has moved; its old places must go all the same. */
		rc2 = settle(&c);
		return rc == -ECANCELED && rc2 < 0 ? rc2 : rc;
	}
	return rc;
}
