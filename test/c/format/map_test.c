/* SPDX-License-Identifier: Apache-2.0 */
/* Map entries, map pages and directory pages. */
#include "base/crc32c.h"
#include "format/format.h"
#include "format/le.h"
#include "tap.h"

static char page[PL_PAGE];
static struct pl_err err;

static struct pl_header header(void)
{
	struct pl_header h = { .virtual_size = 70 * 4096, .block_size = 4096 };

	pl_header_layout(&h, 1u << 20);
	return h;
}

static int validate(uint64_t cno, uint64_t where, uint64_t owned)
{
	struct pl_header h = header();
	struct pl_entry e = { where, owned };

	return pl_entry_validate(&h, cno, &e, &err);
}

pl_test("decodes the map page it encoded")
{
	struct pl_entry in[PL_PAGE_ENTRIES], out[PL_PAGE_ENTRIES];

	for (uint64_t i = 0; i < PL_PAGE_ENTRIES; i++)
		in[i] = (struct pl_entry){ i * 0x123456789, ~i << 32 | i };
	pl_map_encode(in, page);
	pl_map_decode(page, out);
	is_int(memcmp(in, out, sizeof(in)), 0);
}

pl_test("has entry c at 16 * (c % 256), little-endian (FMT-001)")
{
	struct pl_entry in[PL_PAGE_ENTRIES] = { 0 };

	in[3] = (struct pl_entry){ 0x0102030405, 0x1112131415161718 };
	pl_map_encode(in, page);
	is_int(memcmp(page + 48,
		      "\5\4\3\2\1\0\0\0\x18\x17\x16\x15\x14\x13\x12"
		      "\x11",
		      16),
	       0);
	is_int(page[47] | page[64], 0);
}

pl_test("rejects reserved bits of a place (FMT-021)")
{
	is_int(validate(0, (1ull << 40) - 1, 1), 0);
	ok(validate(0, 1ull << 40 | 100, 1) < 0);
	is_int(err.code, PL_E_CORRUPT);
	ok(strstr(err.msg, "reserved") != NULL);
	ok(validate(0, 1ull << 63, 1) < 0);
}

pl_test("rejects a host cluster inside the metadata (FMT-022)")
{
	struct pl_header h = header();

	is_int(validate(0, h.first_cluster, 1), 0);
	ok(validate(0, h.first_cluster - 1, 1) < 0);
	ok(strstr(err.msg, "metadata") != NULL);
	ok(validate(0, 1, 0) < 0);
}

pl_test("rejects owned blocks beyond the end of the disk (FMT-023)")
{
	is_int(validate(1, 0, 0x3f), 0);
	ok(validate(1, 0, 0x40) < 0);
	ok(strstr(err.msg, "beyond the end") != NULL);
	ok(validate(2, 0, 1) < 0);
}

pl_test("accepts a host cluster of which nothing is owned (FMT-024)")
{
	struct pl_header h = header();

	is_int(validate(0, h.first_cluster + 3, 0), 0);
}

static void fill_dir(struct pl_dir_entry *entries)
{
	for (uint32_t i = 0; i < PL_DIR_ENTRIES; i++)
		entries[i] = (struct pl_dir_entry){ i * 4096ull, i * 77 };
}

pl_test("decodes the directory page it encoded (FMT-030)")
{
	struct pl_dir_entry in[PL_DIR_ENTRIES], out[PL_DIR_ENTRIES];

	memset(in, 0, sizeof(in));
	fill_dir(in);
	pl_dir_page_encode(in, 5, page);
	memset(out, 0, sizeof(out));
	is_int(pl_dir_page_decode(page, 5, out), PL_DIR_PAGE_OK);
	for (unsigned i = 0; i < PL_DIR_ENTRIES; i++) {
		is_int(out[i].location, in[i].location);
		is_int(out[i].crc, in[i].crc);
	}
	is_int(get64(page, 254 * 16), 254 * 4096);
	is_int(get32(page, 254 * 16 + 8), 254 * 77);
}

pl_test("takes a page of zeros for one never written (FMT-031)")
{
	struct pl_dir_entry out[PL_DIR_ENTRIES];

	memset(page, 0, sizeof(page));
	is_int(pl_dir_page_decode(page, 0, out), PL_DIR_PAGE_EMPTY);
	is_int(out[0].location, 0);
	page[PL_PAGE - 1] = 1;
	is_int(pl_dir_page_decode(page, 0, out), PL_DIR_PAGE_BAD);
}

pl_test("finds any flipped bit of a directory page (FMT-032)")
{
	struct pl_dir_entry in[PL_DIR_ENTRIES], out[PL_DIR_ENTRIES];
	int accepted = 0;

	fill_dir(in);
	pl_dir_page_encode(in, 5, page);
	for (unsigned bit = 0; bit < PL_PAGE * 8; bit++) {
		page[bit / 8] ^= (char)(1 << bit % 8);
		accepted += pl_dir_page_decode(page, 5, out) != PL_DIR_PAGE_BAD;
		page[bit / 8] ^= (char)(1 << bit % 8);
	}
	is_int(accepted, 0);
}

pl_test("leaves the crc field out of a directory page's crc (FMT-032)")
{
	struct pl_dir_entry in[PL_DIR_ENTRIES];
	uint32_t crc;

	fill_dir(in);
	pl_dir_page_encode(in, 5, page);
	is_int(memcmp(page + 4084, "PLDP\5\0\0\0\0\0\0\0", 12), 0);
	crc = pl_crc32c(pl_crc32c(0, page, 4080), page + 4084, 12);
	is_int(get32(page, 4080), crc);
	is_int(pl_dir_page_crc(page), crc);
}

pl_test("rejects a directory page that belongs elsewhere (FMT-032)")
{
	struct pl_dir_entry in[PL_DIR_ENTRIES], out[PL_DIR_ENTRIES];

	fill_dir(in);
	pl_dir_page_encode(in, 5, page);
	is_int(pl_dir_page_decode(page, 6, out), PL_DIR_PAGE_BAD);
}

pl_test("decodes entries of a damaged page all the same, for healing")
{
	struct pl_dir_entry in[PL_DIR_ENTRIES], out[PL_DIR_ENTRIES];

	fill_dir(in);
	pl_dir_page_encode(in, 5, page);
	memset(page, 0, 512);
	is_int(pl_dir_page_decode(page, 5, out), PL_DIR_PAGE_BAD);
	is_int(out[0].location, 0);
	is_int(out[200].location, 200 * 4096);
}

int main(void)
{
	return pl_tap_main();
}
