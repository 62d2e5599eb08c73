/* SPDX-License-Identifier: Apache-2.0 */
/* Creating and opening layers, and what happens to their header. */
#include "edit.h"
#include "stack.h"

static struct stack s;

/* The header on disk that counts. */
static struct pl_header on_disk(void)
{
	struct pl_store *st = stack_file(&s, 0, 0);
	struct pl_header hdr = { .sequence = 0 };

	edit_header_read(st, &hdr);
	pl_store_close(st);
	return hdr;
}

static void set_header(const struct pl_header *hdr)
{
	struct pl_store *st = stack_file(&s, 0, PL_OPEN_WRITE);

	edit_header_write(st, hdr);
	pl_store_close(st);
}

static bool change(uint64_t cno)
{
	uint64_t where;

	return pl_layer_map(s.ly[0], cno, &where) == 0 &&
	       pl_layer_own(s.ly[0], cno, 1, false) == 0;
}

pl_test("a new layer owns nothing and has two equal header copies (FMT-010)")
{
	char pages[2 * PL_PAGE];
	struct pl_entry e;

	require(stack_one(&s, 4096, GIB));
	for (uint64_t cno = 0; cno < 4096; cno += 511) {
		is_int(pl_layer_entry(s.ly[0], cno, &e), 0);
		ok(!e.where && !e.owned);
	}
	is_int(pl_layer_entry(s.ly[0], 1 << 30, &e), 0);
	ok(!e.where && !e.owned);
	is_int(pl_layer_page_count(s.ly[0]), 16);
	stack_peek(&s, 0, pages, sizeof(pages), 0);
	is_int(memcmp(pages, pages + PL_PAGE, PL_PAGE), 0);
	is_int(on_disk().flags, PL_HEADER_CLEAN);
	is_int(on_disk().state, PL_LAYER_TOP);
	stack_fini(&s);
}

pl_test("create refuses what a reader would reject (FMT-014)")
{
	struct pl_layer_params p = { .uuid = stack_uuid(0),
				     .virtual_size = 4096,
				     .block_size = 4097 };
	struct pl_store *st;

	require(stack_init(&s, 4096));
	st = stack_file(&s, 0, PL_OPEN_WRITE | PL_OPEN_CREATE);
	ok(pl_layer_create(st, &p, &s.err) < 0);
	p.block_size = 65536;
	ok(pl_layer_create(st, &p, &s.err) < 0);
	p.virtual_size = 0;
	ok(pl_layer_create(st, &p, &s.err) < 0);
	p.virtual_size = 65536;
	is_int(pl_layer_create(st, &p, &s.err), 0);
	pl_store_close(st);
	stack_fini(&s);
}

pl_test("opening and closing without a change writes nothing")
{
	struct spy_counts *n = &s.spy[0].n;

	require(stack_one(&s, 4096, GIB));
	ok(stack_close(&s, 0));
	is_int(n->meta_writes + n->data_writes + n->punches + n->truncates, 0);
	/* For what a process that died may have overwritten in place. */
	is_int(n->syncs, 1);
	stack_fini(&s);
}

pl_test("CLEAN is gone, durably, before the first change (FMT-070)")
{
	require(stack_one(&s, 4096, GIB));
	s.spy[0].fail_in = 2; /* the header's write works, its sync does not */
	ok(!change(0));
	is_int(s.spy[0].n.meta_writes, 1);
	is_int(s.spy[0].n.syncs, 1);
	stack_fini(&s);
	require(stack_one(&s, 4096, GIB));
	ok(change(0));
	is_int(on_disk().flags & PL_HEADER_CLEAN, 0);
	stack_fini(&s);
}

pl_test("closing in order sets CLEAN again (FMT-077)")
{
	struct pl_entry e;

	require(stack_one(&s, 4096, GIB));
	ok(change(5));
	ok(stack_close(&s, 0));
	is_int(on_disk().flags, PL_HEADER_CLEAN);
	ok(stack_open(&s, 0, 0));
	is_int(pl_layer_entry(s.ly[0], 5, &e), 0);
	ok(e.where && e.owned == 1);
	stack_fini(&s);
}

pl_test("headers alternate between the copies, sequence by one (FMT-076)")
{
	struct pl_header first, second, got;
	char pages[2][PL_PAGE], now[2][PL_PAGE];

	require(stack_one(&s, 4096, GIB));
	first = on_disk();
	stack_peek(&s, 0, pages, sizeof(pages), 0);
	ok(change(0));
	second = on_disk();
	is_int(second.sequence, first.sequence + 1);
	stack_peek(&s, 0, now, sizeof(now), 0);
	is_int(memcmp(pages[0], now[0], PL_PAGE), 0);
	ok(memcmp(pages[1], now[1], PL_PAGE) != 0);
	is_int(pl_layer_checkpoint(s.ly[0]), 0);
	stack_peek(&s, 0, pages, sizeof(pages), 0);
	is_int(memcmp(pages[1], now[1], PL_PAGE), 0);
	is_int(pl_header_decode(pages[0], &got, &s.err), 0);
	is_int(got.sequence, second.sequence + 1);
	stack_fini(&s);
}

pl_test("keeps compatible bits, label and times when it writes (FMT-017)")
{
	struct pl_header h;

	require(stack_one(&s, 4096, GIB));
	ok(stack_close(&s, 0));
	h = on_disk();
	h.compatible = 0xf00d;
	h.created = 12345;
	strcpy(h.label, "ct7");
	set_header(&h);
	require(stack_open(&s, 0, PL_LAYER_WRITE));
	ok(change(0));
	h = on_disk();
	is_int(h.compatible, 0xf00d);
	is_int(h.created, 12345);
	is_str(h.label, "ct7");
	stack_fini(&s);
}

static void auto_clear(uint32_t flags)
{
	struct pl_header h;

	require(stack_one(&s, 4096, GIB));
	ok(stack_close(&s, 0));
	h = on_disk();
	h.auto_clear = 6;
	h.flags = flags;
	set_header(&h);
	ok(stack_open(&s, 0, 0));
	stack_abandon(&s, 0);
	ok(on_disk().auto_clear == 6);
	require(stack_open(&s, 0, PL_LAYER_WRITE));
	ok(change(0));
	is_int(on_disk().auto_clear, 0);
	stack_fini(&s);
}

pl_test("clears unknown auto-clear bits before the first change (FMT-017)")
{
	auto_clear(PL_HEADER_CLEAN);
}

pl_test("clears them in a layer that is not clean, too (FMT-017)")
{
	auto_clear(0);
}

int main(void)
{
	return pl_tap_main();
}
