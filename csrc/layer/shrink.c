/* SPDX-License-Identifier: Apache-2.0 */
/* Shrinking a layer: what it says beyond the new end is gone (FMT-088). */
#include <assert.h>
#include <string.h>

#include "layer/remap.h"

/* What an entry keeps of itself; its host cluster stays behind otherwise. */
static void cut_entry(struct remap *m, uint64_t cno, struct pl_entry *e)
{
	struct pl_entry kept = { 0 };

	if (cno < pl_cluster_count(&m->hdr)) {
		kept.owned = e->owned & pl_owned_limit(&m->hdr, cno);
		kept.where = e->where;
	} else if (e->where) {
		remap_leave(m, e->where);
		m->n_data++;
	}
	if (kept.owned != e->owned || kept.where != e->where)
		m->last_changes = true;
	*e = kept;
}

static int cut_last(struct remap *m)
{
	int rc = remap_load_last(m);

	for (unsigned i = 0; rc == 0 && i < PL_PAGE_ENTRIES; i++)
		cut_entry(m, m->last_no * PL_PAGE_ENTRIES + i, &m->last[i]);
	return rc == 0 && m->last_changes ? remap_page(m, m->last_no, m->last) :
					    rc;
}

static int cut_pages(struct remap *m)
{
	struct pl_entry entries[PL_PAGE_ENTRIES];
	int rc = 0;

	for (uint64_t p = m->page_count; rc == 0 && p < m->ly->page_count;
	     p++) {
		if (!m->ly->dir[p].location)
			continue;
		rc = mpage_read(m->ly, p, entries);
		for (unsigned i = 0; rc == 0 && i < PL_PAGE_ENTRIES; i++)
			cut_entry(m, p * PL_PAGE_ENTRIES + i, &entries[i]);
		m->anew = true;
	}
	return rc;
}

static int shrink(struct remap *m, void *arg)
{
	int rc;

	(void)arg;
	rc = cut_pages(m);
	m->last_changes = false; /* those pages go as a whole */
	if (rc == 0)
		rc = cut_last(m);
	if (m->hdr.dir_used > pl_dir_page_count(&m->hdr))
		m->hdr.dir_used = pl_dir_page_count(&m->hdr);
	return rc;
}

/* Blocks of the last cluster that are not the disk's any more hold nothing. */
static int clear_end(struct pl_layer *ly)
{
	uint64_t cno = pl_cluster_count(&ly->hdr) - 1;
	uint64_t cs = pl_cluster_size(&ly->hdr);
	uint64_t in = ly->hdr.virtual_size - cno * cs;
	struct pl_entry e;
	int rc = in < cs ? pl_layer_entry(ly, cno, &e) : 0;

	if (rc == 0 && in < cs && e.where) {
		rc = pl_store_punch(ly->st, e.where * cs + in, cs - in);
		pl_layer_touch(ly);
	}
	return rc;
}

int pl_layer_shrink(struct pl_layer *ly, uint64_t virtual_size,
		    struct pl_err *err)
{
	int rc;

	assert(ly->writable && virtual_size &&
	       virtual_size <= ly->hdr.virtual_size &&
	       virtual_size % ly->hdr.block_size == 0);
	rc = remap_layer(ly, virtual_size, shrink, NULL);
	if (rc == 0 && clear_end(ly) < 0)
		pl_layer_distrust(ly);
	return rc < 0 ? pl_err_sys(err, rc, "layer %s: shrinking", ly->id) : 0;
}
