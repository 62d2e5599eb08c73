/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Edits of layer files, with the checksums made right again, so that the
 * fuzzer gets behind them. Input: a sequence of (which edit, which layer,
 * arguments); edit 0, or the input's end, ends it.
 */
#include "base/crc32c.h"
#include "format/le.h"
#include "sandbox.h"

struct place {
	struct pl_store *st;
	struct pl_header hdr;
	struct fuzz_in *in;
	unsigned slot;
	bool known; /* hdr was decoded */
};

/* Offset and size of each header field but magic and crc; header.c has names. */
static const uint8_t fields[][2] = {
	{ 8, 4 },   { 24, 8 },	{ 32, 8 },  { 40, 8 },	{ 48, 8 },  { 56, 8 },
	{ 72, 8 },  { 88, 8 },	{ 96, 4 },  { 100, 4 }, { 104, 4 }, { 108, 4 },
	{ 112, 8 }, { 120, 8 }, { 128, 8 }, { 136, 8 }, { 144, 8 }, { 152, 8 },
	{ 160, 4 }, { 168, 8 }, { 176, 8 }, { 184, 8 }, { 248, 8 }, { 255, 8 },
};

static void read_at(struct place *p, void *buf, uint64_t len, uint64_t off)
{
	fuzz_require(pl_store_read(p->st, buf, len, off, PL_IO_META) == 0);
}

/* A write that the full host refuses is no edit. */
static void write_at(struct place *p, const void *buf, uint64_t len,
		     uint64_t off)
{
	(void)pl_store_write(p->st, buf, len, off, PL_IO_META);
}

/* A number, often one that means something here. */
static uint64_t number(struct place *p)
{
	uint64_t cs = p->known ? pl_cluster_size(&p->hdr) : 1 << 18, size = 0;
	unsigned kind = (unsigned)fuzz_take(p->in, 1);

	pl_store_size(p->st, &size);
	switch (kind % 10) {
	case 0:
		return fuzz_take(p->in, 1);
	case 1:
		return fuzz_take(p->in, 2);
	case 2:
		return fuzz_take(p->in, 8);
	case 3:
		return 1ull << fuzz_take(p->in, 1) % 64;
	case 4:
		return (1ull << fuzz_take(p->in, 1) % 64) - 1;
	case 5:
		return p->hdr.first_cluster + fuzz_take(p->in, 1);
	case 6:
		return size / cs - 4 + fuzz_take(p->in, 1) % 8;
	case 7:
		return p->hdr.first_cluster * cs + fuzz_take(p->in, 2) * 4096;
	case 8:
		return fuzz_take(p->in, 3) * 4096;
	default:
		return UINT64_MAX << fuzz_take(p->in, 1) % 64;
	}
}

static void edit_header(struct place *p)
{
	const uint8_t *field =
		fields[fuzz_take(p->in, 1) % (sizeof(fields) / 2)];
	unsigned copies = (unsigned)fuzz_take(p->in, 1);
	uint64_t value = number(p);
	uint8_t page[PL_PAGE];

	for (unsigned i = 0; i < 2; i++) {
		if (copies >> i & 1)
			continue;
		read_at(p, page, PL_PAGE, (p->slot ^ i) * PL_PAGE);
		if (field[1] == 4)
			put32(page, field[0], (uint32_t)value);
		else
			put64(page, field[0], value);
		put32(page, 16, 0);
		put32(page, 16, pl_crc32c(0, page, PL_PAGE));
		write_at(p, page, PL_PAGE, (p->slot ^ i) * PL_PAGE);
	}
}

/* ---- the directory and the map ---- */

static void write_dir_entry(struct place *p, uint64_t page_no,
			    const struct pl_dir_entry *de)
{
	struct pl_dir_entry entries[PL_DIR_ENTRIES];
	uint64_t dpno = page_no / PL_DIR_ENTRIES;
	uint64_t at = p->hdr.dir_off + dpno * PL_PAGE;
	uint8_t page[PL_PAGE];

	read_at(p, page, PL_PAGE, at);
	pl_dir_page_decode(page, dpno, entries);
	entries[page_no % PL_DIR_ENTRIES] = *de;
	pl_dir_page_encode(entries, dpno, page);
	write_at(p, page, PL_PAGE, at);
}

static struct pl_dir_entry dir_entry(struct place *p, uint64_t page_no)
{
	struct pl_dir_entry entries[PL_DIR_ENTRIES];
	uint64_t dpno = page_no / PL_DIR_ENTRIES;
	uint8_t page[PL_PAGE];

	read_at(p, page, PL_PAGE, p->hdr.dir_off + dpno * PL_PAGE);
	pl_dir_page_decode(page, dpno, entries);
	return entries[page_no % PL_DIR_ENTRIES];
}

/* Points somewhere, with the checksum of what is there. */
static void edit_directory(struct place *p)
{
	uint64_t page_no = fuzz_take(p->in, 1) % 4;
	struct pl_dir_entry de = { .location = number(p) };
	uint8_t page[PL_PAGE];

	if (de.location < SANDBOX_FILE_MAX) {
		read_at(p, page, PL_PAGE, de.location);
		de.crc = pl_crc32c(0, page, PL_PAGE);
	}
	write_dir_entry(p, page_no, &de);
}

static void edit_entry(struct place *p)
{
	uint64_t page_no = fuzz_take(p->in, 1) % 4;
	unsigned i = (unsigned)fuzz_take(p->in, 1);
	struct pl_dir_entry de = dir_entry(p, page_no);
	uint8_t page[PL_PAGE];
	uint64_t where = number(p), owned = number(p);

	if (!de.location || de.location > SANDBOX_FILE_MAX)
		return;
	read_at(p, page, PL_PAGE, de.location);
	put64(page, (size_t)i * 16, where);
	put64(page, (size_t)i * 16 + 8, owned);
	de.crc = pl_crc32c(0, page, PL_PAGE);
	write_at(p, page, PL_PAGE, de.location);
	write_dir_entry(p, page_no, &de);
}

/* ---- the journal ---- */

static void put_items(struct place *p, uint8_t *record, struct pl_record *rec)
{
	for (uint32_t i = 0; i < rec->items; i++) {
		struct pl_map_item map;
		struct pl_page_item page;

		if (rec->type == PL_RECORD_MAP) {
			map.cno = fuzz_take(p->in, 2);
			map.entry.where = number(p);
			map.entry.owned = number(p);
			pl_record_put_map(record, i, &map);
			continue;
		}
		page.page_no = fuzz_take(p->in, 1);
		page.location = number(p);
		page.crc = (uint32_t)fuzz_take(p->in, 1) & 1 ?
				   (uint32_t)number(p) :
				   dir_entry(p, page.page_no % 4).crc;
		pl_record_put_page(record, i, &page);
	}
	for (uint32_t i = 0; i < rec->dir_items; i++) {
		struct pl_dir_item it = { .dpno = fuzz_take(p->in, 1),
					  .crc = (uint32_t)number(p) };

		pl_record_put_dir(record, rec->items, i, &it);
	}
}

/* Where the journal ends, and its chain value there. */
static uint64_t journal_end(struct place *p, uint32_t *crc)
{
	const struct pl_header *h = &p->hdr;
	static uint8_t buf[65536];
	uint64_t lsn = h->checkpoint_lsn, at;
	struct pl_record rec;

	*crc = h->checkpoint_crc;
	for (;;) {
		at = lsn % h->journal_len;
		if (at + sizeof(buf) > h->journal_len)
			return lsn; /* the samples' journals are short */
		read_at(p, buf, sizeof(buf), h->journal_off + at);
		if (!pl_record_parse(buf, sizeof(buf), lsn, *crc, &rec))
			return lsn;
		lsn += rec.len;
		*crc = rec.crc;
	}
}

/* One more record; a clean layer becomes one that is not. */
static void edit_journal(struct place *p, enum pl_record_type type)
{
	uint8_t record[PL_RECORD_HEADER + 16 * PL_RECORD_ITEM], page[PL_PAGE];
	unsigned n = (unsigned)fuzz_take(p->in, 1);
	struct pl_record rec = { .type = type,
				 .items = n % 8,
				 .dir_items = type == PL_RECORD_CHECKPOINT ?
						      n / 8 % 4 :
						      0 };
	uint32_t crc;

	memset(record, 0, sizeof(record));
	rec.len = pl_record_len(rec.items, rec.dir_items);
	rec.lsn = journal_end(p, &crc);
	put_items(p, record, &rec);
	pl_record_seal(record, &rec, crc);
	write_at(p, record, rec.len,
		 p->hdr.journal_off + rec.lsn % p->hdr.journal_len);
	if (p->hdr.flags & PL_HEADER_CLEAN) {
		p->hdr.flags &= ~PL_HEADER_CLEAN;
		pl_header_encode(&p->hdr, page);
		write_at(p, page, PL_PAGE, p->slot * PL_PAGE);
	}
}

/* ---- anything ---- */

static void edit_bytes(struct place *p)
{
	uint64_t at = number(p);
	uint8_t bytes[64];
	size_t n = fuzz_take(p->in, 1) % sizeof(bytes);

	n = fuzz_take_bytes(p->in, bytes, n);
	if (at < SANDBOX_FILE_MAX)
		write_at(p, bytes, n, at);
}

static void edit_length(struct place *p)
{
	(void)pl_store_truncate(p->st, number(p));
}

static bool look(struct place *p)
{
	uint8_t pages[2 * PL_PAGE];
	struct pl_err err;

	read_at(p, pages, sizeof(pages), 0);
	p->known = pl_header_choose(pages, pages + PL_PAGE, &p->hdr, &p->slot,
				    &err) == 0;
	return p->known && p->hdr.dir_off < SANDBOX_FILE_MAX &&
	       p->hdr.journal_off < SANDBOX_FILE_MAX;
}

static void edit(struct place *p, unsigned kind)
{
	if (!look(p))
		return; /* after an edit of the header that nobody reads */
	switch (kind % 8) {
	case 1:
		edit_header(p);
		break;
	case 2:
		edit_entry(p);
		break;
	case 3:
		edit_directory(p);
		break;
	case 4:
		edit_journal(p, PL_RECORD_MAP);
		break;
	case 5:
		edit_journal(p, PL_RECORD_CHECKPOINT);
		break;
	case 6:
		edit_bytes(p);
		break;
	default:
		edit_length(p);
		break;
	}
}

void sandbox_edit(struct sandbox *s, struct fuzz_in *in)
{
	unsigned kind, layer;

	for (unsigned i = 0; i < 32 && in->left; i++) {
		struct place p = { .in = in };

		kind = (unsigned)fuzz_take(in, 1);
		if (kind % 8 == 0)
			return;
		layer = kind / 8 % s->n;
		p.st = sandbox_file(s, s->n - 1 - layer);
		edit(&p, kind);
		pl_store_close(p.st);
	}
}
