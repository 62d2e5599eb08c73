/* SPDX-License-Identifier: Apache-2.0 */
/* Which header copy counts, features, and what follows from a header. */
#include "base/crc32c.h"
#include "format/format.h"
#include "format/le.h"
#include "tap.h"

static char a[PL_PAGE], b[PL_PAGE];
static struct pl_header got;
static struct pl_err err;
static unsigned slot;

static void encode(char *page, uint64_t sequence, uint64_t incompatible)
{
	struct pl_header h = { .sequence = sequence,
			       .uuid = { { 1 } },
			       .virtual_size = 1 << 20,
			       .block_size = 4096,
			       .sector_size = 512,
			       .state = PL_LAYER_TOP,
			       .incompatible = incompatible };

	pl_header_layout(&h, 1u << 20);
	pl_header_encode(&h, page);
}

static void reseal(char *page)
{
	put32(page, 16, 0);
	put32(page, 16, pl_crc32c(0, page, PL_PAGE));
}

static int choose(void)
{
	return pl_header_choose(a, b, &got, &slot, &err);
}

pl_test("the intact copy with the higher sequence counts (FMT-013)")
{
	encode(a, 5, 0);
	encode(b, 6, 0);
	is_int(choose(), 0);
	is_int(slot, 1);
	is_int(got.sequence, 6);
	encode(a, 7, 0);
	is_int(choose(), 0);
	is_int(slot, 0);
}

pl_test("copy A counts when both have one sequence (FMT-013)")
{
	encode(a, 5, 0);
	encode(b, 5, 0);
	is_int(choose(), 0);
	is_int(slot, 0);
}

pl_test("a torn copy is not there, whichever it is (FMT-013)")
{
	encode(a, 5, 0);
	encode(b, 6, 0);
	memset(b + 512, 0xff, 512);
	is_int(choose(), 0);
	is_int(got.sequence, 5);
	encode(b, 6, 0);
	memset(a, 0, sizeof(a));
	is_int(choose(), 0);
	is_int(got.sequence, 6);
}

pl_test("an older copy is no way around a newer one's feature (FMT-013)")
{
	encode(a, 5, 0);
	encode(b, 6, 1);
	ok(choose() < 0);
	is_int(err.code, PL_E_UNSUPPORTED_FEATURE);
	encode(b, 6, 0);
	put32(b, 8, 2);
	reseal(b);
	ok(choose() < 0);
	is_int(err.code, PL_E_UNSUPPORTED_FEATURE);
	ok(strstr(err.msg, "version 2") != NULL);
}

pl_test("an older copy is no way around a newer one's nonsense (FMT-013)")
{
	encode(a, 6, 0);
	put32(a, 96, 5000);
	reseal(a);
	encode(b, 5, 0);
	ok(choose() < 0);
	is_int(err.code, PL_E_CORRUPT);
}

pl_test("a newer feature in the older copy does not matter (FMT-013)")
{
	encode(a, 5, 1);
	encode(b, 6, 0);
	is_int(choose(), 0);
	is_int(slot, 1);
}

pl_test("two copies without the magic are no layer (FMT-010)")
{
	memset(a, 0, sizeof(a));
	memset(b, 0x77, sizeof(b));
	ok(choose() < 0);
	is_int(err.code, PL_E_NOT_AN_IMAGE);
}

pl_test("of two bad copies the more telling error is kept (FMT-010)")
{
	memset(a, 0, sizeof(a));
	encode(b, 6, 0);
	b[100] ^= 1;
	ok(choose() < 0);
	is_int(err.code, PL_E_CORRUPT);
	ok(choose() < 0 && pl_header_choose(a, b, &got, &slot, NULL) < 0);
}

pl_test("rejects a version it does not know, and says which (FMT-012)")
{
	encode(a, 5, 0);
	put32(a, 8, 2);
	reseal(a);
	ok(pl_header_decode(a, &got, &err) < 0);
	is_int(err.code, PL_E_UNSUPPORTED_FEATURE);
	ok(strstr(err.msg, "version 2") != NULL);
}

pl_test("names an unknown feature as the file calls it (FMT-016)")
{
	encode(a, 5, 1ull << 9 | 1ull << 40);
	memcpy(a + 1024,
	       "\2\x09"
	       "wrong kind",
	       12);
	memcpy(a + 1024 + 48,
	       "\1\x08"
	       "wrong bit",
	       11);
	memcpy(a + 1024 + 63 * 48,
	       "\1\x09"
	       "zstd clusters",
	       15);
	reseal(a);
	ok(pl_header_decode(a, &got, &err) < 0);
	is_int(err.code, PL_E_UNSUPPORTED_FEATURE);
	ok(strstr(err.msg, "\"zstd clusters\" (bit 9)") != NULL);
}

pl_test("refuses an unknown feature without a name, too (FMT-016)")
{
	encode(a, 5, 1ull << 63);
	ok(pl_header_decode(a, &got, &err) < 0);
	ok(strstr(err.msg, "bit 63") != NULL);
}

pl_test("a feature name of full length is read to its end (FMT-016)")
{
	char want[48];

	encode(a, 5, 1);
	memset(a + 1024, 'n', 48);
	memcpy(a + 1024, "\1\0", 2);
	reseal(a);
	ok(pl_header_decode(a, &got, &err) < 0);
	memset(want, 'n', 46);
	memcpy(want + 46, "\"", 2);
	ok(strstr(err.msg, want) != NULL);
}

pl_test("prints no control characters of a feature's name (FMT-016)")
{
	encode(a, 5, 1);
	memcpy(a + 1024, "\1\0x\033[2Jy\xff", 9);
	reseal(a);
	ok(pl_header_decode(a, &got, &err) < 0);
	ok(strstr(err.msg, "\"x?[2Jy?\"") != NULL);
}

pl_test("accepts and keeps unknown compatible and auto-clear bits (FMT-017)")
{
	encode(a, 5, 0);
	put64(a, 40, 0x8000000000000001ull);
	put64(a, 48, 2);
	reseal(a);
	is_int(pl_header_decode(a, &got, &err), 0);
	ok(got.compatible == 0x8000000000000001ull);
	is_int(got.auto_clear, 2);
	pl_header_encode(&got, b);
	is_int(memcmp(a, b, PL_PAGE), 0);
}

int main(void)
{
	return pl_tap_main();
}
