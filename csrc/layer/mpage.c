/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Map pages in memory.
 *
 * A writable layer keeps the pages it touched, up to MPAGE_LIMIT clean ones,
 * and forgets the oldest (second chance). Dirty pages stay until a checkpoint
 * has written them.
 * A page without a place in the file and not in memory owns nothing.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "layer/layer_int.h"

struct mpage *mpage_get(struct pl_layer *ly, uint64_t page_no)
{
	struct mpage *mp = page_no < ly->page_count ? ly->pages[page_no] : NULL;

	if (mp)
		mp->used = true;
	return mp;
}

static void unlink_page(struct pl_layer *ly, struct mpage *mp)
{
	*(mp->prev ? &mp->prev->next : &ly->oldest) = mp->next;
	*(mp->next ? &mp->next->prev : &ly->newest) = mp->prev;
}

static void link_newest(struct pl_layer *ly, struct mpage *mp)
{
	mp->next = NULL;
	mp->prev = ly->newest;
	*(mp->prev ? &mp->prev->next : &ly->oldest) = mp;
	ly->newest = mp;
}

static void forget(struct pl_layer *ly, struct mpage *mp)
{
	unlink_page(ly, mp);
	ly->pages[mp->page_no] = NULL;
	ly->n_pages--;
	free(mp);
}

/* Makes room for one more; pages that must stay are passed over. */
static void evict(struct pl_layer *ly)
{
	struct mpage *mp = ly->oldest, *next;

	for (unsigned seen = 0;
	     mp && seen < 2 * MPAGE_LIMIT && ly->n_pages >= MPAGE_LIMIT;
	     seen++, mp = next) {
		next = mp->next ? mp->next : ly->oldest;
		if (mp->dirty || mp->writing || mp->used) {
			mp->used = false;
			unlink_page(ly, mp);
			link_newest(ly, mp);
			next = ly->oldest;
		} else {
			next = mp->next;
			forget(ly, mp);
		}
	}
}

int mpage_new(struct pl_layer *ly, uint64_t page_no, struct mpage **ret)
{
	struct mpage *mp;

	if (ly->n_pages >= MPAGE_LIMIT && ly->n_dirty < ly->n_pages)
		evict(ly);
	mp = calloc(1, sizeof(*mp));
	if (!mp)
		return -ENOMEM;
	mp->page_no = page_no;
	mp->used = true;
	/* No slot is valid: positions before the batch never match. */
	for (unsigned i = 0; i < PL_PAGE_ENTRIES; i++)
		mp->slot[i] = (uint32_t)ly->batch_start - 1;
	link_newest(ly, mp);
	ly->pages[page_no] = mp;
	ly->n_pages++;
	*ret = mp;
	return 0;
}

void mpage_mark_dirty(struct pl_layer *ly, struct mpage *mp)
{
	if (!mp->dirty)
		ly->n_dirty++;
	mp->dirty = true;
}

void mpage_free_all(struct pl_layer *ly)
{
	while (ly->oldest)
		forget(ly, ly->oldest);
}

void mpage_forget_from(struct pl_layer *ly, uint64_t page_no)
{
	struct mpage *next;

	for (struct mpage *mp = ly->oldest; mp; mp = next) {
		next = mp->next;
		assert(mp->page_no < page_no || !mp->dirty);
		if (mp->page_no >= page_no)
			forget(ly, mp);
	}
}

int layer_troubled(struct pl_layer *ly, struct pl_layer_trouble trouble,
		   uint64_t first, uint64_t pages)
{
	uint64_t bytes = pl_cluster_size(&ly->hdr) * PL_PAGE_ENTRIES;
	uint64_t size = ly->hdr.virtual_size;

	trouble.error = EUCLEAN;
	trouble.first = first * bytes;
	trouble.end = (first + pages) * bytes;
	if (trouble.end > size)
		trouble.end = size;
	ly->trouble = trouble;
	return -EUCLEAN;
}

static int page_troubled(struct pl_layer *ly, uint64_t page_no, const char *why)
{
	struct pl_layer_trouble t = { .what = "map page",
				      .why = why,
				      .number = page_no,
				      .off = ly->dir[page_no].location };

	return layer_troubled(ly, t, page_no, 1);
}

int mpage_read(struct pl_layer *ly, uint64_t page_no,
	       struct pl_entry entries[PL_PAGE_ENTRIES])
{
	struct pl_dir_entry de;
	char page[PL_PAGE];
	int rc = need_directory(ly, page_no);

	if (rc < 0)
		return rc;
	de = ly->dir[page_no];
	if (!de.location) {
		memset(entries, 0, PL_PAGE_ENTRIES * sizeof(*entries));
		return 0;
	}
	rc = pl_store_read(ly->st, page, PL_PAGE, de.location, PL_IO_META);
	if (rc < 0)
		return rc;
	if (pl_crc32c(0, page, PL_PAGE) != de.crc)
		return page_troubled(ly, page_no, "checksum mismatch");
	pl_map_decode(page, entries);
	for (unsigned i = 0; i < PL_PAGE_ENTRIES; i++)
		if ((entries[i].where || entries[i].owned) &&
		    pl_entry_validate(&ly->hdr, page_no * PL_PAGE_ENTRIES + i,
				      &entries[i], NULL) < 0)
			return page_troubled(ly, page_no,
					     "an entry that can't be");
	return 0;
}

int mpage_load(struct pl_layer *ly, uint64_t page_no, struct mpage **ret)
{
	struct pl_entry entries[PL_PAGE_ENTRIES];
	bool loaded;
	int rc = 0;

	*ret = mpage_get(ly, page_no);
	if (*ret)
		return 0;
	pl_comutex_lock(&ly->load_lock);
	*ret = mpage_get(ly, page_no);
	loaded = !*ret;
	if (loaded)
		rc = mpage_read(ly, page_no, entries);
	if (!*ret && rc == 0)
		rc = mpage_new(ly, page_no, ret);
	if (rc == 0 && loaded)
		memcpy((*ret)->entry, entries, sizeof(entries));
	pl_comutex_unlock(&ly->load_lock);
	return rc;
}
