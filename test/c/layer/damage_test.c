/* SPDX-License-Identifier: Apache-2.0 */
/* Damaged maps and directories of layers that were closed in order. */
#include "edit.h"
#include "stack.h"

static struct stack s;
static struct pl_store *st;
static struct pl_header hdr;

/* A clean, closed layer that owns something in map pages 0 and 3. */
static bool prepared(void)
{
	uint64_t where;

	if (!stack_one(&s, 4096, GIB) || pl_layer_map(s.ly[0], 1, &where) < 0 ||
	    pl_layer_own(s.ly[0], 1, 3, false) < 0 ||
	    pl_layer_map(s.ly[0], 3 * 256, &where) < 0 ||
	    pl_layer_own(s.ly[0], 3 * 256, 1, false) < 0 || !stack_close(&s, 0))
		return false;
	st = stack_file(&s, 0, PL_OPEN_WRITE);
	return edit_header_read(st, &hdr);
}

static void finish(void)
{
	pl_store_close(st);
	stack_fini(&s);
}

static void flip(uint64_t off)
{
	char byte;

	ok(pl_store_read(st, &byte, 1, off, PL_IO_META) == 0);
	byte ^= 0x10;
	ok(pl_store_write(st, &byte, 1, off, PL_IO_META) == 0);
}

pl_test("a reader rejects a damaged map page when it needs it (FMT-025)")
{
	struct pl_entry e;

	require(prepared());
	flip(edit_dir_entry(st, &hdr, 3).location + 4095);
	require(stack_open(&s, 0, 0));
	is_int(pl_layer_entry(s.ly[0], 3 * 256, &e), -EUCLEAN);
	is_int(pl_layer_entry(s.ly[0], 1, &e), 0);
	is_int(e.owned, 3);
	finish();
}

pl_test("a writer rejects it at once, naming the page (FMT-025)")
{
	require(prepared());
	flip(edit_dir_entry(st, &hdr, 3).location + 4095);
	ok(stack_try_open(&s, 0, PL_LAYER_WRITE, NULL) < 0);
	is_int(s.err.code, PL_E_CORRUPT);
	ok(strstr(s.err.msg, "map page 3: checksum mismatch") != NULL);
	finish();
}

static void rejects_entry(struct pl_entry entry)
{
	struct pl_entry e;

	require(prepared());
	edit_entry(st, 3 * 256 + 7, entry);
	require(stack_open(&s, 0, 0));
	is_int(pl_layer_entry(s.ly[0], 3 * 256, &e), -EUCLEAN);
	stack_abandon(&s, 0);
	ok(stack_try_open(&s, 0, PL_LAYER_WRITE, NULL) < 0);
	is_int(s.err.code, PL_E_CORRUPT);
	finish();
}

pl_test("rejects illegal entries in a page with a right checksum (FMT-021)")
{
	rejects_entry((struct pl_entry){ 1ull << 41, 1 });
}

pl_test("rejects entries that point into the metadata (FMT-022)")
{
	rejects_entry((struct pl_entry){ 1, 1 });
}

pl_test("rejects a damaged directory page at once (FMT-032)")
{
	require(prepared());
	flip(hdr.dir_off + 100);
	ok(stack_try_open(&s, 0, 0, NULL) < 0);
	is_int(s.err.code, PL_E_CORRUPT);
	ok(strstr(s.err.msg, "directory page 0") != NULL);
	finish();
}

static void rejects_location(uint64_t location)
{
	require(prepared());
	edit_dir_write(st, &hdr, 5, (struct pl_dir_entry){ location, 0 });
	ok(stack_try_open(&s, 0, 0, NULL) < 0);
	is_int(s.err.code, PL_E_CORRUPT);
	ok(strstr(s.err.msg, "directory entry 5") != NULL);
	finish();
}

pl_test("rejects directory entries that point anywhere else (FMT-033)")
{
	rejects_location(4096);
	rejects_location((5 << 18) + 512);
	rejects_location((5 << 18) - 4096);
	rejects_location(1ull << 62);
	rejects_location(UINT64_MAX - 4095);
}

pl_test("a map page beyond the file's end is damaged, not empty (FMT-005)")
{
	struct pl_entry e;

	require(prepared());
	edit_dir_write(st, &hdr, 5,
		       (struct pl_dir_entry){ 1ull << 40, 0x1234 });
	require(stack_open(&s, 0, 0));
	is_int(pl_layer_entry(s.ly[0], 5 * 256, &e), -EUCLEAN);
	finish();
}

pl_test("ignores directory entries beyond the last map page (FMT-030)")
{
	require(prepared());
	edit_dir_write(st, &hdr, 16, (struct pl_dir_entry){ 12345, 0 });
	ok(stack_open(&s, 0, PL_LAYER_WRITE));
	finish();
}

pl_test("a CLEAN layer's pages from `dir used` on mean nothing (FMT-031)")
{
	struct pl_entry e;

	require(prepared());
	is_int(hdr.dir_used, 1);
	hdr.dir_used = 0;
	edit_header_write(st, &hdr);
	require(stack_open(&s, 0, 0));
	is_int(pl_layer_entry(s.ly[0], 1, &e), 0);
	is_int(e.owned, 0);
	stack_abandon(&s, 0);
	hdr.flags = 0;
	edit_header_write(st, &hdr);
	require(stack_open(&s, 0, 0));
	is_int(pl_layer_entry(s.ly[0], 1, &e), 0);
	is_int(e.owned, 3);
	finish();
}

pl_test("absent map pages own nothing (FMT-034)")
{
	struct pl_entry e = { 1, 1 };

	require(prepared());
	require(stack_open(&s, 0, 0));
	is_int(pl_layer_entry(s.ly[0], 2 * 256, &e), 0);
	is_int(e.where | e.owned, 0);
	ok(!pl_layer_page_present(s.ly[0], 2));
	ok(pl_layer_page_present(s.ly[0], 3));
	finish();
}

pl_test("a bad header copy is no matter while the other is good (FMT-011)")
{
	require(prepared());
	flip(100);
	ok(stack_open(&s, 0, PL_LAYER_WRITE));
	stack_abandon(&s, 0);
	flip(PL_PAGE + 100);
	ok(stack_try_open(&s, 0, 0, NULL) < 0);
	is_int(s.err.code, PL_E_CORRUPT);
	finish();
}

int main(void)
{
	return pl_tap_main();
}
