/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two header copies: decoding, choosing, and what follows from a header.
 *
 * Input: a byte of switches, two bytes: how long copy A is, copy A, copy B.
 * Switches: 1, 2 = copy A, B gets a right checksum and magic.
 */
#include "base/crc32c.h"
#include "format/format.h"
#include "format/le.h"
#include "fuzz.h"

#define CRC_OFF 16

static void fix(uint8_t *page)
{
	memcpy(page, "PLOOPLYR", 8);
	put32(page, CRC_OFF, 0);
	put32(page, CRC_OFF, pl_crc32c(0, page, PL_PAGE));
}

/* What the rest of the code takes for granted of a decoded header. */
static void follow(const struct pl_header *h)
{
	uint64_t cs = pl_cluster_size(h), n = pl_cluster_count(h);

	fuzz_require(pl_block_size_valid(h->block_size));
	fuzz_require(h->virtual_size / h->block_size <= PL_MAX_BLOCKS);
	fuzz_require(n > 0 && (n - 1) * cs < h->virtual_size);
	fuzz_require(h->dir_pages >= pl_dir_page_count(h));
	fuzz_require(pl_page_count(h) <= 1u << 20);
	fuzz_require(pl_owned_limit(h, n - 1) != 0);
	fuzz_require(pl_owned_limit(h, n) == 0);
	fuzz_require(h->first_cluster * cs / cs == h->first_cluster);
	fuzz_require(h->dir_off + h->dir_pages * PL_PAGE > h->dir_off);
	fuzz_require(h->journal_len <= PL_JOURNAL_MAX);
	fuzz_require(h->label[PL_LABEL_MAX] == '\0');
}

static bool decode(const uint8_t *page, struct pl_header *h)
{
	struct pl_header again;
	struct pl_err err = { 0 };
	uint8_t copy[PL_PAGE];

	if (pl_header_decode(page, h, &err) < 0) {
		fuzz_require_err(&err, FUZZ_DAMAGE);
		return false;
	}
	follow(h);
	pl_header_encode(h, copy);
	fuzz_require(pl_header_decode(copy, &again, &err) == 0);
	/* A label goes on after its NUL only in the file. */
	memset(h->label + strlen(h->label), 0,
	       sizeof(h->label) - strlen(h->label));
	fuzz_require(memcmp(h, &again, sizeof(again)) == 0);
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t page[2][PL_PAGE];
	struct fuzz_in in = { data, size };
	unsigned switches = (unsigned)fuzz_take(&in, 1), slot = 9;
	size_t len_a = fuzz_take(&in, 2) % (PL_PAGE + 1);
	struct pl_header h[2], best;
	struct pl_err err = { 0 };
	bool good[2];

	memset(page, 0, sizeof(page));
	fuzz_take_bytes(&in, page[0], len_a);
	fuzz_take_bytes(&in, page[1], PL_PAGE);
	for (unsigned i = 0; i < 2; i++) {
		if (switches >> i & 1)
			fix(page[i]);
		good[i] = decode(page[i], &h[i]);
	}
	if (pl_header_choose(page[0], page[1], &best, &slot, &err) < 0) {
		fuzz_require_err(&err, FUZZ_DAMAGE);
		fuzz_require(!good[0] || !good[1]);
		return 0;
	}
	fuzz_require(slot < 2 && good[slot]);
	fuzz_require(best.sequence == h[slot].sequence);
	if (good[!slot])
		fuzz_require(best.sequence >= h[!slot].sequence);
	return 0;
}
