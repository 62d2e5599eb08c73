/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A directory page and a map page: decoding, validating, encoding again.
 *
 * Input: switches (1 = the directory page gets a right checksum), block size
 * shift, virtual size, first cluster, directory page number, then runs of
 * (two bytes: where, one byte: how long, bytes) over the two pages.
 */
#include "base/crc32c.h"
#include "format/format.h"
#include "format/le.h"
#include "fuzz.h"

static uint8_t pages[2 * PL_PAGE];

static void fix_dir(uint8_t *page, uint64_t dpno)
{
	uint32_t crc;

	memcpy(page + PL_PAGE - 12, "PLDP", 4);
	put64(page, PL_PAGE - 8, dpno);
	crc = pl_crc32c(0, page, PL_PAGE - 16);
	put32(page, PL_PAGE - 16, pl_crc32c(crc, page + PL_PAGE - 12, 12));
}

static void directory(const uint8_t *page, uint64_t dpno, bool fixed)
{
	struct pl_dir_entry entries[PL_DIR_ENTRIES], again[PL_DIR_ENTRIES];
	enum pl_dir_page_state state;
	uint8_t copy[PL_PAGE];

	memset(entries, 0, sizeof(entries));
	memset(again, 0, sizeof(again));
	state = pl_dir_page_decode(page, dpno, entries);
	if (fixed)
		fuzz_require(state == PL_DIR_PAGE_OK);
	pl_dir_page_encode(entries, dpno, copy);
	fuzz_require(pl_dir_page_decode(copy, dpno, again) == PL_DIR_PAGE_OK);
	for (unsigned i = 0; i < PL_DIR_ENTRIES; i++)
		fuzz_require(entries[i].location == again[i].location &&
			     entries[i].crc == again[i].crc);
	fuzz_require(pl_dir_page_decode(copy, dpno + 1, again) ==
		     PL_DIR_PAGE_BAD);
}

static void map(const struct pl_header *h, const uint8_t *page, uint64_t cno)
{
	struct pl_entry entries[PL_PAGE_ENTRIES];
	struct pl_err err = { 0 };
	uint8_t copy[PL_PAGE];

	pl_map_decode(page, entries);
	pl_map_encode(entries, copy);
	fuzz_require(memcmp(page, copy, PL_PAGE) == 0);
	for (unsigned i = 0; i < PL_PAGE_ENTRIES; i++) {
		const struct pl_entry *e = &entries[i];

		if (pl_entry_validate(h, cno + i, e, &err) < 0) {
			fuzz_require_err(&err, FUZZ_CODE(CORRUPT));
			continue;
		}
		fuzz_require(e->where * pl_cluster_size(h) < 1ull << 63);
		fuzz_require(!e->where || e->where >= h->first_cluster);
		if (e->owned)
			fuzz_require((cno + i) * pl_cluster_size(h) <
				     h->virtual_size);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { data, size };
	unsigned switches = (unsigned)fuzz_take(&in, 1);
	struct pl_header h = { .block_size = 4096u << fuzz_take(&in, 1) % 5 };
	uint64_t dpno, cno;
	size_t at, n;

	h.virtual_size = (fuzz_take(&in, 5) % PL_MAX_BLOCKS + 1) * h.block_size;
	h.first_cluster = fuzz_take(&in, 3);
	dpno = fuzz_take(&in, 2);
	cno = fuzz_take(&in, 4);
	memset(pages, 0, sizeof(pages));
	while (in.left) {
		at = fuzz_take(&in, 2) % sizeof(pages);
		n = fuzz_take(&in, 1);
		n = n < sizeof(pages) - at ? n : sizeof(pages) - at;
		fuzz_take_bytes(&in, pages + at, n);
	}
	if (switches & 1)
		fix_dir(pages, dpno);
	directory(pages, dpno, switches & 1);
	map(&h, pages + PL_PAGE, cno);
	return 0;
}
