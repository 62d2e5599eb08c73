/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moving to lower host clusters, so that the file can be shortened: map pages,
 * and what those who move data need of a layer.
 *
 * A page is written and durable at its new place before the directory says so;
 * its old cluster is punched and free only after the directory is durable.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "layer/layer_int.h"

static uint64_t cluster_of(const struct pl_layer *ly, uint64_t page_no)
{
	return ly->dir[page_no].location / pl_cluster_size(&ly->hdr);
}

/* A place for one map page below limit; 0 when there is none. */
static uint64_t place_below(struct pl_layer *ly, uint64_t *place,
			    uint64_t limit)
{
	uint64_t cs = pl_cluster_size(&ly->hdr), at = *place;

	if (!at) {
		at = pl_layer_take_below(ly, limit) * cs;
		if (!at)
			return 0;
		ly->alloc.n_used--; /* not data */
	}
	*place = at + PL_PAGE;
	if (*place % cs == 0)
		*place = 0;
	return at;
}

static int copy_page(struct pl_layer *ly, uint64_t from, uint64_t to)
{
	char page[PL_PAGE];
	int rc = pl_store_read(ly->st, page, PL_PAGE, from, PL_IO_META);

	return rc < 0 ? rc :
			pl_store_write(ly->st, page, PL_PAGE, to, PL_IO_META);
}

/*
 * Copies pages; new_place[page_no] is set for those that moved. All pages are
 * clean here, so the file holds their content.
 */
static int copy_pages(struct pl_layer *ly, uint64_t limit, uint64_t *new_place,
		      uint64_t *place)
{
	uint64_t at;
	int rc = 0;

	for (uint64_t p = 0; p < ly->page_count && rc == 0; p++) {
		if (!ly->dir[p].location || cluster_of(ly, p) < limit)
			continue;
		at = place_below(ly, place, limit);
		if (!at)
			break;
		rc = copy_page(ly, ly->dir[p].location, at);
		new_place[p] = at;
	}
	return rc < 0 ? rc : pl_store_sync(ly->st);
}

static bool still_holds_maps(const struct pl_layer *ly, uint64_t cluster)
{
	for (uint64_t p = 0; p < ly->page_count; p++)
		if (ly->dir[p].location && cluster_of(ly, p) == cluster)
			return true;
	return false;
}

static int free_old(struct pl_layer *ly, const uint64_t *old_place)
{
	uint64_t cs = pl_cluster_size(&ly->hdr), c, last = 0;
	int rc = 0;

	for (uint64_t p = 0; p < ly->page_count && rc == 0; p++) {
		c = old_place[p] / cs;
		if (!c || c == last || still_holds_maps(ly, c))
			continue;
		last = c;
		if (!(ly->alloc.used[c / 64] >> (c % 64) & 1))
			continue; /* freed for an earlier page */
		rc = pl_store_punch(ly->st, c * cs, cs);
		if (rc == 0)
			alloc_free_now(ly, c);
	}
	return rc < 0 ? rc : pl_store_sync(ly->st);
}

static int move_pages(struct pl_layer *ly, uint64_t limit, uint64_t *new_place)
{
	uint64_t place = 0, old;
	struct mpage *mp;
	int rc = commit_checkpoint(ly, false);

	/* Loading may suspend, changing the map meanwhile; so it comes first. */
	if (rc == 0)
		rc = copy_pages(ly, limit, new_place, &place);
	for (uint64_t p = 0; rc == 0 && p < ly->page_count; p++) {
		if (!new_place[p])
			continue;
		rc = mpage_load(ly, p, &mp);
		if (rc < 0)
			break;
		old = ly->dir[p].location;
		ly->dir[p].location = new_place[p];
		new_place[p] = old;
		mpage_mark_dirty(ly, mp);
	}
	if (rc < 0)
		return rc;
	/* Later pages go where these went; the old place is left behind. */
	ly->alloc.meta_next = place;
	rc = commit_checkpoint(ly, false);
	return rc < 0 ? rc : free_old(ly, new_place);
}

static int move_locked(struct pl_layer *ly, uint64_t limit, uint64_t *new_place)
{
	int rc = move_pages(ly, limit, new_place);

	/* Copies, or old places, stay behind where nobody uses them. */
	if (rc < 0)
		pl_layer_distrust(ly);
	return rc;
}

int pl_layer_move_maps(struct pl_layer *ly, uint64_t limit)
{
	uint64_t *new_place;
	bool any = false;
	int rc;

	for (uint64_t p = 0; p < ly->page_count && !any; p++)
		any = ly->dir[p].location && cluster_of(ly, p) >= limit;
	if (!any)
		return 0;
	new_place = calloc(ly->page_count, sizeof(*new_place));
	if (!new_place)
		return -ENOMEM;
	rc = mark_dirty(ly);
	if (rc == 0) {
		pl_comutex_lock(&ly->flush_lock);
		rc = move_locked(ly, limit, new_place);
		pl_comutex_unlock(&ly->flush_lock);
	}
	free(new_place);
	return rc;
}

int pl_layer_sync_data(struct pl_layer *ly)
{
	return ly->failed ? -EIO : commit_sync(ly);
}
