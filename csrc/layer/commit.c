/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flush and checkpoint.
 *
 * flush:      [sync data, if anything pending is ordered]
 *             journal records of everything pending -> sync
 * checkpoint: flush with a checkpoint record -> map and directory pages in
 *             place -> sync -> header with the new start of the journal -> sync
 *
 * What a flush makes durable is the state of the moment it starts; requests
 * that arrive while one is running share the next one (group commit).
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/plant.h"
#include "layer/layer_int.h"

/* Page images taken at the start of a checkpoint. */
struct images {
	uint32_t n, n_dir;
	uint64_t *page_no;
	char *page; /* n pages of PL_PAGE bytes */
	uint64_t *dpno;
	char *dir; /* n_dir pages */
};

int commit_sync(struct pl_layer *ly)
{
	int rc = pl_store_sync(ly->st);

	/* What was lost can't be told: nothing may be called flushed again. */
	ly->unsynced &= rc < 0;
	if (rc < 0 && !ly->failed)
		ly->trouble = (struct pl_layer_trouble){ .error = -rc,
							 .what = "sync" };
	ly->failed |= rc < 0;
	return rc;
}

/* ---- the journal ---- */

static uint64_t journal_used(const struct pl_layer *ly)
{
	return ly->journal_head - ly->hdr.checkpoint_lsn;
}

static int write_ring(struct pl_layer *ly, const char *buf, uint64_t len)
{
	uint64_t at = ly->journal_head % ly->hdr.journal_len;
	uint64_t first = ly->hdr.journal_len - at;
	int rc;

	if (first > len)
		first = len;
	rc = pl_store_write(ly->st, buf, first, ly->hdr.journal_off + at,
			    PL_IO_META);
	if (rc == 0)
		rc = pl_store_write(ly->st, buf + first, len - first,
				    ly->hdr.journal_off, PL_IO_META);
	return rc;
}

static uint32_t put_map_record(struct pl_layer *ly, char *buf, uint64_t mid,
			       uint32_t *crc)
{
	struct pending *p = ly->pending;
	uint32_t n = (uint32_t)(mid - p->head->tail);
	struct pl_record rec = { .lsn = ly->journal_head,
				 .type = PL_RECORD_MAP,
				 .items = n,
				 .len = pl_record_len(n, 0) };

	if (n == 0)
		return 0;
	for (uint32_t i = 0; i < n; i++) {
		const struct pending_entry *e =
			pending_at(p, p->head->tail + i);

		pl_record_put_map(buf, i,
				  &(struct pl_map_item){ .cno = e->cno,
							 .entry = e->entry });
	}
	*crc = pl_record_seal(buf, &rec, *crc);
	return rec.len;
}

/* A checkpoint of many pages takes several records. */
#define RECORD_PAGES 8000u
#define RECORD_DIRS 4000u
_Static_assert(PL_RECORD_HEADER + RECORD_PAGES * PL_RECORD_ITEM +
			       RECORD_DIRS * PL_RECORD_DIR_ITEM <=
		       PL_RECORD_MAX,
	       "a checkpoint record is legal");

static uint32_t checkpoint_records(const struct images *im)
{
	uint64_t by_pages = pl_div_up(im->n, RECORD_PAGES);
	uint64_t by_dirs = pl_div_up(im->n_dir, RECORD_DIRS);

	if (by_pages == 0 && by_dirs == 0)
		return 1;
	return (uint32_t)(by_pages > by_dirs ? by_pages : by_dirs);
}

static size_t checkpoint_len(const struct images *im)
{
	return (size_t)checkpoint_records(im) * PL_RECORD_HEADER +
	       (size_t)im->n * PL_RECORD_ITEM +
	       (size_t)im->n_dir * PL_RECORD_DIR_ITEM;
}

/* How many of n items, `per` a record, go into record number k. */
static uint32_t share(uint32_t n, uint32_t k, uint32_t per)
{
	uint32_t before = k * per;

	return n <= before ? 0 : n - before < per ? n - before : per;
}

static uint32_t put_checkpoint_record(struct pl_layer *ly, char *buf,
				      uint64_t lsn, const struct images *im,
				      uint32_t k, uint32_t *crc)
{
	uint32_t n = share(im->n, k, RECORD_PAGES);
	uint32_t n_dir = share(im->n_dir, k, RECORD_DIRS);
	const uint64_t *page_no = im->page_no + (size_t)k * RECORD_PAGES;
	size_t first_dir = (size_t)k * RECORD_DIRS;
	struct pl_record rec = { .lsn = lsn,
				 .type = PL_RECORD_CHECKPOINT,
				 .items = n,
				 .dir_items = n_dir,
				 .len = pl_record_len(n, n_dir) };

	for (uint32_t i = 0; i < n; i++)
		pl_record_put_page(buf, i,
				   &(struct pl_page_item){
					   .page_no = page_no[i],
					   .location =
						   ly->dir[page_no[i]].location,
					   .crc = ly->dir[page_no[i]].crc });
	for (size_t i = 0; i < n_dir; i++)
		pl_record_put_dir(
			buf, n, (uint32_t)i,
			&(struct pl_dir_item){
				.dpno = im->dpno[first_dir + i],
				.crc = pl_dir_page_crc(
					im->dir + (first_dir + i) * PL_PAGE) });
	*crc = pl_record_seal(buf, &rec, *crc);
	return rec.len;
}

/*
 * What a flush has to leave free in the ring: room for one more full
 * `pending` and for the checkpoint that empties the ring. Without it a host
 * that was full for a while would leave a ring that can't be emptied.
 */
static size_t ring_reserve(const struct pl_layer *ly)
{
	struct images most = { .n = ly->n_dirty + PENDING_CAPACITY,
			       .n_dir = ly->n_dirty + PENDING_CAPACITY };

	return pl_record_len(PENDING_CAPACITY, 0) + checkpoint_len(&most);
}

/* Writes what is pending up to mid, and checkpoint records for im. */
static int write_records(struct pl_layer *ly, uint64_t mid,
			 const struct images *im)
{
	uint64_t n = mid - ly->pending->head->tail;
	size_t need =
		pl_record_len((uint32_t)n, 0) + (im ? checkpoint_len(im) : 0);
	uint32_t crc = ly->journal_crc, len;
	char *buf;
	int rc;

	if (journal_used(ly) + need + (im ? 0 : ring_reserve(ly)) >
	    ly->hdr.journal_len)
		return -ENOSPC; /* only while checkpoints keep failing */
	buf = malloc(need);
	if (!buf)
		return -ENOMEM;
	len = put_map_record(ly, buf, mid, &crc);
	for (uint32_t k = 0; im && k < checkpoint_records(im); k++)
		len += put_checkpoint_record(
			ly, buf + len, ly->journal_head + len, im, k, &crc);
	rc = write_ring(ly, buf, len);
	free(buf);
	if (rc == 0) {
		ly->journal_head += len;
		ly->journal_crc = crc;
	}
	return rc;
}

/* ---- page images ---- */

static void images_fini(struct images *im)
{
	free(im->page_no);
	free(im->page);
	free(im->dpno);
	free(im->dir);
}

static int images_alloc(struct images *im, unsigned n)
{
	im->page_no = calloc(n, sizeof(*im->page_no));
	im->page = malloc((size_t)n * PL_PAGE);
	im->dpno = calloc(n, sizeof(*im->dpno));
	im->dir = malloc((size_t)n * PL_PAGE);
	return im->page_no && im->page && im->dpno && im->dir ? 0 : -ENOMEM;
}

static void add_dir_page(struct pl_layer *ly, struct images *im, uint64_t dpno)
{
	struct pl_dir_entry entries[PL_DIR_ENTRIES] = { 0 };
	uint64_t first = dpno * PL_DIR_ENTRIES;
	uint64_t n = ly->page_count - first;

	for (uint32_t i = 0; i < im->n_dir; i++)
		if (im->dpno[i] == dpno)
			return;
	memcpy(entries, ly->dir + first,
	       (n < PL_DIR_ENTRIES ? n : PL_DIR_ENTRIES) * sizeof(*entries));
	pl_dir_page_encode(entries, dpno,
			   im->dir + (size_t)im->n_dir * PL_PAGE);
	im->dpno[im->n_dir++] = dpno;
}

static struct mpage *find_unplaced(const struct pl_layer *ly)
{
	struct mpage *mp = ly->oldest;

	while (mp && !(mp->dirty && !ly->dir[mp->page_no].location))
		mp = mp->next;
	return mp;
}

/*
 * Gives every dirty page a place with host space behind it (suspends). For a
 * checkpoint that ran out of space after its record would use the ring up.
 */
int commit_place_pages(struct pl_layer *ly)
{
	struct mpage *mp;
	int rc = 0;

	while (rc == 0 && (mp = find_unplaced(ly)) != NULL)
		rc = alloc_map_page(ly, mp->page_no);
	return rc;
}

/* Copies all dirty pages, at one moment (suspends before it). */
static int images_take(struct pl_layer *ly, struct images *im)
{
	struct mpage *mp;
	int rc = commit_place_pages(ly);

	if (rc == 0)
		rc = images_alloc(im, ly->n_dirty ? ly->n_dirty : 1);
	if (rc < 0)
		return rc;
	for (mp = ly->oldest; mp; mp = mp->next) {
		char *page = im->page + (size_t)im->n * PL_PAGE;

		if (!mp->dirty)
			continue;
		pl_map_encode(mp->entry, page);
		ly->dir[mp->page_no].crc = pl_crc32c(0, page, PL_PAGE);
		im->page_no[im->n++] = mp->page_no;
		mp->dirty = false;
		mp->writing = true;
	}
	ly->n_dirty = 0;
	for (uint32_t i = 0; i < im->n; i++)
		add_dir_page(ly, im, im->page_no[i] / PL_DIR_ENTRIES);
	return 0;
}

/* The pages are written, or (undone) still to be written. */
static void images_settle(struct pl_layer *ly, const struct images *im,
			  bool written)
{
	for (uint32_t i = 0; i < im->n; i++) {
		struct mpage *mp = ly->pages[im->page_no[i]];

		mp->writing = false;
		if (!written)
			mpage_mark_dirty(ly, mp);
	}
}

static int write_pages(struct pl_layer *ly, const struct images *im)
{
	uint64_t used = ly->hdr.dir_used;
	int rc = 0;

	for (uint32_t i = 0; i < im->n && rc == 0; i++)
		rc = pl_store_write(ly->st, im->page + (size_t)i * PL_PAGE,
				    PL_PAGE, ly->dir[im->page_no[i]].location,
				    PL_IO_META);
	for (uint32_t i = 0; i < im->n_dir && rc == 0; i++) {
		rc = pl_store_write(ly->st, im->dir + (size_t)i * PL_PAGE,
				    PL_PAGE,
				    ly->hdr.dir_off + im->dpno[i] * PL_PAGE,
				    PL_IO_META);
		if (im->dpno[i] >= used)
			used = im->dpno[i] + 1;
	}
	if (rc == 0)
		rc = commit_sync(ly);
	if (rc == 0)
		ly->hdr.dir_used = used;
	return rc;
}

/* ---- header ---- */

int commit_header(struct pl_layer *ly)
{
	struct pl_header hdr = ly->hdr;
	unsigned slot = !ly->slot;
	char page[PL_PAGE];
	int rc;

	hdr.sequence++;
	pl_header_encode(&hdr, page);
	rc = pl_store_write(ly->st, page, PL_PAGE, slot * PL_PAGE, PL_IO_META);
	if (rc == 0)
		rc = commit_sync(ly);
	if (rc == 0) {
		ly->hdr.sequence = hdr.sequence;
		ly->slot = slot;
	}
	return rc;
}

static int advance_journal(struct pl_layer *ly, uint64_t lsn, uint32_t crc,
			   bool clean)
{
	struct pl_header old = ly->hdr;
	int rc;

	ly->hdr.checkpoint_lsn = lsn;
	ly->hdr.checkpoint_crc = crc;
	if (clean)
		ly->hdr.flags |= PL_HEADER_CLEAN;
	rc = commit_header(ly);
	if (rc < 0) {
		ly->hdr.checkpoint_lsn = old.checkpoint_lsn;
		ly->hdr.checkpoint_crc = old.checkpoint_crc;
		ly->hdr.flags = old.flags;
	} else if (clean) {
		ly->marked_dirty = false;
	}
	return rc;
}

/* ---- flush ---- */

static bool any_ordered(struct pending *p, uint64_t mid)
{
	for (uint64_t i = p->head->tail; i < mid; i++)
		if (pending_at(p, i)->flags & PENDING_ORDERED)
			return true;
	return false;
}

/* Makes everything up to mid durable, with the records of im. */
static int commit(struct pl_layer *ly, uint64_t mid, const struct images *im)
{
	bool records = im || mid != ly->pending->head->tail;
	int rc = 0;

	if (any_ordered(ly->pending, mid) &&
	    !pl_plant(PL_PLANT_RECORD_BEFORE_DATA))
		rc = commit_sync(ly);
	if (rc == 0 && records)
		rc = write_records(ly, mid, im);
	if (rc == 0)
		rc = commit_sync(ly);
	if (rc == 0) {
		pending_advance(ly->pending, mid);
		alloc_release(ly);
	}
	return rc;
}

static int checkpoint_locked(struct pl_layer *ly, bool clean)
{
	uint64_t mid, lsn;
	struct images im = { 0 };
	uint32_t crc;
	int rc;

	rc = images_take(ly, &im);
	/* The images and this position belong to one moment. */
	mid = ly->pending->head->head;
	ly->batch_start = mid;
	ly->data_dirty = false;
	if (rc == 0)
		rc = commit(ly, mid, &im);
	lsn = ly->journal_head;
	crc = ly->journal_crc;
	if (rc == 0)
		rc = write_pages(ly, &im);
	if (rc == 0)
		rc = advance_journal(ly, lsn, crc, clean);
	images_settle(ly, &im, rc == 0);
	if (rc < 0)
		ly->data_dirty = true;
	images_fini(&im);
	return rc;
}

static bool checkpoint_due(const struct pl_layer *ly)
{
	return journal_used(ly) > ly->hdr.journal_len / 2 ||
	       ly->n_dirty > DIRTY_LIMIT;
}

static int flush_locked(struct pl_layer *ly)
{
	uint64_t mid = ly->pending->head->head;
	int rc;

	if (ly->failed)
		return -EIO;
	if (mid == ly->pending->head->tail && !ly->data_dirty)
		return ly->unsynced ? commit_sync(ly) : 0;
	if (checkpoint_due(ly)) {
		rc = checkpoint_locked(ly, false);
		/* A full host: the journal may still have room. */
		if (rc != -ENOSPC || ly->failed)
			return rc;
		mid = ly->pending->head->head;
	}
	ly->batch_start = mid;
	ly->data_dirty = false;
	rc = commit(ly, mid, NULL);
	if (rc < 0)
		ly->data_dirty = true;
	return rc;
}

int pl_layer_flush(struct pl_layer *ly)
{
	uint64_t ticket = ly->flush_started + 1, mine;
	int rc = 0;

	if (!ly->writable)
		return 0;
	pl_comutex_lock(&ly->flush_lock);
	if (ly->failed) {
		rc = -EIO;
	} else if (!ly->writable) {
		rc = 0; /* sealed meanwhile, which is more */
	} else if (ly->flush_done < ticket) {
		mine = ++ly->flush_started;
		rc = flush_locked(ly);
		if (rc == 0)
			ly->flush_done = mine;
	}
	pl_comutex_unlock(&ly->flush_lock);
	return rc;
}

int commit_checkpoint(struct pl_layer *ly, bool clean)
{
	uint64_t mine;
	int rc;

	if (!ly->writable)
		return 0;
	if (ly->failed)
		return -EIO;
	if (clean && !ly->marked_dirty && !ly->data_dirty && !ly->n_dirty)
		return ly->unsynced ? commit_sync(ly) : 0;
	mine = ++ly->flush_started;
	rc = checkpoint_locked(ly, clean);
	if (rc == 0)
		ly->flush_done = mine;
	return rc;
}

int pl_layer_checkpoint(struct pl_layer *ly)
{
	int rc;

	pl_comutex_lock(&ly->flush_lock);
	rc = commit_checkpoint(ly, false);
	pl_comutex_unlock(&ly->flush_lock);
	return rc;
}
