/* SPDX-License-Identifier: Apache-2.0 */
/* Opening after a crash: what the journal says counts, and where it ends. */
#include "entries.h"

pl_test("what was flushed is there after a crash (FMT-043)")
{
	require(stack_one(&s, 4096, GIB));
	for (uint64_t i = 0; i < 10; i++)
		ok(set(i * 300, i + 1));
	is_int(pl_layer_flush(s.ly[0]), 0);
	require(crash(0));
	for (uint64_t i = 0; i < 10; i++)
		is_int(owned(i * 300), i + 1);
	stack_fini(&s);
}

pl_test("the last item for a cluster counts (FMT-043)")
{
	require(stack_one(&s, 4096, GIB));
	for (uint64_t i = 1; i <= 5; i++) {
		ok(set(7, i));
		is_int(pl_layer_flush(s.ly[0]), 0);
	}
	ok(set(7, 0x66));
	ok(set(7, 0x77));
	is_int(pl_layer_flush(s.ly[0]), 0);
	require(crash(0));
	is_int(owned(7), 0x77);
	stack_fini(&s);
}

pl_test("what was not flushed leaves the old state, never another (FMT-041)")
{
	require(stack_one(&s, 4096, GIB));
	ok(set(1, 0xf));
	is_int(pl_layer_flush(s.ly[0]), 0);
	ok(set(1, 0xff));
	ok(set(2, 1));
	require(crash(PL_LAYER_WRITE));
	is_int(owned(1), 0xf);
	is_int(owned(2), 0);
	stack_fini(&s);
}

pl_test("replay repeats after each crash, also of the recovery (FMT-043)")
{
	require(stack_one(&s, 4096, GIB));
	ok(set(1, 0xf));
	is_int(pl_layer_flush(s.ly[0]), 0);
	for (unsigned i = 0; i < 5; i++)
		require(crash(PL_LAYER_WRITE));
	ok(set(2, 3));
	is_int(pl_layer_flush(s.ly[0]), 0);
	require(crash(PL_LAYER_WRITE));
	is_int(owned(1), 0xf);
	is_int(owned(2), 3);
	ok(stack_close(&s, 0));
	require(stack_open(&s, 0, 0));
	is_int(owned(2), 3);
	stack_fini(&s);
}

pl_test("a reader replays in memory and changes nothing (FMT-047)")
{
	struct spy_counts *n = &s.spy[0].n;

	require(stack_one(&s, 4096, GIB));
	ok(set(1, 0xf));
	is_int(pl_layer_flush(s.ly[0]), 0);
	stack_abandon(&s, 0);
	memset(n, 0, sizeof(*n));
	require(stack_open(&s, 0, 0));
	is_int(owned(1), 0xf);
	ok(!pl_layer_writable(s.ly[0]));
	ok(stack_close(&s, 0));
	is_int(n->meta_writes + n->data_writes + n->punches + n->syncs +
		       n->truncates,
	       0);
	stack_fini(&s);
}

/* The same two changes as a leftover: found only after their predecessor. */
pl_test("a leftover of another history is no successor (FMT-042)")
{
	struct pl_header h;
	struct pl_store *st;
	char tail[56];

	require(stack_one(&s, 4096, GIB));
	ok(set(1, 1));
	is_int(pl_layer_flush(s.ly[0]), 0);
	ok(set(2, 2));
	is_int(pl_layer_flush(s.ly[0]), 0);
	stack_abandon(&s, 0);
	h = header();
	stack_peek(&s, 0, tail, sizeof(tail), h.journal_off + 56);
	is_int(memcmp(tail, "PLJR", 4), 0);
	/* Another first record of the same length; the second one stays. */
	st = stack_file(&s, 0, PL_OPEN_WRITE);
	edit_journal(st, (struct pl_map_item){ .cno = 9, .entry = { 0, 9 } });
	pl_store_close(st);
	require(stack_open(&s, 0, 0));
	is_int(owned(9), 9);
	is_int(owned(1), 0);
	is_int(owned(2), 0);
	stack_fini(&s);
}

pl_test("a torn record ends the journal without a complaint (FMT-041)")
{
	struct pl_header h;

	require(stack_one(&s, 4096, GIB));
	ok(set(1, 1));
	is_int(pl_layer_flush(s.ly[0]), 0);
	for (uint64_t i = 10; i < 60; i++)
		ok(set(i, 1));
	is_int(pl_layer_flush(s.ly[0]), 0);
	stack_abandon(&s, 0);
	h = header();
	/* Its third sector did not get there. */
	stack_poke(&s, 0, (char[512]){ 0 }, 512, h.journal_off + 1024);
	require(stack_open(&s, 0, PL_LAYER_WRITE));
	is_int(owned(1), 1);
	is_int(owned(10), 0);
	is_int(owned(59), 0);
	/* And goes on from there. */
	ok(set(5, 5));
	is_int(pl_layer_flush(s.ly[0]), 0);
	require(crash(0));
	is_int(owned(5), 5);
	stack_fini(&s);
}

int main(void)
{
	return pl_tap_main();
}
