/* SPDX-License-Identifier: Apache-2.0 */
/* Journal records: round trip, the chain of checksums, where it ends. */
#include "base/crc32c.h"
#include "format/format.h"
#include "format/le.h"
#include "tap.h"

static char buf[PL_RECORD_MAX + 4096];

/* A map record of n items; returns its crc. */
static uint32_t map_record(char *p, uint64_t lsn, uint32_t n, uint32_t prev)
{
	struct pl_record rec = { .lsn = lsn,
				 .type = PL_RECORD_MAP,
				 .items = n,
				 .len = pl_record_len(n, 0) };

	for (uint32_t i = 0; i < n; i++)
		pl_record_put_map(p, i,
				  &(struct pl_map_item){
					  .cno = i + 1000,
					  .entry = { i + 7, ~(uint64_t)i } });
	return pl_record_seal(p, &rec, prev);
}

pl_test("parses the map record it sealed (FMT-043)")
{
	uint32_t crc = map_record(buf, 4096, 10, 77);
	struct pl_map_item it;
	struct pl_record rec;

	require(pl_record_parse(buf, sizeof(buf), 4096, 77, &rec));
	is_int(rec.lsn, 4096);
	is_int(rec.len, 32 + 10 * 24);
	is_int(rec.crc, crc);
	is_int(rec.items, 10);
	is_int(rec.dir_items, 0);
	for (uint32_t i = 0; i < 10; i++) {
		pl_record_get_map(buf, i, &it);
		is_int(it.cno, i + 1000);
		is_int(it.entry.where, i + 7);
		ok(it.entry.owned == ~(uint64_t)i);
	}
}

pl_test("parses the checkpoint record it sealed (FMT-044)")
{
	struct pl_record in = { .lsn = 8,
				.type = PL_RECORD_CHECKPOINT,
				.items = 2,
				.dir_items = 1,
				.len = pl_record_len(2, 1) },
			 rec;
	struct pl_page_item page = { 3, 4096 * 900, 0xabcdef01 };
	struct pl_dir_item dir = { 1, 0x10fedcba };

	pl_record_put_page(buf, 0, &page);
	page.page_no = 4;
	pl_record_put_page(buf, 1, &page);
	pl_record_put_dir(buf, 2, 0, &dir);
	pl_record_seal(buf, &in, 0);
	require(pl_record_parse(buf, sizeof(buf), 8, 0, &rec));
	is_int(rec.type, PL_RECORD_CHECKPOINT);
	memset(&page, 0, sizeof(page));
	memset(&dir, 0, sizeof(dir));
	pl_record_get_page(buf, 1, &page);
	pl_record_get_dir(buf, 2, 0, &dir);
	is_int(page.page_no, 4);
	is_int(page.location, 4096 * 900);
	is_int(page.crc, 0xabcdef01);
	is_int(dir.dpno, 1);
	is_int(dir.crc, 0x10fedcba);
}

pl_test("lays a record out as the document says (FMT-040)")
{
	uint32_t crc = map_record(buf, 0x1122334455667788, 1, 5);

	is_int(memcmp(buf, "PLJR", 4), 0);
	is_int(get32(buf, 4), crc);
	is_int(memcmp(buf + 8, "\x88\x77\x66\x55\x44\x33\x22\x11", 8), 0);
	is_int(get32(buf, 16), 56);
	is_int(get32(buf, 20), 1);
	is_int(get32(buf, 24), 1);
	is_int(get64(buf, 32), 1000);
	is_int(get64(buf, 40), 7);
}

pl_test("a record's crc goes on from the one before it (FMT-042)")
{
	uint32_t one = map_record(buf, 0, 3, 0);
	uint32_t two = map_record(buf + 104, 104, 2, one);
	struct pl_record rec;

	is_int(one, pl_crc32c(0, buf + 8, 96));
	is_int(two, pl_crc32c(one, buf + 104 + 8, 72));
	ok(pl_record_parse(buf + 104, 80, 104, one, &rec));
	ok(!pl_record_parse(buf + 104, 80, 104, 0, &rec));
	ok(!pl_record_parse(buf + 104, 80, 104, one + 1, &rec));
}

pl_test("ends before a record of another LSN (FMT-041)")
{
	struct pl_record rec;

	map_record(buf, 1 << 20, 3, 0);
	ok(!pl_record_parse(buf, sizeof(buf), 0, 0, &rec));
	ok(!pl_record_parse(buf, sizeof(buf), 2 << 20, 0, &rec));
	ok(pl_record_parse(buf, sizeof(buf), 1 << 20, 0, &rec));
}

pl_test("ends before any damaged bit of a record (FMT-041)")
{
	struct pl_record rec;
	int accepted = 0;

	map_record(buf, 64, 3, 9);
	for (unsigned bit = 0; bit < 104 * 8; bit++) {
		buf[bit / 8] ^= (char)(1 << bit % 8);
		accepted += pl_record_parse(buf, sizeof(buf), 64, 9, &rec);
		buf[bit / 8] ^= (char)(1 << bit % 8);
	}
	is_int(accepted, 0);
}

pl_test("ends before a record that reaches beyond the ring (FMT-041)")
{
	struct pl_record rec;

	map_record(buf, 64, 3, 9);
	for (size_t avail = 0; avail < 104; avail++)
		ok(!pl_record_parse(buf, avail, 64, 9, &rec));
	ok(pl_record_parse(buf, 104, 64, 9, &rec));
}

/* Seals a record whose header says anything, with a right crc. */
static bool accepts(uint32_t type, uint32_t items, uint32_t dir_items,
		    uint32_t len)
{
	struct pl_record rec = { .type = (enum pl_record_type)type,
				 .items = items,
				 .dir_items = dir_items,
				 .len = len };

	pl_record_seal(buf, &rec, 0);
	return pl_record_parse(buf, sizeof(buf), 0, 0, &rec);
}

pl_test("ends before a type or length that is none (FMT-041)")
{
	ok(accepts(1, 1, 0, 56));
	ok(!accepts(0, 1, 0, 56));
	ok(!accepts(3, 1, 0, 56));
	ok(!accepts(1, 1, 0, 64));
	ok(!accepts(1, 2, 0, 56));
	ok(accepts(2, 1, 1, 72));
	ok(!accepts(2, 0x0aaaaaab, 0, 32 + 8)); /* 24 times it overflows */
	ok(accepts(1, 10921, 0, 32 + 10921 * 24));
	ok(!accepts(1, 10922, 0, 32 + 10922 * 24));
}

int main(void)
{
	return pl_tap_main();
}
