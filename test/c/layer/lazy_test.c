/* SPDX-License-Identifier: Apache-2.0 */
/* Large directories, read page by page as they are needed (PL_LAYER_LAZY). */
#include "edit.h"
#include "stack.h"

#define TIB (1024 * GIB)
#define PER_DIR (PL_DIR_ENTRIES * PL_PAGE_ENTRIES) /* clusters */
#define DIRS 40u /* of 64, that have something in them */

static struct stack s;

static uint64_t cluster(unsigned dir)
{
	return (uint64_t)dir * PER_DIR + 7;
}

/* A closed layer of a TiB that owns a block in many places of it. */
static bool prepared(uint64_t size, unsigned dirs)
{
	uint64_t where;
	bool fine = stack_one(&s, 4096, size);

	for (unsigned d = 0; fine && d < dirs; d++)
		fine = pl_layer_map(s.ly[0], cluster(d), &where) == 0 &&
		       pl_layer_own(s.ly[0], cluster(d), 2, false) == 0;
	return fine && stack_close(&s, 0);
}

static uint64_t reads(void)
{
	return s.spy[0].n.meta_reads;
}

/* The layer says that this was found damaged last. */
static bool troubled(const char *what, uint64_t number, uint64_t off)
{
	const struct pl_layer_trouble *t = pl_layer_trouble(s.ly[0]);

	return t && strcmp(t->what, what) == 0 && t->number == number &&
	       t->off == off;
}

static uint64_t owned(uint64_t cno)
{
	struct pl_entry e = { 0 };

	is_int(pl_layer_entry(s.ly[0], cno, &e), 0);
	return e.owned;
}

pl_test("opening reads the header and nothing of a large directory")
{
	uint64_t before;

	require(prepared(TIB, DIRS));
	before = reads();
	require(stack_open(&s, 0, PL_LAYER_LAZY));
	is_int(reads() - before, 1);
	/* A page of the directory and a page of the map. */
	is_int(owned(cluster(30)), 2);
	is_int(reads() - before, 3);
	/* That part of the directory says that this one is absent. */
	is_int(owned(cluster(30) + PL_PAGE_ENTRIES), 0);
	is_int(reads() - before, 3);
	stack_fini(&s);
}

pl_test("reads a small directory at opening, so that damage shows at once")
{
	uint64_t before;

	require(prepared(32 * GIB, 2));
	before = reads();
	require(stack_open(&s, 0, PL_LAYER_LAZY));
	is_int(reads() - before, 2);
	ok(!pl_layer_page_present(s.ly[0], 1));
	stack_fini(&s);
}

pl_test("says the same as one that was read as a whole")
{
	struct pl_entry e[PL_PAGE_ENTRIES];

	require(prepared(TIB, DIRS));
	require(stack_open(&s, 0, PL_LAYER_LAZY));
	for (uint64_t p = 0; p < pl_layer_page_count(s.ly[0]); p++) {
		bool some = p % PL_DIR_ENTRIES == 0 &&
			    p / PL_DIR_ENTRIES < DIRS;

		/* Unread is not absent. */
		if (some)
			ok(pl_layer_page_present(s.ly[0], p));
		require(pl_layer_page(s.ly[0], p, e) == 0);
		if (e[7].owned != (some ? 2 : 0))
			is_int((int)p, -1);
		ok(pl_layer_page_present(s.ly[0], p) == some);
	}
	stack_fini(&s);
}

pl_test("a damaged page is met by who needs it, again and again (FMT-032)")
{
	struct pl_store *st;
	struct pl_header hdr;
	struct pl_entry e;
	char byte = 1;

	require(prepared(TIB, DIRS));
	st = stack_file(&s, 0, PL_OPEN_WRITE);
	require(edit_header_read(st, &hdr));
	ok(pl_store_write(st, &byte, 1, hdr.dir_off + 9 * PL_PAGE + 100,
			  PL_IO_META) == 0);
	pl_store_close(st);
	require(stack_open(&s, 0, PL_LAYER_LAZY));
	is_int(owned(cluster(8)), 2);
	ok(!pl_layer_trouble(s.ly[0]));
	is_int(pl_layer_entry(s.ly[0], cluster(9), &e), -EUCLEAN);
	is_int(pl_layer_entry(s.ly[0], cluster(9) + 9999, &e), -EUCLEAN);
	is_int(owned(cluster(10)), 2);
	ok(troubled("directory page", 9, hdr.dir_off + 9 * PL_PAGE));
	is_int(pl_layer_trouble(s.ly[0])->first, 9ull * PER_DIR * 256 * KIB);
	is_int(pl_layer_trouble(s.ly[0])->end, 10ull * PER_DIR * 256 * KIB);
	stack_abandon(&s, 0);
	/* Others see it at once. */
	ok(stack_try_open(&s, 0, 0, NULL) < 0);
	ok(strstr(s.err.msg, "directory page 9") != NULL);
	stack_fini(&s);
}

pl_test("so is a damaged map page, and the layer says which")
{
	struct pl_dir_entry de;
	struct pl_store *st;
	struct pl_header hdr;
	struct pl_entry e;
	char byte = 1;

	require(prepared(GIB, 1));
	st = stack_file(&s, 0, PL_OPEN_WRITE);
	require(edit_header_read(st, &hdr));
	de = edit_dir_entry(st, &hdr, 0);
	ok(pl_store_write(st, &byte, 1, de.location + 2000, PL_IO_META) == 0);
	pl_store_close(st);
	require(stack_open(&s, 0, PL_LAYER_LAZY));
	ok(!pl_layer_trouble(s.ly[0]));
	is_int(pl_layer_entry(s.ly[0], cluster(0), &e), -EUCLEAN);
	ok(troubled("map page", 0, de.location));
	is_int(pl_layer_trouble(s.ly[0])->first, 0);
	is_int(pl_layer_trouble(s.ly[0])->end, 64 * MIB);
	stack_fini(&s);
}

pl_test("a place outside of the clusters is met like that, too (FMT-033)")
{
	struct pl_dir_entry bad = { .location = 4096, .crc = 1 };
	struct pl_store *st;
	struct pl_header hdr;
	struct pl_entry e;

	require(prepared(TIB, DIRS));
	st = stack_file(&s, 0, PL_OPEN_WRITE);
	require(edit_header_read(st, &hdr));
	edit_dir_write(st, &hdr, 9 * PL_DIR_ENTRIES + 5, bad);
	pl_store_close(st);
	require(stack_open(&s, 0, PL_LAYER_LAZY));
	is_int(pl_layer_entry(s.ly[0], cluster(9), &e), -EUCLEAN);
	is_int(owned(cluster(10)), 2);
	stack_fini(&s);
}

pl_test("what crashed is read as a whole: the journal may heal it")
{
	uint64_t where;

	require(prepared(TIB, DIRS));
	require(stack_open(&s, 0, PL_LAYER_WRITE));
	ok(pl_layer_map(s.ly[0], cluster(50), &where) == 0);
	ok(pl_layer_own(s.ly[0], cluster(50), 4, false) == 0);
	ok(pl_layer_flush(s.ly[0]) == 0);
	stack_abandon(&s, 0);
	require(stack_open(&s, 0, PL_LAYER_LAZY));
	is_int(owned(cluster(50)), 4);
	is_int(owned(cluster(30)), 2);
	ok(!pl_layer_page_present(s.ly[0], 1));
	stack_fini(&s);
}

int main(void)
{
	return pl_tap_main();
}
