/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening a damaged layer: what does not hold is told and left out of the map
 * in memory; what can be proven stays. Opened for writing, closing it writes a
 * map that holds; so a repair that is interrupted leaves a layer to which the
 * same can be done again.
 *
 * Relies on the caller having kept a copy of the file where damage is found
 * that has no one right answer (pl_damage_fix()).
 */
#include "layer/salvage.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"

#define PAGES_MAX 8192u /* map pages changed in one repair */

typedef unsigned long long ull;

void salvage_found(struct pl_layer *ly, enum pl_damage kind, uint64_t off,
		   const char *fmt, ...)
{
	va_list ap;

	ly->salvage->found++;
	va_start(ap, fmt);
	pl_damage_vtell(ly->salvage->sink, kind, off, fmt, ap);
	va_end(ap);
}

/* ---- the directory ---- */

static bool place_ok(const struct pl_layer *ly, uint64_t location)
{
	return location % PL_PAGE == 0 &&
	       location >= ly->hdr.first_cluster * pl_cluster_size(&ly->hdr) &&
	       location < ly->salvage->size;
}

static int proven(struct pl_layer *ly, const struct pl_dir_entry *de, bool *ret)
{
	char page[PL_PAGE];
	int rc;

	*ret = false;
	if (!place_ok(ly, de->location))
		return 0;
	rc = pl_store_read(ly->st, page, PL_PAGE, de->location, PL_IO_META);
	*ret = rc == 0 && pl_crc32c(0, page, PL_PAGE) == de->crc;
	return rc;
}

int salvage_dir_page(struct pl_layer *ly, uint64_t dpno,
		     struct pl_dir_entry *entries)
{
	unsigned kept = 0, lost = 0;
	bool good;
	int rc = 0;

	for (unsigned i = 0; i < PL_DIR_ENTRIES && rc == 0; i++) {
		if (!entries[i].location && !entries[i].crc)
			continue;
		rc = proven(ly, &entries[i], &good);
		kept += good;
		lost += !good;
		if (!good)
			entries[i] = (struct pl_dir_entry){ 0 };
	}
	ly->salvage->bad_dirs[dpno] = true;
	salvage_found(ly, PL_DAMAGE_DIRECTORY_PAGE,
		      ly->hdr.dir_off + dpno * PL_PAGE,
		      "directory page %llu: checksum mismatch; %u map pages "
		      "that it names prove themselves, %u do not",
		      (ull)dpno, kept, lost);
	return rc;
}

void salvage_dir_entry(struct pl_layer *ly, uint64_t page_no,
		       struct pl_dir_entry *entry)
{
	ly->salvage->bad_dirs[page_no / PL_DIR_ENTRIES] = true;
	salvage_found(ly, PL_DAMAGE_DIRECTORY_ENTRY,
		      ly->hdr.dir_off + page_no / PL_DIR_ENTRIES * PL_PAGE +
			      page_no % PL_DIR_ENTRIES * 16,
		      "the directory says that map page %llu is at %llu, where "
		      "none can be",
		      (ull)page_no, (ull)entry->location);
	*entry = (struct pl_dir_entry){ 0 };
}

/* The page before dir_used was written: it can't be empty. */
static int check_last_dir(struct pl_layer *ly)
{
	uint64_t last = ly->hdr.dir_used - 1;
	struct pl_dir_entry entries[PL_DIR_ENTRIES];
	char page[PL_PAGE];
	int rc;

	if (ly->hdr.dir_used == 0 || last >= pl_dir_page_count(&ly->hdr))
		return 0;
	rc = pl_store_read(ly->st, page, PL_PAGE,
			   ly->hdr.dir_off + last * PL_PAGE, PL_IO_META);
	if (rc == 0 &&
	    pl_dir_page_decode(page, last, entries) == PL_DIR_PAGE_EMPTY)
		rc = salvage_dir_page(ly, last, entries);
	return rc;
}

/* Does directory page d name a map page that is there? */
static int names_pages(struct pl_layer *ly, uint64_t d, bool *ret)
{
	struct pl_dir_entry entries[PL_DIR_ENTRIES];
	char page[PL_PAGE];
	int rc = pl_store_read(ly->st, page, PL_PAGE,
			       ly->hdr.dir_off + d * PL_PAGE, PL_IO_META);

	*ret = false;
	if (rc < 0 || pl_dir_page_decode(page, d, entries) != PL_DIR_PAGE_OK)
		return rc;
	for (unsigned i = 0; i < PL_DIR_ENTRIES && !*ret && rc == 0; i++)
		rc = proven(ly, &entries[i], ret);
	return rc;
}

/* A closed layer counts all directory pages that it has written. */
static int check_dir_used(struct pl_layer *ly)
{
	uint64_t all = pl_dir_page_count(&ly->hdr), used = ly->hdr.dir_used;
	bool more;
	int rc = check_last_dir(ly);

	if (!(ly->hdr.flags & PL_HEADER_CLEAN))
		return rc;
	for (uint64_t d = used; d < all && rc == 0; d++) {
		rc = names_pages(ly, d, &more);
		if (rc == 0 && more) {
			ly->hdr.dir_used = d + 1;
			ly->salvage->bad_dirs[d] = true;
		}
	}
	if (rc == 0 && ly->hdr.dir_used != used)
		salvage_found(ly, PL_DAMAGE_DIRECTORY_USED, 0,
			      "the header counts %llu directory pages, there "
			      "are %llu",
			      (ull)used, (ull)ly->hdr.dir_used);
	return rc;
}

/* ---- map pages and the journal ---- */

int salvage_map_page(struct pl_layer *ly, uint64_t page_no,
		     struct pl_entry *entries)
{
	struct pl_dir_entry *de = &ly->dir[page_no];
	char page[PL_PAGE];
	int rc = 0;

	memset(page, 0, PL_PAGE);
	if (de->location)
		rc = pl_store_read(ly->st, page, PL_PAGE, de->location,
				   PL_IO_META);
	pl_map_decode(page, entries);
	return rc;
}

void salvage_journal(struct pl_layer *ly, uint64_t lsn, const char *what)
{
	if (ly->salvage->journal_told)
		return;
	ly->salvage->journal_told = true;
	salvage_found(ly, PL_DAMAGE_JOURNAL,
		      ly->hdr.journal_off + lsn % ly->hdr.journal_len,
		      "journal: the record at %llu %s", (ull)lsn, what);
}

/*
 * A record is written when the one before it is durable or in the same write
 * (FMT-082), and this project's writes begin with the map record. So a map
 * record, chained to the checksum that the bad one bears, was written later.
 */
uint32_t salvage_record(const char *buf, size_t avail, uint64_t lsn,
			uint32_t *ret_crc)
{
	struct pl_record bad, next;
	size_t at;
	uint32_t crc;

	if (!pl_record_peek(buf, avail, lsn, &bad))
		return 0;
	at = bad.len;
	crc = bad.crc;
	while (at < avail &&
	       pl_record_parse(buf + at, avail - at, lsn + at, crc, &next)) {
		if (next.type == PL_RECORD_MAP) {
			*ret_crc = bad.crc;
			return bad.len;
		}
		at += next.len;
		crc = next.crc;
	}
	return 0;
}

/* ---- opening ---- */

/*
 * What a reader takes but no writer does: an empty directory far behind the
 * file's end, and numbers that can't be counted on from.
 */
static void check_writable(struct pl_layer *ly)
{
	uint64_t cs = pl_cluster_size(&ly->hdr);
	uint64_t end = ly->hdr.dir_off + ly->hdr.dir_pages * PL_PAGE;

	if (layer_counted_out(&ly->hdr))
		salvage_found(ly, PL_DAMAGE_HEADER, 0,
			      "the header's sequence or journal position is "
			      "near its end: it can be read, but not written");
	if (pl_div_up(end, cs) > ly->salvage->size / cs + BEYOND_END_MAX)
		salvage_found(ly, PL_DAMAGE_HEADER, 0,
			      "the header places the directory at %llu, but "
			      "the file ends at %llu: it can be read, but not "
			      "written",
			      (ull)ly->hdr.dir_off, (ull)ly->salvage->size);
}

static int measure(struct pl_layer *ly)
{
	struct salvage *sv = ly->salvage;
	uint64_t meta = ly->hdr.first_cluster * pl_cluster_size(&ly->hdr);
	bool clean = ly->hdr.flags & PL_HEADER_CLEAN;
	int rc = pl_store_size(ly->st, &sv->size);

	if (rc == 0)
		check_writable(ly);
	if (rc < 0 || sv->size >= meta)
		return rc;
	if (!clean && sv->size < ly->hdr.journal_off + ly->hdr.journal_len)
		salvage_found(ly, PL_DAMAGE_TRUNCATED, sv->size,
			      "the file ends in the journal, at %llu; its "
			      "metadata takes %llu bytes",
			      (ull)sv->size, (ull)meta);
	else if (sv->size < ly->hdr.dir_off + ly->hdr.dir_used * PL_PAGE)
		salvage_found(ly, PL_DAMAGE_TRUNCATED, sv->size,
			      "the file ends in the directory, at %llu; its "
			      "metadata takes %llu bytes",
			      (ull)sv->size, (ull)meta);
	else
		salvage_found(ly, PL_DAMAGE_SHORT_FILE, sv->size,
			      "the file has %llu bytes; its metadata takes "
			      "%llu",
			      (ull)sv->size, (ull)meta);
	return 0;
}

static int load(struct pl_layer *ly, struct pl_err *err)
{
	int rc = layer_read_header(ly, err);

	if (rc < 0)
		return rc;
	rc = layer_alloc_tables(ly);
	ly->salvage->bad_dirs =
		calloc(pl_dir_page_count(&ly->hdr) + 1, sizeof(bool));
	if (rc < 0 || !ly->salvage->bad_dirs)
		return pl_err_sys(err, -ENOMEM, "layer %s", ly->id);
	ly->journal_head = ly->hdr.checkpoint_lsn;
	ly->journal_crc = ly->hdr.checkpoint_crc;
	rc = measure(ly);
	if (rc == 0)
		rc = check_dir_used(ly);
	if (rc < 0)
		return pl_err_sys(err, rc, "layer %s: directory", ly->id);
	rc = ly->hdr.flags & PL_HEADER_CLEAN ? load_directory(ly, false, err) :
					       replay(ly, err);
	if (rc < 0)
		return rc;
	rc = salvage_map(ly);
	/* Of a damaged layer, a writer believes nothing anyhow. */
	if (rc == 0 && !ly->salvage->found &&
	    (ly->hdr.flags & (PL_HEADER_CLEAN | PL_HEADER_STALE)) ==
		    PL_HEADER_CLEAN &&
	    !(ly->hdr.auto_clear & ~PL_AUTO_CLEAR_SUMS))
		rc = salvage_space(ly);
	return rc < 0 ? pl_err_sys(err, rc, "layer %s: map", ly->id) : 0;
}

/* A directory page is written when one of its map pages is. */
static int renew_dirs(struct pl_layer *ly)
{
	uint64_t n = pl_dir_page_count(&ly->hdr);
	struct mpage *mp;
	int rc = 0;

	for (uint64_t d = 0; d < n && rc == 0; d++) {
		if (!ly->salvage->bad_dirs[d])
			continue;
		rc = mpage_load(ly, d * PL_DIR_ENTRIES, &mp);
		if (rc == 0)
			mpage_mark_dirty(ly, mp);
	}
	return rc;
}

/*
 * What is changed goes through the journal, so that a page which is torn when
 * a crash interrupts the repair is healed like any other (FMT-046). What does
 * not fit into `pending` would have to be salvaged once more.
 */
static int note_page(struct pl_layer *ly, struct pending *p,
		     const struct mpage *mp)
{
	struct pl_entry was[PL_PAGE_ENTRIES];
	int rc = salvage_map_page(ly, mp->page_no, was);

	for (unsigned i = 0; i < PL_PAGE_ENTRIES && rc == 0; i++) {
		const struct pl_entry *e = &mp->entry[i];

		if (e->where == was[i].where && e->owned == was[i].owned)
			continue;
		if (pending_full(p))
			break;
		pending_add(p, &(struct pending_entry){
				       .cno = mp->page_no * PL_PAGE_ENTRIES + i,
				       .entry = *e,
			       });
	}
	return rc;
}

static int note_changes(struct pl_layer *ly, struct pl_pending **ret,
			struct pl_err *err)
{
	int rc = pl_pending_new(ret, -1, err);
	struct pending *slot;

	if (rc < 0)
		return rc;
	slot = pending_take(*ret, &ly->hdr.uuid);
	for (struct mpage *mp = ly->oldest; mp && rc == 0; mp = mp->next)
		if (mp->damaged)
			rc = note_page(ly, slot, mp);
	pending_give_back(slot);
	if (rc < 0)
		pl_pending_free(*ret);
	return rc < 0 ? pl_err_sys(err, rc, "layer %s: repair", ly->id) : 0;
}

static int make_writable(struct pl_layer *ly, struct pl_err *err)
{
	struct pl_pending *pending;
	int rc;

	if (ly->n_dirty > PAGES_MAX)
		return pl_err_set(err, PL_E_UNSUPPORTED, E2BIG,
				  "layer %s: %u damaged map pages are too many "
				  "to repair in place; restore the file",
				  ly->id, ly->n_dirty);
	ly->marked_dirty = !(ly->hdr.flags & PL_HEADER_CLEAN);
	rc = ly->salvage->found ? mark_dirty(ly) : 0;
	if (rc == 0)
		rc = salvage_part_twins(ly);
	if (rc == 0)
		rc = renew_dirs(ly);
	if (rc < 0)
		return pl_err_sys(err, rc, "layer %s: repair", ly->id);
	rc = note_changes(ly, &pending, err);
	if (rc < 0)
		return rc;
	ly->own_pending = pending;
	return layer_open_writable(ly, PL_LAYER_MAINTAIN, pending, err);
}

static void fini(struct salvage *sv)
{
	free(sv->bad_dirs);
	free(sv->used);
	free(sv->meta);
	free(sv->owned);
	free(sv->twins);
}

int pl_layer_open_damaged(struct pl_layer **ret, struct pl_store *st,
			  unsigned flags, const struct pl_damage_sink *sink,
			  uint64_t *ret_records, struct pl_err *err)
{
	struct salvage sv = { .sink = sink, .writing = flags & PL_LAYER_WRITE };
	struct pl_layer *ly = calloc(1, sizeof(*ly));
	int rc;

	if (!ly)
		return pl_err_sys(err, -ENOMEM, "layer");
	ly->st = st;
	ly->salvage = &sv;
	rc = load(ly, err);
	if (rc == 0 && sv.writing)
		rc = make_writable(ly, err);
	fini(&sv);
	ly->salvage = NULL;
	if (ret_records)
		*ret_records = sv.records;
	if (rc < 0)
		layer_free_parts(ly);
	else
		*ret = ly;
	return rc;
}
