/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Merge upwards: a child takes over what its parent owns.
 *
 * The child's view does not change at any moment, because each block is copied
 * with the content the chain shows already; so there is nothing to undo, and a
 * merge that was interrupted is simply run again. Ownership is ordered after
 * the data (pl_layer_own with ordered = true).
 *
 * Where the host can share extents between files, clusters are shared instead
 * of copied.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/zero.h"
#include "maint/merge_int.h"

static int share(struct merge *m, uint64_t to_off, uint64_t from_off,
		 uint64_t len)
{
	int rc = -EOPNOTSUPP;

	if (!m->no_clone)
		rc = pl_store_clone(pl_layer_store(m->to), to_off,
				    pl_layer_store(m->from), from_off, len);
	m->no_clone = rc == -EOPNOTSUPP;
	return rc;
}

/* Blocks [b, b + n) of a cluster that `from` holds in its host cluster. */
static int copy_run(struct merge *m, uint64_t from, uint64_t to, unsigned b,
		    unsigned n)
{
	uint64_t in = b * m->bs, len = n * m->bs;
	struct pl_store *st = pl_layer_store(m->to);
	int rc;

	pl_layer_touch(m->to);
	m->done += len;
	rc = share(m, to * m->cs + in, from * m->cs + in, len);
	if (rc != -EOPNOTSUPP)
		return rc;
	rc = pl_store_read(pl_layer_store(m->from), m->buf, len,
			   from * m->cs + in, 0);
	if (rc < 0)
		return rc;
	if (pl_is_zero(m->buf, len))
		return pl_store_punch(st, to * m->cs + in, len);
	return pl_store_write(st, m->buf, len, to * m->cs + in, 0);
}

static int copy_mask(struct merge *m, uint64_t from, uint64_t to, uint64_t mask)
{
	int rc = 0;

	while (mask && rc == 0) {
		unsigned b = (unsigned)__builtin_ctzll(mask);
		uint64_t rest = ~(mask >> b);
		unsigned n = rest ? (unsigned)__builtin_ctzll(rest) : 64 - b;

		rc = copy_run(m, from, to, b, n);
		mask &= n >= 64 ? 0 : ~(((1ull << n) - 1) << b);
	}
	/* Syncs that ran meanwhile may have missed the end of it. */
	pl_layer_touch(m->to);
	return rc;
}

static int punch_mask(struct merge *m, uint64_t where, uint64_t mask)
{
	int rc = 0;

	pl_layer_touch(m->to);
	for (; mask && rc == 0; mask &= mask - 1)
		rc = pl_store_punch(
			pl_layer_store(m->to),
			where * m->cs + (uint64_t)__builtin_ctzll(mask) * m->bs,
			m->bs);
	pl_layer_touch(m->to);
	return rc;
}

int merge_blocks(struct merge *m, uint64_t cno, const struct pl_entry *e,
		 uint64_t mask)
{
	uint64_t where;
	struct pl_entry to;
	int rc = pl_layer_entry(m->to, cno, &to);

	if (rc < 0)
		return rc;
	if (e->where) {
		rc = pl_layer_map(m->to, cno, &where);
		if (rc == 0)
			rc = copy_mask(m, e->where, where, mask);
	} else if (to.where) {
		rc = punch_mask(m, to.where, mask);
	}
	if (rc == 0)
		rc = pl_layer_own(m->to, cno, mask, true);
	if (rc < 0) /* data is there that nobody owns */
		pl_layer_distrust(m->to);
	return rc;
}

int merge_go_on(struct merge *m)
{
	const struct pl_maint_progress *p = m->progress;

	if (p && p->pace && m->done > m->paced)
		p->pace(p->arg, m->done - m->paced);
	m->paced = m->done;
	if (m->done > m->total) /* the estimate is of another moment */
		m->total = m->done;
	return p && p->fn && !p->fn(p->arg, m->done, m->total) ? -ECANCELED : 0;
}

int merge_init(struct merge *m, struct pl_layer *from, struct pl_layer *to,
	       struct pl_chain *ch, const struct pl_maint_progress *progress)
{
	void *buf;

	*m = (struct merge){
		.from = from,
		.to = to,
		.ch = ch,
		.progress = progress,
		.cs = pl_cluster_size(pl_layer_header(to)),
		.bs = pl_layer_header(to)->block_size,
	};
	if (posix_memalign(&buf, PL_PAGE, m->cs) != 0)
		return -ENOMEM;
	m->buf = buf;
	return 0;
}

void merge_fini(struct merge *m)
{
	free(m->buf);
}

/* ---- upwards ---- */

static int up_cluster(struct merge *m, uint64_t cno, const struct pl_entry *p)
{
	struct pl_entry c;
	uint64_t mask;
	int rc = m->ch ? pl_chain_lock(m->ch, cno) : 0;

	if (rc < 0)
		return rc;
	rc = pl_layer_entry(m->to, cno, &c);
	/* What lies beyond the child's end does not show (FMT-061). */
	mask = p->owned & ~c.owned &
	       pl_owned_limit(pl_layer_header(m->to), cno);
	if (rc == 0 && mask)
		rc = merge_blocks(m, cno, p, mask);
	if (m->ch)
		pl_chain_unlock(m->ch, cno);
	return rc;
}

static int up_page(struct merge *m, uint64_t page_no)
{
	struct pl_entry entries[PL_PAGE_ENTRIES];
	int rc = pl_layer_page(m->from, page_no, entries);

	for (unsigned i = 0; i < PL_PAGE_ENTRIES && rc == 0; i++) {
		if (!entries[i].owned)
			continue;
		rc = merge_go_on(m);
		if (rc == 0)
			rc = up_cluster(m, page_no * PL_PAGE_ENTRIES + i,
					&entries[i]);
	}
	return rc;
}

int pl_merge_up(struct pl_layer *child, struct pl_layer *parent,
		struct pl_chain *live, uint64_t total,
		const struct pl_maint_progress *progress)
{
	uint64_t n = pl_layer_page_count(parent);
	struct merge m;
	int rc = merge_init(&m, parent, child, live, progress);

	m.total = total;
	for (uint64_t p = 0; p < n && rc == 0; p++)
		if (pl_layer_page_present(parent, p))
			rc = up_page(&m, p);
	merge_fini(&m);
	return rc < 0 ? rc : pl_layer_flush(child);
}

/* ---- which way ---- */

static int cost_page(struct pl_layer *child, struct pl_layer *parent,
		     uint64_t page_no, struct pl_merge_cost *ret)
{
	static const struct pl_entry none;
	struct pl_entry c[PL_PAGE_ENTRIES] = { none };
	struct pl_entry p[PL_PAGE_ENTRIES] = { none };
	uint64_t bs = pl_layer_header(child)->block_size, up;
	int rc = 0;

	if (pl_layer_page_present(child, page_no))
		rc = pl_layer_page(child, page_no, c);
	if (rc == 0 && pl_layer_page_present(parent, page_no))
		rc = pl_layer_page(parent, page_no, p);
	for (unsigned i = 0; i < PL_PAGE_ENTRIES && rc == 0; i++) {
		ret->down_clusters += c[i].owned != 0;
		if (c[i].where)
			ret->down +=
				bs * (uint64_t)__builtin_popcountll(c[i].owned);
		/* A child that was shrunk takes no more than it has. */
		up = p[i].owned & ~c[i].owned &
		     pl_owned_limit(pl_layer_header(child),
				    page_no * PL_PAGE_ENTRIES + i);
		if (p[i].where)
			ret->up += bs * (uint64_t)__builtin_popcountll(up);
	}
	return rc;
}

int pl_merge_cost(struct pl_layer *child, struct pl_layer *parent,
		  struct pl_merge_cost *ret)
{
	uint64_t n = pl_layer_page_count(child), more;
	int rc = 0;

	*ret = (struct pl_merge_cost){ 0 };
	more = pl_layer_page_count(parent);
	n = more > n ? more : n;
	for (uint64_t p = 0; p < n && rc == 0; p++)
		if (pl_layer_page_present(child, p) ||
		    pl_layer_page_present(parent, p))
			rc = cost_page(child, parent, p, ret);
	return rc;
}
