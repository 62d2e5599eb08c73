/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Editing the metadata of a closed layer file with right checksums, to make
 * what no writer of ours makes.
 */
#ifndef PL_TEST_EDIT_H
#define PL_TEST_EDIT_H

#include "base/crc32c.h"
#include "format/format.h"
#include "store/store.h"
#include "tap.h"

/* The header that counts; false (and a failed check) when there is none. */
static inline bool edit_header_read(struct pl_store *st, struct pl_header *ret)
{
	char pages[2 * PL_PAGE];
	struct pl_err err;
	unsigned slot;

	return ok(pl_store_read(st, pages, sizeof(pages), 0, PL_IO_META) ==
		  0) &&
	       ok(pl_header_choose(pages, pages + PL_PAGE, ret, &slot, &err) ==
		  0);
}

/* Both copies. */
static inline void edit_header_write(struct pl_store *st,
				     const struct pl_header *hdr)
{
	char page[PL_PAGE];

	pl_header_encode(hdr, page);
	ok(pl_store_write(st, page, PL_PAGE, 0, PL_IO_META) == 0);
	ok(pl_store_write(st, page, PL_PAGE, PL_PAGE, PL_IO_META) == 0);
}

static inline struct pl_dir_entry edit_dir_entry(struct pl_store *st,
						 const struct pl_header *hdr,
						 uint64_t page_no)
{
	struct pl_dir_entry entries[PL_DIR_ENTRIES];
	uint64_t dpno = page_no / PL_DIR_ENTRIES;
	char page[PL_PAGE];

	ok(pl_store_read(st, page, PL_PAGE, hdr->dir_off + dpno * PL_PAGE,
			 PL_IO_META) == 0);
	pl_dir_page_decode(page, dpno, entries);
	return entries[page_no % PL_DIR_ENTRIES];
}

static inline void edit_dir_write(struct pl_store *st,
				  const struct pl_header *hdr, uint64_t page_no,
				  struct pl_dir_entry entry)
{
	struct pl_dir_entry entries[PL_DIR_ENTRIES];
	uint64_t dpno = page_no / PL_DIR_ENTRIES;
	uint64_t at = hdr->dir_off + dpno * PL_PAGE;
	char page[PL_PAGE];

	ok(pl_store_read(st, page, PL_PAGE, at, PL_IO_META) == 0);
	pl_dir_page_decode(page, dpno, entries);
	entries[page_no % PL_DIR_ENTRIES] = entry;
	pl_dir_page_encode(entries, dpno, page);
	ok(pl_store_write(st, page, PL_PAGE, at, PL_IO_META) == 0);
}

/* Sets the entry of a cluster whose map page is there. */
static inline void edit_entry(struct pl_store *st, uint64_t cno,
			      struct pl_entry entry)
{
	struct pl_entry entries[PL_PAGE_ENTRIES];
	struct pl_dir_entry de;
	struct pl_header hdr;
	char page[PL_PAGE];

	if (!edit_header_read(st, &hdr))
		return;
	de = edit_dir_entry(st, &hdr, cno / PL_PAGE_ENTRIES);
	if (!ok(de.location != 0))
		return;
	ok(pl_store_read(st, page, PL_PAGE, de.location, PL_IO_META) == 0);
	pl_map_decode(page, entries);
	entries[cno % PL_PAGE_ENTRIES] = entry;
	pl_map_encode(entries, page);
	de.crc = pl_crc32c(0, page, PL_PAGE);
	ok(pl_store_write(st, page, PL_PAGE, de.location, PL_IO_META) == 0);
	edit_dir_write(st, &hdr, cno / PL_PAGE_ENTRIES, de);
}

/*
 * Takes CLEAN away and puts one record with one item where replay begins.
 */
static inline void edit_journal(struct pl_store *st, struct pl_map_item item)
{
	char record[PL_RECORD_HEADER + PL_RECORD_ITEM];
	struct pl_header hdr;
	struct pl_record rec;

	if (!edit_header_read(st, &hdr))
		return;
	hdr.flags &= ~PL_HEADER_CLEAN;
	edit_header_write(st, &hdr);
	rec = (struct pl_record){ .lsn = hdr.checkpoint_lsn,
				  .type = PL_RECORD_MAP,
				  .items = 1,
				  .len = sizeof(record) };
	pl_record_put_map(record, 0, &item);
	pl_record_seal(record, &rec, hdr.checkpoint_crc);
	ok(pl_store_write(st, record, sizeof(record),
			  hdr.journal_off +
				  hdr.checkpoint_lsn % hdr.journal_len,
			  PL_IO_META) == 0);
}

#endif
