/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Merge: a child takes over what its parent owns.
 *
 * The child's view does not change at any moment, because each block is copied
 * with the content the chain shows already; so there is nothing to undo, and a
 * merge that was interrupted is simply run again. Ownership is ordered after
 * the data (pl_layer_own with ordered = true).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "maint/maint.h"

struct merge {
	struct pl_layer *child, *parent;
	uint64_t cs, bs;
	char *buf; /* one cluster */
};

static bool is_zero(const char *p, uint64_t len)
{
	return p[0] == 0 && memcmp(p, p + 1, len - 1) == 0;
}

/* Blocks [b, b + n) of a cluster whose blocks the parent holds at `from`. */
static int copy_run(struct merge *m, uint64_t from, uint64_t to, unsigned b,
		    unsigned n)
{
	uint64_t in = b * m->bs, len = n * m->bs;
	struct pl_store *st = pl_layer_store(m->child);
	int rc = pl_store_read(pl_layer_store(m->parent), m->buf, len,
			       from * m->cs + in, 0);

	if (rc < 0)
		return rc;
	pl_layer_touch(m->child);
	if (is_zero(m->buf, len))
		return pl_store_punch(st, to * m->cs + in, len);
	return pl_store_write(st, m->buf, len, to * m->cs + in, 0);
}

static int copy_blocks(struct merge *m, uint64_t from, uint64_t to,
		       uint64_t mask)
{
	int rc = 0;

	while (mask && rc == 0) {
		unsigned b = (unsigned)__builtin_ctzll(mask);
		uint64_t rest = ~(mask >> b);
		unsigned n = rest ? (unsigned)__builtin_ctzll(rest) : 64 - b;

		rc = copy_run(m, from, to, b, n);
		mask &= n >= 64 ? 0 : ~(((1ull << n) - 1) << b);
	}
	return rc;
}

static int punch_mask(struct merge *m, uint64_t where, uint64_t mask)
{
	int rc = 0;

	pl_layer_touch(m->child);
	for (; mask && rc == 0; mask &= mask - 1)
		rc = pl_store_punch(pl_layer_store(m->child),
				    where * m->cs +
					    (uint64_t)__builtin_ctzll(mask) *
						    m->bs,
				    m->bs);
	return rc;
}

static int merge_cluster(struct merge *m, uint64_t cno, struct pl_entry p)
{
	struct pl_entry c;
	uint64_t mask, where;
	int rc = pl_layer_entry(m->child, cno, &c);

	/* What lies beyond the child's end does not show (FMT-061). */
	mask = p.owned & ~c.owned &
	       pl_owned_limit(pl_layer_header(m->child), cno);
	if (rc < 0 || !mask)
		return rc;
	if (p.where) {
		rc = pl_layer_map(m->child, cno, &where);
		if (rc == 0)
			rc = copy_blocks(m, p.where, where, mask);
	} else if (c.where) {
		rc = punch_mask(m, c.where, mask);
	}
	if (rc == 0)
		rc = pl_layer_own(m->child, cno, mask, true);
	if (rc < 0) /* data is there that the child does not own */
		pl_layer_distrust(m->child);
	return rc;
}

static int merge_page(struct merge *m, uint64_t page_no)
{
	struct pl_entry entries[PL_PAGE_ENTRIES];
	int rc = pl_layer_page(m->parent, page_no, entries);

	for (unsigned i = 0; i < PL_PAGE_ENTRIES && rc == 0; i++)
		if (entries[i].owned)
			rc = merge_cluster(m, page_no * PL_PAGE_ENTRIES + i,
					   entries[i]);
	return rc;
}

static int merge_pages(struct merge *m,
		       const struct pl_maint_progress *progress)
{
	uint64_t n = pl_layer_page_count(m->parent);
	int rc = 0;

	for (uint64_t p = 0; p < n && rc == 0; p++) {
		if (!pl_layer_page_present(m->parent, p))
			continue;
		if (progress && progress->fn &&
		    !progress->fn(progress->arg, p * PL_PAGE_ENTRIES * m->cs,
				  n * PL_PAGE_ENTRIES * m->cs))
			return -ECANCELED;
		rc = merge_page(m, p);
	}
	return rc < 0 ? rc : pl_layer_flush(m->child);
}

int pl_merge(struct pl_layer *child, struct pl_layer *parent,
	     const struct pl_maint_progress *progress)
{
	struct merge m = {
		.child = child,
		.parent = parent,
		.cs = pl_cluster_size(pl_layer_header(child)),
		.bs = pl_layer_header(child)->block_size,
	};
	void *buf;
	int rc;

	if (posix_memalign(&buf, PL_PAGE, m.cs) != 0)
		return -ENOMEM;
	m.buf = buf;
	rc = merge_pages(&m, progress);
	free(buf);
	return rc;
}
