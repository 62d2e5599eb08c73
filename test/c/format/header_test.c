/* SPDX-License-Identifier: Apache-2.0 */
/* The header: round trip, every rejection, which copy counts. */
#include "base/crc32c.h"
#include "format/format.h"
#include "format/le.h"
#include "tap.h"

static char page[PL_PAGE];
static struct pl_header got;
static struct pl_err err;

static struct pl_header good(void)
{
	struct pl_header h = { .sequence = 7,
			       .uuid = { { 1, 2, 3 } },
			       .parent = { { 9 } },
			       .virtual_size = 10ull << 30,
			       .block_size = 4096,
			       .sector_size = 512,
			       .state = PL_LAYER_TOP,
			       .flags = PL_HEADER_CLEAN | PL_HEADER_STALE,
			       .checkpoint_lsn = 4096 + 8,
			       .checkpoint_crc = 0xdeadbeef,
			       .created = 1795000000,
			       .label = "ct101" };

	pl_header_layout(&h, 1u << 20);
	h.dir_used = 1;
	return h;
}

/* Puts the right crc on a page whose bytes were changed by hand. */
static void reseal(char *p)
{
	put32(p, 16, 0);
	put32(p, 16, pl_crc32c(0, p, PL_PAGE));
}

static int decode(const struct pl_header *h)
{
	pl_header_encode(h, page);
	return pl_header_decode(page, &got, &err);
}

pl_test("decodes what it encoded")
{
	struct pl_header h = good();

	is_int(decode(&h), 0);
	is_int(memcmp(&got, &h, sizeof(h)), 0);
}

pl_test("is little-endian, each field in its place (FMT-001)")
{
	struct pl_header h = good();

	pl_header_encode(&h, page);
	is_int(memcmp(page, "PLOOPLYR\1\0\0\0", 12), 0);
	is_int(memcmp(page + 24, "\7\0\0\0\0\0\0\0", 8), 0);
	is_int(memcmp(page + 56, "\1\2\3", 3), 0);
	is_int(memcmp(page + 88, "\0\0\0\200\2\0\0\0", 8), 0);
	is_int(memcmp(page + 96, "\0\20\0\0\0\2\0\0\1\0\0\0\3\0\0\0", 16), 0);
	is_int(memcmp(page + 184, "ct101\0", 6), 0);
}

pl_test("writes reserved bytes as zeros and ignores them (FMT-003)")
{
	struct pl_header h = good();

	pl_header_encode(&h, page);
	/* One of the feature names is always there (FMT-120). */
	memset(page + PL_PAGE - 96, 0, 48);
	for (unsigned i = 248; i < PL_PAGE; i++)
		is_int(page[i], 0);
	memset(page + 248, 0x55, 700);
	reseal(page);
	is_int(pl_header_decode(page, &got, &err), 0);
	is_int(memcmp(&got, &h, sizeof(h)), 0);
}

pl_test("says that a page without the magic is no layer (FMT-010)")
{
	struct pl_header h = good();

	pl_header_encode(&h, page);
	page[0] = 'Q';
	reseal(page);
	ok(pl_header_decode(page, &got, &err) < 0);
	is_int(err.code, PL_E_NOT_AN_IMAGE);
}

pl_test("rejects a copy with any bit flipped (FMT-011)")
{
	struct pl_header h = good();
	int accepted = 0;

	pl_header_encode(&h, page);
	for (unsigned bit = 0; bit < PL_PAGE * 8; bit++) {
		page[bit / 8] ^= (char)(1 << bit % 8);
		accepted += pl_header_decode(page, &got, &err) == 0;
		page[bit / 8] ^= (char)(1 << bit % 8);
	}
	is_int(accepted, 0);
}

static void bad_value(const char *word, size_t off, uint64_t value, bool wide)
{
	struct pl_header h = good();

	pl_header_encode(&h, page);
	if (wide)
		put64(page, off, value);
	else
		put32(page, off, (uint32_t)value);
	reseal(page);
	err.msg[0] = '\0';
	ok(pl_header_decode(page, &got, &err) < 0);
	is_int(err.code, PL_E_CORRUPT);
	if (!ok(strstr(err.msg, word) != NULL))
		printf("# \"%s\" does not say \"%s\"\n", err.msg, word);
}

pl_test("rejects a block size, sector size or state that is none (FMT-014)")
{
	bad_value("block size", 96, 0, false);
	bad_value("block size", 96, 2048, false);
	bad_value("block size", 96, 12288, false);
	bad_value("sector size", 100, 1024, false);
	bad_value("state", 104, 0, false);
	bad_value("state", 104, 3, false);
}

pl_test("rejects a virtual size of 0, unaligned, or too large (FMT-014)")
{
	bad_value("virtual size", 88, 0, true);
	bad_value("virtual size", 88, 4096 + 512, true);
	bad_value("virtual size", 88, (1ull << 46) + 4096, true);
}

pl_test("rejects a layer without an id (FMT-014)")
{
	struct pl_header h = good();

	memset(&h.uuid, 0, sizeof(h.uuid));
	ok(decode(&h) < 0);
	is_int(err.code, PL_E_CORRUPT);
}

pl_test("rejects a directory in an impossible place (FMT-015)")
{
	struct pl_header h = good();

	bad_value("directory", 112, 4096, true);
	bad_value("directory", 112, 8192 + 512, true);
	bad_value("directory", 112, 1ull << 62, true);
	bad_value("directory", 112, UINT64_MAX - 4095, true);
	bad_value("directory", 112, h.journal_off - 4096, true);
	bad_value("directory", 112, h.first_cluster * (256 << 10) - 8192, true);
	bad_value("directory", 120, 0, true);
	bad_value("directory", 120, (1ull << 16) + 1, true);
	bad_value("directory", 120, UINT64_MAX, true);
	bad_value("directory pages", 128, 63, true);
	h.dir_off = (h.first_cluster + 5) * (256 << 10);
	is_int(decode(&h), 0);
}

pl_test("rejects a journal in an impossible place (FMT-015)")
{
	struct pl_header h = good();

	bad_value("journal", 136, 4096, true);
	bad_value("journal", 136, h.journal_off + 8, true);
	bad_value("journal", 136, UINT64_MAX - 4095, true);
	bad_value("journal", 144, (512 << 10) - 4096, true);
	bad_value("journal", 144, (1 << 20) + 4096, true);
	bad_value("journal", 144, (1 << 20) + 8, true);
}

pl_test("rejects a first cluster inside the metadata (FMT-015)")
{
	bad_value("first cluster", 168, 0, true);
	bad_value("first cluster", 168, 4, true);
	bad_value("first cluster", 168, (1ull << 30) / (256 << 10) + 1, true);
	bad_value("first cluster", 168, 1ull << 40, true);
	bad_value("checkpoint", 152, 4, true);
}

pl_test("rejects numbers that could not go on growing (FMT-014, FMT-015)")
{
	bad_value("sequence", 24, 1ull << 63, true);
	bad_value("sequence", 24, UINT64_MAX, true);
	bad_value("checkpoint", 152, 1ull << 63, true);
}

int main(void)
{
	return pl_tap_main();
}
