/* SPDX-License-Identifier: Apache-2.0 */
/* Growing a layer, over what layers below may hold (FMT-079, FMT-089). */
#include <assert.h>
#include <string.h>

#include "layer/remap.h"

/*
 * Does the directory hold entries beyond the last map page? They meant nothing
 * until now (FMT-030), and must not come to mean something.
 */
static int look_beyond(struct remap *m)
{
	struct pl_dir_entry entries[PL_DIR_ENTRIES];
	uint64_t d = m->ly->page_count / PL_DIR_ENTRIES;
	char page[PL_PAGE];
	int rc = 0;

	for (; rc == 0 && !m->anew && d < pl_dir_page_count(&m->hdr); d++) {
		rc = pl_store_read(m->ly->st, page, PL_PAGE,
				   m->hdr.dir_off + d * PL_PAGE, PL_IO_META);
		if (rc == 0 &&
		    pl_dir_page_decode(page, d, entries) != PL_DIR_PAGE_EMPTY)
			for (uint64_t i = 0; i < PL_DIR_ENTRIES; i++)
				m->anew |= entries[i].location &&
					   d * PL_DIR_ENTRIES + i >=
						   m->ly->page_count;
	}
	return rc;
}

/* The blocks of a cluster that only the new size has. */
static uint64_t new_blocks(const struct remap *m, uint64_t cno)
{
	return pl_owned_limit(&m->hdr, cno) & ~pl_owned_limit(&m->ly->hdr, cno);
}

/* Blocks that become zeros in a host cluster that is there. */
static int clear_new(struct remap *m, uint64_t where, uint64_t mask)
{
	uint64_t at = where * remap_cluster_size(m), bs = m->hdr.block_size;
	int rc = 0;

	for (; mask && rc == 0; mask &= mask - 1)
		rc = pl_store_punch(m->ly->st,
				    at + (uint64_t)__builtin_ctzll(mask) * bs,
				    bs);
	return rc;
}

/* Owns as zeros what would come to light of the layers below (FMT-089). */
static int cover_page(struct remap *m, uint64_t page_no,
		      const uint64_t below[PL_PAGE_ENTRIES])
{
	static const struct pl_entry none;
	struct pl_entry entries[PL_PAGE_ENTRIES] = { none };
	uint64_t mask;
	bool any = false;
	int rc = 0;

	if (page_no == m->last_no)
		memcpy(entries, m->last, sizeof(entries));
	for (unsigned i = 0; i < PL_PAGE_ENTRIES && rc == 0; i++) {
		mask = below[i] & new_blocks(m, page_no * PL_PAGE_ENTRIES + i);
		entries[i].owned |= mask;
		any = any || mask;
		if (entries[i].where)
			rc = clear_new(m, entries[i].where, mask);
	}
	if (rc < 0 || !any)
		return rc;
	if (page_no == m->last_no) {
		memcpy(m->last, entries, sizeof(entries));
		m->last_changes = true;
	}
	return remap_page(m, page_no, entries);
}

struct below {
	pl_layer_below_fn *fn;
	void *arg;
	uint64_t end; /* bytes: nothing below says anything from here on */
};

static int cover(struct remap *m, const struct below *b)
{
	uint64_t owned[PL_PAGE_ENTRIES];
	uint64_t page_bytes = remap_cluster_size(m) * PL_PAGE_ENTRIES;
	uint64_t end = b->end < m->hdr.virtual_size ? b->end :
						      m->hdr.virtual_size;
	int rc;

	if (end <= m->ly->hdr.virtual_size)
		return 0;
	rc = remap_load_last(m);
	for (uint64_t p = m->last_no; rc == 0 && p * page_bytes < end; p++) {
		memset(owned, 0, sizeof(owned));
		rc = b->fn(b->arg, p, owned);
		if (rc == 0)
			rc = cover_page(m, p, owned);
	}
	return rc;
}

static int grow(struct remap *m, void *arg)
{
	const struct below *b = arg;
	int rc = 0;

	if (pl_dir_page_count(&m->hdr) > m->hdr.dir_pages)
		m->anew = true;
	else
		rc = look_beyond(m);
	return rc == 0 && b ? cover(m, b) : rc;
}

static int grow_layer(struct pl_layer *ly, uint64_t virtual_size,
		      struct below *below, struct pl_err *err)
{
	int rc;

	assert(ly->writable && virtual_size >= ly->hdr.virtual_size &&
	       virtual_size % ly->hdr.block_size == 0);
	rc = remap_layer(ly, virtual_size, grow, below);
	return rc < 0 ? pl_err_sys(err, rc, "layer %s: growing", ly->id) : 0;
}

int pl_layer_grow(struct pl_layer *ly, uint64_t virtual_size,
		  struct pl_err *err)
{
	return grow_layer(ly, virtual_size, NULL, err);
}

int pl_layer_grow_over(struct pl_layer *ly, uint64_t virtual_size,
		       uint64_t below_end, pl_layer_below_fn *fn, void *arg,
		       struct pl_err *err)
{
	struct below below = { .fn = fn, .arg = arg, .end = below_end };

	return grow_layer(ly, virtual_size, &below, err);
}
