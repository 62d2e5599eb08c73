/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Another size with another map: see remap.h.
 *
 * What the new size asks of the map is written anew at places of its own: map
 * pages that change, and the directory that names them. So the old header and
 * what it names hold until then, and the new one names nothing of the old size.
 * What only the old one named is punched and free after neither header copy
 * speaks of it any more; a crash before that leaves a layer that is not clean,
 * whose next writer punches what is free (FMT-080).
 *
 * Nothing else changes the map meanwhile.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "layer/remap.h"

uint64_t remap_cluster_size(const struct remap *m)
{
	return pl_cluster_size(&m->hdr);
}

static int remap_init(struct remap *m, struct pl_layer *ly,
		      uint64_t virtual_size)
{
	uint64_t n;

	*m = (struct remap){ .ly = ly, .hdr = ly->hdr };
	m->hdr.virtual_size = virtual_size;
	m->page_count = pl_page_count(&m->hdr);
	m->n_left = ly->alloc.n;
	m->dir = calloc(m->page_count, sizeof(*m->dir));
	m->left = calloc(m->n_left / 64 + 1, sizeof(*m->left));
	m->pages = calloc(m->page_count, sizeof(*m->pages));
	if (!m->dir || !m->left || !m->pages)
		return -ENOMEM;
	n = m->page_count < ly->page_count ? m->page_count : ly->page_count;
	memcpy(m->dir, ly->dir, n * sizeof(*m->dir));
	m->last_no = n - 1;
	return 0;
}

static void remap_fini(struct remap *m)
{
	free(m->dir);
	free(m->left);
	free(m->pages);
}

/* ---- writing it ---- */

static int place_page(struct remap *m, uint64_t *ret)
{
	uint64_t where;
	int rc;

	if (!m->place) {
		rc = alloc_take(m->ly, &where);
		if (rc < 0)
			return rc;
		m->ly->alloc.n_used--; /* not data */
		m->place = where * remap_cluster_size(m);
	}
	*ret = m->place;
	m->place += PL_PAGE;
	if (m->place % remap_cluster_size(m) == 0)
		m->place = 0;
	return 0;
}

int remap_page(struct remap *m, uint64_t page_no,
	       const struct pl_entry entries[PL_PAGE_ENTRIES])
{
	char page[PL_PAGE];
	uint64_t at;
	int rc = place_page(m, &at);

	if (rc < 0)
		return rc;
	pl_map_encode(entries, page);
	rc = pl_store_write(m->ly->st, page, PL_PAGE, at, PL_IO_META);
	m->dir[page_no] =
		(struct pl_dir_entry){ .location = at,
				       .crc = pl_crc32c(0, page, PL_PAGE) };
	m->anew = true;
	return rc;
}

static bool encode_dir_page(const struct remap *m, uint64_t d, char *page)
{
	struct pl_dir_entry entries[PL_DIR_ENTRIES] = { 0 };
	uint64_t first = d * PL_DIR_ENTRIES, n = m->page_count - first;
	bool any = false;

	n = n < PL_DIR_ENTRIES ? n : PL_DIR_ENTRIES;
	memcpy(entries, m->dir + first, n * sizeof(*entries));
	for (uint64_t i = 0; i < n; i++)
		any = any || entries[i].location;
	pl_dir_page_encode(entries, d, page);
	return any;
}

/* Pages that name nothing need not be there: the clusters are zeros. */
static int write_directory(struct remap *m)
{
	uint64_t cs = remap_cluster_size(m), where, used = 0;
	uint64_t count = pl_dir_page_count(&m->hdr);
	uint64_t n = pl_div_up(count * PL_PAGE, cs);
	char page[PL_PAGE];
	int rc = alloc_take_run(m->ly, n, &where);

	for (uint64_t d = 0; rc == 0 && d < count; d++) {
		if (!encode_dir_page(m, d, page))
			continue;
		rc = pl_store_write(m->ly->st, page, PL_PAGE,
				    where * cs + d * PL_PAGE, PL_IO_META);
		used = d + 1;
	}
	m->hdr.dir_off = where * cs;
	m->hdr.dir_pages = n * cs / PL_PAGE;
	m->hdr.dir_used = used;
	return rc;
}

/* ---- what stays behind ---- */

void remap_leave(struct remap *m, uint64_t cluster)
{
	if (cluster < m->n_left)
		m->left[cluster / 64] |= 1ull << (cluster % 64);
}

static bool is_left(const struct remap *m, uint64_t cluster)
{
	return cluster < m->n_left &&
	       m->left[cluster / 64] >> (cluster % 64) & 1;
}

static void keep(struct remap *m, uint64_t off, uint64_t len)
{
	uint64_t cs = remap_cluster_size(m);

	for (uint64_t c = off / cs; c < pl_div_up(off + len, cs); c++)
		if (c < m->n_left)
			m->left[c / 64] &= ~(1ull << (c % 64));
}

/* Where old metadata was, unless new metadata shares the cluster. */
static void leave_metadata(struct remap *m)
{
	const struct pl_layer *ly = m->ly;
	uint64_t cs = remap_cluster_size(m), end;

	for (uint64_t p = 0; p < ly->page_count; p++)
		if (ly->dir[p].location &&
		    (p >= m->page_count ||
		     m->dir[p].location != ly->dir[p].location))
			remap_leave(m, ly->dir[p].location / cs);
	end = ly->hdr.dir_off + ly->hdr.dir_pages * PL_PAGE;
	if (m->anew)
		for (uint64_t c = ly->hdr.dir_off / cs; c * cs < end; c++)
			remap_leave(m, c);
	/* Among the metadata in front for ever. */
	keep(m, 0, m->hdr.first_cluster * cs);
	for (uint64_t p = 0; p < m->page_count; p++)
		if (m->dir[p].location)
			keep(m, m->dir[p].location, PL_PAGE);
	keep(m, m->hdr.dir_off, m->hdr.dir_pages * PL_PAGE);
	if (pl_header_has_sums(&m->hdr))
		keep(m, m->hdr.sums_off, m->hdr.sums_pages * PL_PAGE);
}

/* A run of clusters that are left, from c on. */
static uint64_t left_run(const struct remap *m, uint64_t c)
{
	uint64_t n = 0;

	while (is_left(m, c + n))
		n++;
	return n;
}

static int punch_left(struct remap *m)
{
	uint64_t cs = remap_cluster_size(m), n;
	int rc = 0;

	for (uint64_t c = 0; rc == 0 && c < m->n_left; c += n ? n : 1) {
		n = left_run(m, c);
		if (n)
			rc = pl_store_punch(m->ly->st, c * cs, n * cs);
	}
	return rc;
}

/*
 * Gives it back. Neither header copy may speak of it any more, in case the
 * other one gets damaged. The holes are durable before anything is used again:
 * a cluster that is taken must read as zeros whatever else gets lost.
 */
static int drop_left(struct remap *m)
{
	struct pl_layer *ly = m->ly;
	int rc = punch_left(m), synced = 0;

	if (rc == 0)
		rc = synced = commit_sync(ly);
	for (uint64_t c = 0; rc == 0 && c < m->n_left; c++)
		if (is_left(m, c) && alloc_is_used(ly, c))
			alloc_free_now(ly, c);
	/* What stays is out of use until it is opened again. */
	if (rc < 0)
		pl_layer_distrust(ly);
	return synced;
}

/* ---- the moment ---- */

static void swap_tables(struct remap *m)
{
	struct pl_layer *ly = m->ly;
	struct mpage **pages = ly->pages;
	struct pl_dir_entry *dir = ly->dir;

	mpage_forget_from(ly, m->page_count);
	memcpy(m->pages, pages, (m->last_no + 1) * sizeof(*pages));
	ly->pages = m->pages;
	ly->dir = m->dir;
	ly->page_count = m->page_count;
	m->pages = pages;
	m->dir = dir;
}

/* The pages in memory become what was written. */
static void adopt_last(struct remap *m)
{
	struct mpage *mp = mpage_get(m->ly, m->last_no);

	if (mp && m->last_changes)
		memcpy(mp->entry, m->last, sizeof(mp->entry));
}

static void adopt_place(struct remap *m)
{
	struct alloc *a = &m->ly->alloc;

	if (m->place)
		a->meta_next = m->place;
	else if (is_left(m, a->meta_next / remap_cluster_size(m)))
		a->meta_next = 0;
}

static int commit(struct remap *m)
{
	struct pl_layer *ly = m->ly;
	struct pl_header old = ly->hdr;
	int rc = m->anew ? write_directory(m) : 0;

	if (rc == 0)
		rc = commit_sync(ly);
	if (rc == 0 && ly->pending->head->head != ly->pending->head->tail)
		rc = -EBUSY; /* somebody changed the map meanwhile */
	if (rc < 0)
		return rc;
	leave_metadata(m);
	ly->hdr = m->hdr;
	rc = commit_header(ly);
	if (rc < 0) {
		ly->hdr = old;
		return rc;
	}
	adopt_last(m);
	adopt_place(m);
	swap_tables(m);
	ly->alloc.n_used -= m->n_data;
	rc = commit_header(ly);
	return rc == 0 ? drop_left(m) : rc;
}

/* The journal is empty behind the checkpoint, and all is in its place. */
static int begin(struct remap *m, struct pl_layer *ly, uint64_t virtual_size)
{
	int rc = commit_checkpoint(ly, false);

	memset(m, 0, sizeof(*m));
	return rc < 0 ? rc : remap_init(m, ly, virtual_size);
}

static int finish(struct remap *m, int rc)
{
	if (rc == 0)
		rc = commit(m);
	if (rc < 0 && m->ly) /* what was written stays behind */
		pl_layer_distrust(m->ly);
	remap_fini(m);
	return rc;
}

int remap_layer(struct pl_layer *ly, uint64_t virtual_size,
		remap_change_fn *change, void *arg)
{
	struct remap m;
	int rc = mark_dirty(ly);

	if (rc < 0)
		return rc;
	pl_comutex_lock(&ly->flush_lock);
	rc = begin(&m, ly, virtual_size);
	if (rc == 0)
		rc = change(&m, arg);
	rc = finish(&m, rc);
	pl_comutex_unlock(&ly->flush_lock);
	return rc;
}

int remap_load_last(struct remap *m)
{
	struct mpage *mp;
	int rc = 0;

	memset(m->last, 0, sizeof(m->last));
	if (!pl_layer_page_present(m->ly, m->last_no))
		return 0;
	rc = mpage_load(m->ly, m->last_no, &mp);
	if (rc == 0)
		memcpy(m->last, mp->entry, sizeof(m->last));
	return rc;
}
