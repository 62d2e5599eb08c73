/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening after a crash: reads the journal from the checkpoint on, heals
 * directory and map pages that a checkpoint was writing (FMT-046), and applies
 * the records to the map in memory. Changes nothing on disk.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "layer/salvage.h"

#define DIR_BATCH 16u /* directory pages read together */
#define DIR_SMALL 4u /* directory pages read at opening always: 64 GiB */

/* Where a map item is. */
struct ref {
	uint64_t page_no;
	uint32_t rec, item;
};

struct replay {
	struct pl_layer *ly;
	char *ring; /* the whole journal, from the checkpoint on */
	struct pl_record *rec;
	uint32_t n_rec, cap;
	struct ref *ref; /* all map items, by page and then in order */
	size_t n_ref;
	struct pl_err *err;
};

static const char *body(const struct replay *r, uint32_t i)
{
	return r->ring + (r->rec[i].lsn - r->ly->hdr.checkpoint_lsn);
}

static int damaged(const struct replay *r, const char *what, uint64_t no)
{
	return pl_err_set(r->err, PL_E_CORRUPT, EUCLEAN,
			  "layer %s: %s %llu: checksum mismatch, and the "
			  "journal can't heal it",
			  r->ly->id, what, (unsigned long long)no);
}

static int read_ring(struct replay *r)
{
	const struct pl_header *h = &r->ly->hdr;
	uint64_t at = h->checkpoint_lsn % h->journal_len;
	int rc;

	r->ring = malloc(h->journal_len);
	if (!r->ring)
		return -ENOMEM;
	rc = pl_store_read(r->ly->st, r->ring, h->journal_len - at,
			   h->journal_off + at, PL_IO_META);
	if (rc == 0)
		rc = pl_store_read(r->ly->st, r->ring + h->journal_len - at, at,
				   h->journal_off, PL_IO_META);
	return rc;
}

static int add_record(struct replay *r, const struct pl_record *rec)
{
	if (r->n_rec == r->cap) {
		uint32_t cap = r->cap ? r->cap * 2 : 256;
		void *p = realloc(r->rec, cap * sizeof(*rec));

		if (!p)
			return -ENOMEM;
		r->rec = p;
		r->cap = cap;
	}
	r->rec[r->n_rec++] = *rec;
	return 0;
}

static int find_records(struct replay *r)
{
	struct pl_layer *ly = r->ly;
	uint64_t lsn = ly->hdr.checkpoint_lsn, pos = 0;
	uint32_t crc = ly->hdr.checkpoint_crc, skip;
	struct pl_record rec;
	int rc = 0;

	for (;;) {
		while (rc == 0 &&
		       pl_record_parse(r->ring + pos, ly->hdr.journal_len - pos,
				       lsn + pos, crc, &rec)) {
			rc = add_record(r, &rec);
			pos += rec.len;
			crc = rec.crc;
		}
		skip = rc == 0 && ly->salvage ?
			       salvage_record(r->ring + pos,
					      ly->hdr.journal_len - pos,
					      lsn + pos, &crc) :
			       0;
		if (!skip)
			break;
		salvage_journal(ly, lsn + pos, "has a wrong checksum");
		pos += skip;
	}
	if (ly->salvage)
		ly->salvage->records = r->n_rec;
	ly->journal_head = lsn + pos;
	ly->journal_crc = crc;
	return rc;
}

/* ---- the directory ---- */

/* Applies all page items that fall into directory page dpno. */
static void redo_dir_page(const struct replay *r, uint64_t dpno,
			  struct pl_dir_entry *entries, uint32_t *ret_crc,
			  bool *ret_known)
{
	struct pl_page_item it;
	struct pl_dir_item di;

	*ret_known = false;
	for (uint32_t i = 0; i < r->n_rec; i++) {
		const struct pl_record *rec = &r->rec[i];

		if (rec->type != PL_RECORD_CHECKPOINT)
			continue;
		for (uint32_t k = 0; k < rec->items; k++) {
			pl_record_get_page(body(r, i), k, &it);
			if (it.page_no / PL_DIR_ENTRIES == dpno)
				entries[it.page_no % PL_DIR_ENTRIES] =
					(struct pl_dir_entry){
						.location = it.location,
						.crc = it.crc
					};
		}
		for (uint32_t k = 0; k < rec->dir_items; k++) {
			pl_record_get_dir(body(r, i), rec->items, k, &di);
			if (di.dpno == dpno) {
				*ret_crc = di.crc;
				*ret_known = true;
			}
		}
	}
}

static int heal_dir_page(const struct replay *r, uint64_t dpno,
			 struct pl_dir_entry *entries)
{
	char page[PL_PAGE];
	uint32_t crc = 0;
	bool known;

	redo_dir_page(r, dpno, entries, &crc, &known);
	pl_dir_page_encode(entries, dpno, page);
	if (!known || pl_dir_page_crc(page) != crc)
		return damaged(r, "directory page", dpno);
	return 0;
}

static bool location_ok(const struct pl_header *h, uint64_t location)
{
	return location % PL_PAGE == 0 &&
	       location >= h->first_cluster * pl_cluster_size(h) &&
	       location < (1ull << 62);
}

static int take_dir_page(const struct replay *r, uint64_t dpno,
			 const char *page)
{
	struct pl_layer *ly = r->ly;
	struct pl_dir_entry entries[PL_DIR_ENTRIES];
	uint64_t first = dpno * PL_DIR_ENTRIES;
	enum pl_dir_page_state state;
	int rc = 0;

	state = pl_dir_page_decode(page, dpno, entries);
	if (state == PL_DIR_PAGE_BAD)
		rc = heal_dir_page(r, dpno, entries);
	if (rc == -EUCLEAN && ly->salvage)
		rc = salvage_dir_page(ly, dpno, entries);
	for (unsigned i = 0;
	     rc == 0 && i < PL_DIR_ENTRIES && first + i < ly->page_count; i++) {
		bool fine = !entries[i].location ||
			    location_ok(&ly->hdr, entries[i].location);

		if (!fine && ly->salvage)
			salvage_dir_entry(ly, first + i, &entries[i]);
		else if (!fine)
			return pl_err_set(
				r->err, PL_E_CORRUPT, EUCLEAN,
				"layer %s: directory entry %llu "
				"points to %llu, outside of the "
				"clusters",
				ly->id, (unsigned long long)(first + i),
				(unsigned long long)entries[i].location);
		ly->dir[first + i] = entries[i];
	}
	/* What is in use may not be left out by the next CLEAN header. */
	if (rc == 0 && state != PL_DIR_PAGE_EMPTY && dpno >= ly->hdr.dir_used)
		ly->hdr.dir_used = dpno + 1;
	return rc;
}

/* Directory pages [d, end), some at a time. */
static int take_dir_pages(const struct replay *r, uint64_t d, uint64_t end)
{
	struct pl_layer *ly = r->ly;
	uint64_t batch = end - d < DIR_BATCH ? end - d : DIR_BATCH;
	char *pages = malloc(batch ? batch * PL_PAGE : 1);
	int rc = pages ? 0 : -ENOMEM;

	if (rc < 0)
		return pl_err_sys(r->err, rc, "layer %s: directory", ly->id);
	for (; d < end && rc == 0; d += batch) {
		batch = end - d < DIR_BATCH ? end - d : DIR_BATCH;
		rc = pl_store_read(ly->st, pages, batch * PL_PAGE,
				   ly->hdr.dir_off + d * PL_PAGE, PL_IO_META);
		if (rc < 0)
			pl_err_sys(r->err, rc, "layer %s: directory", ly->id);
		for (uint64_t i = 0; i < batch && rc == 0; i++)
			rc = take_dir_page(r, d + i, pages + i * PL_PAGE);
	}
	free(pages);
	return rc;
}

int load_directory(struct pl_layer *ly, bool lazy, struct pl_err *err)
{
	struct replay r = { .ly = ly, .err = err };
	uint64_t n = pl_dir_page_count(&ly->hdr);

	if (n > ly->hdr.dir_used)
		n = ly->hdr.dir_used;
	if (!lazy || n <= DIR_SMALL)
		return take_dir_pages(&r, 0, n);
	ly->unread = calloc(pl_dir_page_count(&ly->hdr), sizeof(*ly->unread));
	if (!ly->unread)
		return pl_err_sys(err, -ENOMEM, "layer %s: directory", ly->id);
	memset(ly->unread, true, n);
	return 0;
}

/*
 * Who else needs the page meanwhile reads it, too: nobody changes it. Nothing
 * of it counts until all of it was found right.
 */
int need_directory(struct pl_layer *ly, uint64_t page_no)
{
	struct replay r = { .ly = ly };
	uint64_t d = page_no / PL_DIR_ENTRIES;
	int rc = dir_unread(ly, page_no) ? take_dir_pages(&r, d, d + 1) : 0;
	struct pl_layer_trouble t = { .what = "directory page",
				      .why = "it is damaged",
				      .number = d,
				      .off = ly->hdr.dir_off + d * PL_PAGE };

	if (rc == -EUCLEAN)
		layer_troubled(ly, t, d * PL_DIR_ENTRIES, PL_DIR_ENTRIES);
	if (rc == 0 && ly->unread)
		ly->unread[d] = false;
	return rc;
}

static int load_all_dir_pages(struct replay *r)
{
	/* A checkpoint that did not finish may have written beyond dir_used. */
	return take_dir_pages(r, 0, pl_dir_page_count(&r->ly->hdr));
}

/* ---- map pages ---- */

static int compare_refs(const void *a, const void *b)
{
	const struct ref *x = a, *y = b;

	if (x->page_no != y->page_no)
		return x->page_no < y->page_no ? -1 : 1;
	if (x->rec != y->rec)
		return x->rec < y->rec ? -1 : 1;
	return x->item < y->item ? -1 : x->item > y->item;
}

/* So that replaying takes no longer than reading, whatever the ring holds. */
static int index_map_items(struct replay *r)
{
	struct pl_map_item it;
	size_t n = 0;

	for (uint32_t i = 0; i < r->n_rec; i++)
		n += r->rec[i].type == PL_RECORD_MAP ? r->rec[i].items : 0;
	r->ref = calloc(n ? n : 1, sizeof(*r->ref));
	if (!r->ref)
		return -ENOMEM;
	for (uint32_t i = 0; i < r->n_rec; i++)
		for (uint32_t k = 0;
		     r->rec[i].type == PL_RECORD_MAP && k < r->rec[i].items;
		     k++) {
			pl_record_get_map(body(r, i), k, &it);
			r->ref[r->n_ref++] =
				(struct ref){ it.cno / PL_PAGE_ENTRIES, i, k };
		}
	qsort(r->ref, r->n_ref, sizeof(*r->ref), compare_refs);
	return 0;
}

/* The first map item of this page or a later one. */
static size_t find_ref(const struct replay *r, uint64_t page_no)
{
	size_t low = 0, high = r->n_ref;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (r->ref[mid].page_no < page_no)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* Applies the map items of one page from records before lsn. */
static int redo_map(const struct replay *r, uint64_t page_no, uint64_t lsn,
		    struct pl_entry *entries)
{
	struct pl_map_item it;

	for (size_t i = find_ref(r, page_no);
	     i < r->n_ref && r->ref[i].page_no == page_no; i++) {
		const struct pl_record *rec = &r->rec[r->ref[i].rec];

		if (rec->lsn >= lsn)
			break;
		pl_record_get_map(body(r, r->ref[i].rec), r->ref[i].item, &it);
		if (pl_entry_validate(&r->ly->hdr, it.cno, &it.entry, r->err) ==
		    0) {
			entries[it.cno % PL_PAGE_ENTRIES] = it.entry;
			continue;
		}
		if (!r->ly->salvage)
			return -EUCLEAN;
		salvage_journal(r->ly, rec->lsn, "has an entry that can't be");
	}
	return 0;
}

static bool sum_is(const struct pl_entry *entries, uint32_t crc)
{
	char page[PL_PAGE];

	pl_map_encode(entries, page);
	return pl_crc32c(0, page, PL_PAGE) == crc;
}

/*
 * The page that record i announced: whole on disk; or torn, and whole again by
 * the records before it; or new, and made of those records alone.
 */
static int heal_by_item(const struct replay *r, uint32_t i,
			const struct pl_page_item *it, struct pl_entry *entries)
{
	uint64_t lsn = r->rec[i].lsn;
	char page[PL_PAGE];
	int rc = 0;

	if (!location_ok(&r->ly->hdr, it->location) ||
	    pl_store_read(r->ly->st, page, PL_PAGE, it->location, PL_IO_META) <
		    0)
		return -ENOENT;
	pl_map_decode(page, entries);
	if (sum_is(entries, it->crc))
		return 0;
	rc = redo_map(r, it->page_no, lsn, entries);
	if (rc == 0 && sum_is(entries, it->crc))
		return 0;
	memset(entries, 0, PL_PAGE_ENTRIES * sizeof(*entries));
	if (rc == 0)
		rc = redo_map(r, it->page_no, lsn, entries);
	return rc == 0 && !sum_is(entries, it->crc) ? -ENOENT : rc;
}

static int heal_map_page(const struct replay *r, uint64_t page_no,
			 struct pl_entry *entries)
{
	struct pl_page_item it;
	int rc;

	for (uint32_t i = r->n_rec; i-- > 0;) {
		if (r->rec[i].type != PL_RECORD_CHECKPOINT)
			continue;
		for (uint32_t k = 0; k < r->rec[i].items; k++) {
			pl_record_get_page(body(r, i), k, &it);
			if (it.page_no != page_no)
				continue;
			rc = heal_by_item(r, i, &it, entries);
			if (rc == -ENOENT)
				continue;
			if (rc == 0 && !r->ly->dir[page_no].location)
				r->ly->dir[page_no].location = it.location;
			return rc;
		}
	}
	return damaged(r, "map page", page_no);
}

static bool in_checkpoint(const struct replay *r, uint64_t page_no)
{
	struct pl_page_item it;

	for (uint32_t i = 0; i < r->n_rec; i++)
		for (uint32_t k = 0; r->rec[i].type == PL_RECORD_CHECKPOINT &&
				     k < r->rec[i].items;
		     k++) {
			pl_record_get_page(body(r, i), k, &it);
			if (it.page_no == page_no)
				return true;
		}
	return false;
}

static int replay_page(const struct replay *r, uint64_t page_no)
{
	struct pl_entry entries[PL_PAGE_ENTRIES];
	struct pl_layer *ly = r->ly;
	struct mpage *mp;
	bool damaged_page;
	int rc;

	if (page_no >= ly->page_count && ly->salvage) {
		salvage_journal(ly, 0, "names a map page beyond the disk");
		return 0;
	}
	if (page_no >= ly->page_count)
		return pl_err_set(r->err, PL_E_CORRUPT, EUCLEAN,
				  "layer %s: journal: map page %llu is beyond "
				  "the end of the disk",
				  ly->id, (unsigned long long)page_no);
	if (ly->pages[page_no])
		return 0;
	rc = mpage_read(ly, page_no, entries);
	if (rc == 0 && !ly->dir[page_no].location && in_checkpoint(r, page_no))
		rc = -EUCLEAN; /* new, and its directory page not written */
	if (rc == -EUCLEAN)
		rc = heal_map_page(r, page_no, entries);
	damaged_page = rc == -EUCLEAN && ly->salvage;
	if (damaged_page)
		rc = salvage_map_page(ly, page_no, entries);
	if (rc == 0)
		rc = redo_map(r, page_no, UINT64_MAX, entries);
	if (rc < 0)
		return rc == -ENOMEM || rc == -EIO ?
			       pl_err_sys(r->err, rc, "layer %s", ly->id) :
			       rc;
	rc = mpage_new(ly, page_no, &mp);
	if (rc < 0)
		return pl_err_sys(r->err, rc, "layer %s", ly->id);
	memcpy(mp->entry, entries, sizeof(entries));
	mp->damaged = damaged_page;
	mpage_mark_dirty(ly, mp);
	return 0;
}

static int replay_record(const struct replay *r, uint32_t i)
{
	struct pl_map_item map;
	struct pl_page_item page;
	int rc = 0;

	for (uint32_t k = 0; k < r->rec[i].items && rc == 0; k++) {
		if (r->rec[i].type == PL_RECORD_MAP) {
			pl_record_get_map(body(r, i), k, &map);
			rc = replay_page(r, map.cno / PL_PAGE_ENTRIES);
		} else {
			pl_record_get_page(body(r, i), k, &page);
			rc = replay_page(r, page.page_no);
		}
	}
	return rc;
}

int replay(struct pl_layer *ly, struct pl_err *err)
{
	struct replay r = { .ly = ly, .err = err };
	int rc = read_ring(&r);

	if (rc == 0)
		rc = find_records(&r);
	if (rc == 0)
		rc = index_map_items(&r);
	if (rc < 0)
		pl_err_sys(err, rc, "layer %s: journal", ly->id);
	if (rc == 0)
		rc = load_all_dir_pages(&r);
	for (uint32_t i = 0; i < r.n_rec && rc == 0; i++)
		rc = replay_record(&r, i);
	free(r.ring);
	free(r.rec);
	free(r.ref);
	return rc;
}
