/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal: one record parsed from bytes, and a layer whose ring holds the
 * input. Input: switches (1 = the records are sealed, 2 = with the ring's end
 * in their midst), then what the exercise takes (4 bytes), then the ring.
 */
#include "base/crc32c.h"
#include "format/le.h"
#include "sandbox.h"

#define RING_MAX 65536u
#define EXERCISE 4u

static uint8_t ring[RING_MAX];

/* What parses has items that can be read and written back. */
static void parse(const uint8_t *buf, size_t len, uint64_t lsn, uint32_t crc)
{
	static uint8_t copy[RING_MAX];
	struct pl_record rec;
	struct pl_map_item map;
	struct pl_dir_item dir;

	if (!pl_record_parse(buf, len, lsn, crc, &rec))
		return;
	fuzz_require(rec.len <= len && rec.len <= PL_RECORD_MAX);
	fuzz_require(rec.lsn == lsn && rec.len % 8 == 0);
	memcpy(copy, buf, rec.len);
	for (uint32_t i = 0; i < rec.items; i++) {
		pl_record_get_map(buf, i, &map);
		pl_record_put_map(copy, i, &map);
	}
	fuzz_require(pl_record_seal(copy, &rec, crc) == rec.crc);
	fuzz_require(memcmp(copy, buf, rec.len) == 0);
	for (uint32_t i = 0; i < rec.dir_items; i++) {
		pl_record_get_dir(buf, rec.items, i, &dir);
		pl_record_put_dir(copy, rec.items, i, &dir);
	}
}

/* Makes records of the ring's bytes: type, items and dir items are theirs. */
static void seal(uint8_t *buf, size_t len, uint64_t lsn, uint32_t crc)
{
	size_t pos = 0;

	while (len - pos >= PL_RECORD_HEADER) {
		uint8_t *r = buf + pos;
		size_t room = len - pos - PL_RECORD_HEADER;
		struct pl_record rec = { .lsn = lsn + pos,
					 .type = (enum pl_record_type)(
						 1 + get32(r, 20) % 2) };

		rec.items = get32(r, 24) % 32;
		if (rec.items > room / PL_RECORD_ITEM)
			rec.items = (uint32_t)(room / PL_RECORD_ITEM);
		room -= rec.items * PL_RECORD_ITEM;
		rec.dir_items = rec.type == PL_RECORD_MAP ? 0 :
							    get32(r, 28) % 8;
		if (rec.dir_items > room / PL_RECORD_DIR_ITEM)
			rec.dir_items = (uint32_t)(room / PL_RECORD_DIR_ITEM);
		rec.len = pl_record_len(rec.items, rec.dir_items);
		crc = pl_record_seal(r, &rec, crc);
		pos += rec.len;
	}
}

/* The ring of an otherwise valid layer; 2: it begins just before the end. */
static void fill(struct sandbox *s, size_t len, unsigned switches)
{
	struct pl_store *st = sandbox_file(s, s->n - 1);
	uint8_t pages[2 * PL_PAGE];
	struct pl_header h;
	struct pl_err err;
	unsigned slot;
	size_t first;
	uint64_t at;

	fuzz_require(!pl_store_read(st, pages, sizeof(pages), 0, PL_IO_META));
	fuzz_require(
		!pl_header_choose(pages, pages + PL_PAGE, &h, &slot, &err));
	h.flags &= ~PL_HEADER_CLEAN;
	if (switches & 2)
		h.checkpoint_lsn = 3 * h.journal_len - 64;
	pl_header_encode(&h, pages);
	fuzz_require(!pl_store_write(st, pages, PL_PAGE, slot * PL_PAGE,
				     PL_IO_META));
	if (switches & 1)
		seal(ring, len, h.checkpoint_lsn, h.checkpoint_crc);
	parse(ring, len, h.checkpoint_lsn, h.checkpoint_crc);
	at = h.checkpoint_lsn % h.journal_len;
	first = h.journal_len - at < len ? h.journal_len - at : len;
	fuzz_require(!pl_store_write(st, ring, first, h.journal_off + at,
				     PL_IO_META));
	fuzz_require(!pl_store_write(st, ring + first, len - first,
				     h.journal_off, PL_IO_META));
	pl_store_close(st);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { data, size }, how;
	unsigned switches = (unsigned)fuzz_take(&in, 1);
	struct sandbox s;
	size_t len;

	how = (struct fuzz_in){ in.at,
				in.left < EXERCISE ? in.left : EXERCISE };
	fuzz_take(&in, EXERCISE);
	memset(ring, 0, sizeof(ring));
	len = fuzz_take_bytes(&in, ring, sizeof(ring));
	if (len >= 16)
		parse(ring, len, get64(ring, 8), 0);
	sandbox_open(&s, switches & 4 ? SAMPLE_CHAIN : SAMPLE_ONE);
	fill(&s, len, switches);
	sandbox_exercise(&s, &how);
	sandbox_close(&s);
	return 0;
}
