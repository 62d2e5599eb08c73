/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking entries up and changing them.
 *
 * A change goes to the map in memory and to `pending` in one step without
 * suspending, so that the two never disagree (invariant 1).
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "layer/layer_int.h"

bool pl_layer_page_present(const struct pl_layer *ly, uint64_t page_no)
{
	return page_no < ly->page_count &&
	       (ly->pages[page_no] || dir_unread(ly, page_no) ||
		ly->dir[page_no].location);
}

bool pl_layer_peek(struct pl_layer *ly, uint64_t cno, struct pl_entry *ret)
{
	uint64_t page_no = cno / PL_PAGE_ENTRIES;
	struct mpage *mp = mpage_get(ly, page_no);

	if (mp)
		*ret = mp->entry[cno % PL_PAGE_ENTRIES];
	else if (!pl_layer_page_present(ly, page_no))
		*ret = (struct pl_entry){ 0 };
	else
		return false;
	return true;
}

int pl_layer_entry(struct pl_layer *ly, uint64_t cno, struct pl_entry *ret)
{
	struct mpage *mp;
	int rc;

	if (pl_layer_peek(ly, cno, ret))
		return 0;
	rc = mpage_load(ly, cno / PL_PAGE_ENTRIES, &mp);
	if (rc == 0)
		*ret = mp->entry[cno % PL_PAGE_ENTRIES];
	return rc;
}

int pl_layer_page(struct pl_layer *ly, uint64_t page_no,
		  struct pl_entry entries[PL_PAGE_ENTRIES])
{
	struct mpage *mp = mpage_get(ly, page_no);
	int rc;

	/* A page that others change and write is read under their lock. */
	if (!mp && ly->writable && pl_layer_page_present(ly, page_no)) {
		rc = mpage_load(ly, page_no, &mp);
		if (rc < 0)
			return rc;
	}
	if (!mp && page_no < ly->page_count)
		return mpage_read(ly, page_no, entries);
	if (mp)
		memcpy(entries, mp->entry, sizeof(mp->entry));
	else
		memset(entries, 0, sizeof(mp->entry));
	return 0;
}

/* The header says "not clean" before anything changes (invariant 4). */
int mark_dirty(struct pl_layer *ly)
{
	int rc = 0;

	if (ly->marked_dirty)
		return 0;
	pl_comutex_lock(&ly->flush_lock);
	if (!ly->marked_dirty) {
		ly->hdr.flags &= ~PL_HEADER_CLEAN;
		rc = commit_header(ly);
		ly->marked_dirty = rc == 0;
	}
	pl_comutex_unlock(&ly->flush_lock);
	return rc;
}

/*
 * Gets everything a change needs: a marked header, the page in memory, room in
 * `pending`. Nothing suspends between its return and the change.
 */
static int prepare(struct pl_layer *ly, uint64_t cno, struct mpage **ret)
{
	int rc;

	assert(ly->writable && cno / PL_PAGE_ENTRIES < ly->page_count);
	for (;;) {
		if (ly->failed)
			return -EIO;
		rc = mark_dirty(ly);
		if (rc == 0 && pending_full(ly->pending))
			rc = pl_layer_flush(ly);
		if (rc == 0)
			rc = mpage_load(ly, cno / PL_PAGE_ENTRIES, ret);
		if (rc < 0)
			return rc;
		*ret = mpage_get(ly, cno / PL_PAGE_ENTRIES);
		if (*ret && !pending_full(ly->pending))
			return 0;
	}
}

/* Is there an entry for this cluster that no flush has taken up yet? */
static bool in_batch(const struct pl_layer *ly, const struct mpage *mp,
		     unsigned i, uint64_t *ret_pos)
{
	uint64_t head = ly->pending->head->head;
	uint32_t back = (uint32_t)head - mp->slot[i];

	if (back == 0 || back > head - ly->batch_start)
		return false;
	*ret_pos = head - back;
	return pending_at(ly->pending, *ret_pos)->cno ==
	       mp->page_no * PL_PAGE_ENTRIES + i;
}

static void change(struct pl_layer *ly, struct mpage *mp, uint64_t cno,
		   struct pl_entry entry, bool ordered)
{
	unsigned i = cno % PL_PAGE_ENTRIES;
	uint64_t flags = ordered ? PENDING_ORDERED : 0, pos;

	if (in_batch(ly, mp, i, &pos) && mp->entry[i].where == entry.where) {
		pending_update(ly->pending, pos, entry.owned, flags);
	} else {
		mp->slot[i] = (uint32_t)ly->pending->head->head;
		pending_add(ly->pending, &(struct pending_entry){
						 .cno = cno,
						 .entry = entry,
						 .flags = flags,
					 });
	}
	mp->entry[i] = entry;
	mpage_mark_dirty(ly, mp);
}

int pl_layer_map(struct pl_layer *ly, uint64_t cno, uint64_t *ret_where)
{
	struct pl_entry *e;
	struct mpage *mp;
	uint64_t where;
	int rc = prepare(ly, cno, &mp);

	if (rc < 0)
		return rc;
	e = &mp->entry[cno % PL_PAGE_ENTRIES];
	if (!e->where) {
		rc = alloc_take(ly, &where);
		if (rc < 0)
			return rc;
		change(ly, mp, cno,
		       (struct pl_entry){ .where = where, .owned = e->owned },
		       false);
		mp->fresh[cno % PL_PAGE_ENTRIES / 64] |= 1ull << (cno % 64);
	}
	*ret_where = e->where;
	return 0;
}

int pl_layer_set(struct pl_layer *ly, uint64_t cno, struct pl_entry entry,
		 bool ordered)
{
	struct pl_entry old;
	struct mpage *mp;
	int rc = prepare(ly, cno, &mp);

	if (rc < 0)
		return rc;
	assert((entry.owned & ~pl_owned_limit(&ly->hdr, cno)) == 0);
	old = mp->entry[cno % PL_PAGE_ENTRIES];
	if (old.where == entry.where && old.owned == entry.owned && !ordered)
		return 0;
	change(ly, mp, cno, entry, ordered);
	if (old.where != entry.where)
		mp->fresh[cno % PL_PAGE_ENTRIES / 64] &= ~(1ull << (cno % 64));
	return 0;
}

int pl_layer_own(struct pl_layer *ly, uint64_t cno, uint64_t mask, bool ordered)
{
	struct pl_entry e;
	struct mpage *mp;
	int rc = prepare(ly, cno, &mp);

	if (rc < 0)
		return rc;
	assert((mask & ~pl_owned_limit(&ly->hdr, cno)) == 0);
	e = mp->entry[cno % PL_PAGE_ENTRIES];
	e.owned |= mask;
	change(ly, mp, cno, e, ordered);
	return 0;
}

void pl_layer_free_cluster(struct pl_layer *ly, uint64_t where)
{
	alloc_free_later(ly, where);
}

bool pl_layer_trusts(struct pl_layer *ly, uint64_t cno)
{
	struct mpage *mp = mpage_get(ly, cno / PL_PAGE_ENTRIES);

	if (ly->trusted)
		return true;
	return mp && (mp->fresh[cno % PL_PAGE_ENTRIES / 64] >> (cno % 64) & 1);
}

void pl_layer_distrust(struct pl_layer *ly)
{
	ly->trusted = false;
	ly->distrusted++;
	ly->hdr.flags |= PL_HEADER_STALE;
	for (struct mpage *mp = ly->oldest; mp; mp = mp->next)
		memset(mp->fresh, 0, sizeof(mp->fresh));
}

uint64_t pl_layer_distrusted(const struct pl_layer *ly)
{
	return ly->distrusted;
}

bool pl_layer_stale(const struct pl_layer *ly)
{
	return ly->hdr.flags & PL_HEADER_STALE;
}

int pl_layer_trust(struct pl_layer *ly, uint64_t since)
{
	int rc;

	if (ly->trusted)
		return 0;
	pl_layer_touch(ly);
	rc = pl_layer_flush(ly);
	if (rc == 0 && ly->distrusted == since) {
		ly->trusted = true;
		ly->hdr.flags &= ~PL_HEADER_STALE;
	}
	return rc;
}

void pl_layer_touch(struct pl_layer *ly)
{
	ly->data_dirty = true;
}
