/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Merge downwards: a parent that nobody else looks at takes over what its only
 * child owns, and the child gives it up, cluster by cluster.
 *
 * ORDER, for a batch of clusters, each durable before the next: the parent's
 * data and ownership; the child's map without them; the holes in the child's
 * file. At any point the two together read the same, and what has moved does
 * not move again: an interrupted merge is simply run again.
 *
 * Beside requests each cluster is locked while it is copied and while the child
 * gives it up; one that was written to in between stays with the child, for the
 * next pass.
 */
#include <errno.h>
#include <stdlib.h>

#include "maint/merge_int.h"

struct down {
	struct merge m;
	struct pl_chain_watch batch;
	bool watching; /* the child takes writes meanwhile */
	uint64_t old[PL_CHAIN_WATCH];
	unsigned n_old;
};

static int take_lock(struct down *d, uint64_t cno)
{
	return d->m.ch ? pl_chain_lock(d->m.ch, cno) : 0;
}

static void drop_lock(struct down *d, uint64_t cno)
{
	if (d->m.ch) {
		pl_chain_forget_cluster(d->m.ch, cno);
		pl_chain_unlock(d->m.ch, cno);
	}
}

/* The parent has this cluster durably: the child lets go of it. */
static int let_go(struct down *d, unsigned i)
{
	uint64_t cno = d->batch.cno[i];
	struct pl_entry e;
	int rc = take_lock(d, cno);

	if (rc < 0)
		return rc;
	if (!d->batch.changed[i]) {
		rc = pl_layer_entry(d->m.from, cno, &e);
		if (rc == 0)
			rc = pl_layer_set(d->m.from, cno,
					  (struct pl_entry){ 0 }, false);
		if (rc == 0 && e.where)
			d->old[d->n_old++] = e.where;
	}
	drop_lock(d, cno);
	return rc;
}

static int punch_old(struct down *d)
{
	int rc = 0;

	for (unsigned i = 0; i < d->n_old && rc == 0; i++) {
		rc = pl_store_punch(pl_layer_store(d->m.from),
				    d->old[i] * d->m.cs, d->m.cs);
		if (rc == 0)
			pl_layer_free_cluster(d->m.from, d->old[i]);
	}
	pl_layer_touch(d->m.from);
	return rc;
}

static int settle(struct down *d)
{
	int rc = d->batch.n ? pl_layer_flush(d->m.to) : 0;

	d->n_old = 0;
	for (unsigned i = 0; i < d->batch.n && rc == 0; i++)
		rc = let_go(d, i);
	if (rc == 0 && d->batch.n)
		rc = pl_layer_flush(d->m.from);
	if (rc == 0)
		rc = punch_old(d);
	if (rc < 0 && d->n_old) /* data stays where nobody uses it */
		pl_layer_distrust(d->m.from);
	d->batch.n = 0;
	return rc;
}

static int move_cluster(struct down *d, uint64_t cno)
{
	struct pl_chain_watch *b = &d->batch;
	struct pl_entry e;
	int rc = take_lock(d, cno);

	if (rc < 0)
		return rc;
	rc = pl_layer_entry(d->m.from, cno, &e);
	if (rc == 0 && e.owned) {
		b->cno[b->n] = cno;
		b->changed[b->n++] = false;
		rc = merge_blocks(&d->m, cno, &e, e.owned);
		if (rc < 0)
			b->n--;
	}
	drop_lock(d, cno);
	return rc;
}

static int down_page(struct down *d, uint64_t page_no)
{
	struct pl_entry entries[PL_PAGE_ENTRIES];
	int rc = pl_layer_page(d->m.from, page_no, entries);

	for (unsigned i = 0; i < PL_PAGE_ENTRIES && rc == 0; i++) {
		if (!entries[i].owned)
			continue;
		rc = merge_go_on(&d->m);
		if (rc == 0)
			rc = move_cluster(d, page_no * PL_PAGE_ENTRIES + i);
		if (rc == 0 && d->batch.n == PL_CHAIN_WATCH)
			rc = settle(d);
	}
	return rc;
}

int pl_merge_down(struct pl_layer *child, struct pl_layer *parent,
		  struct pl_chain *live, uint64_t total,
		  const struct pl_maint_progress *progress)
{
	uint64_t n = pl_layer_page_count(child);
	struct down *d = calloc(1, sizeof(*d));
	int rc = d ? merge_init(&d->m, child, parent, live, progress) : -ENOMEM,
	    rc2;

	if (rc < 0) {
		free(d);
		return rc;
	}
	d->m.total = total;
	d->watching = live && pl_chain_top(live) == child;
	if (d->watching)
		pl_chain_set_watch(live, &d->batch);
	for (uint64_t p = 0; p < n && rc == 0; p++)
		if (pl_layer_page_present(child, p))
			rc = down_page(d, p);
	/* What has been copied need not be copied again. */
	if (rc == 0 || rc == -ECANCELED) {
		rc2 = settle(d);
		rc = rc2 < 0 ? rc2 : rc;
	}
	if (d->watching)
		pl_chain_set_watch(live, NULL);
	merge_fini(&d->m);
	free(d);
	return rc;
}
