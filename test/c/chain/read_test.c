/* SPDX-License-Identifier: Apache-2.0 */
/* Reading: which layer decides a block, and chains that are refused. */
#include "disk.h"
#include "edit.h"

static struct stack s;
static struct pl_chain *ch;

/* Blocks 0-9 in the base, 5-14 in the middle, 8, 20 and 21 in the top. */
static bool three(void)
{
	if (!stack_init(&s, 4096) || !stack_add(&s, GIB) ||
	    !(ch = stack_chain(&s)) || put(ch, 0, 10, 'a') < 0 ||
	    !(ch = disk_snapshot(&s, ch, GIB)) || put(ch, 5, 10, 'b') < 0 ||
	    !(ch = disk_snapshot(&s, ch, GIB)))
		return false;
	return put(ch, 8, 1, 'c') == 0 && put(ch, 20, 2, 'c') == 0;
}

static void finish(void)
{
	pl_chain_abandon(ch);
	stack_fini(&s);
}

static void shows_three(void)
{
	ok(holds(ch, 0, 5, 'a'));
	ok(holds(ch, 5, 3, 'b'));
	ok(holds(ch, 8, 1, 'c'));
	ok(holds(ch, 9, 6, 'b'));
	ok(holds(ch, 15, 5, 0));
	ok(holds(ch, 20, 2, 'c'));
	ok(holds(ch, 22, 100, 0));
}

pl_test("the uppermost layer that owns a block decides it (FMT-060)")
{
	require(three());
	shows_three();
	ch = disk_reopen(&s, ch, false);
	require(ch);
	shows_three();
	/* And in one read, over all of them. */
	is_int(pl_chain_read(ch, disk_buf, 25 * 4096, 0), 0);
	for (unsigned i = 0; i < 25; i++)
		is_int(disk_buf[i * 4096 + 4095],
		       "aaaaabbbcbbbbbb\0\0\0\0\0cc\0\0\0"[i]);
	finish();
}

pl_test("what nobody owns is zeros, without a read (FMT-060)")
{
	require(three());
	disk_forget_counts(&s);
	ok(disk_is(ch, 512 * MIB, 4 * MIB, 0));
	ok(holds(ch, 22, 40, 0));
	is_int(disk_reads(&s), 0);
	finish();
}

pl_test("an owned block without host space is zeros (FMT-020)")
{
	struct pl_entry e = { 0, 0 };

	require(three());
	is_int(pl_chain_discard(ch, 64 * 4096, 0), 0);
	is_int(pl_layer_entry(pl_chain_top(ch), 0, &e), 0);
	is_int(e.where, 0);
	is_int(e.owned, 0x7fff);
	ok(holds(ch, 0, 64, 0));
	finish();
}

pl_test("what a host cluster holds of unowned blocks does not show (FMT-024)")
{
	struct pl_entry e;

	require(three());
	is_int(pl_layer_entry(pl_chain_top(ch), 0, &e), 0);
	memset(disk_buf, 'x', 4096);
	is_int(pl_store_write(pl_layer_store(pl_chain_top(ch)), disk_buf, 4096,
			      e.where * 64 * 4096 + 2 * 4096, 0),
	       0);
	shows_three();
	finish();
}

pl_test("a lower layer says nothing beyond its own size (FMT-061)")
{
	require(stack_init(&s, 4096) && stack_add(&s, 10 * 4096));
	ch = stack_chain(&s);
	require(ch);
	is_int(put(ch, 0, 10, 'a'), 0);
	ch = disk_snapshot(&s, ch, 100 * 4096);
	require(ch);
	is_int(pl_chain_size(ch), 100 * 4096);
	ok(holds(ch, 0, 10, 'a'));
	ok(holds(ch, 10, 90, 0));
	is_int(put(ch, 9, 3, 'b'), 0);
	ok(holds(ch, 8, 1, 'a'));
	ok(holds(ch, 9, 3, 'b'));
	finish();
}

pl_test("the disk has the size of its uppermost layer (FMT-061)")
{
	require(stack_init(&s, 4096) && stack_add(&s, GIB));
	ch = stack_chain(&s);
	require(ch);
	is_int(put(ch, 0, 200, 'a'), 0);
	ch = disk_snapshot(&s, ch, 100 * 4096);
	require(ch);
	is_int(pl_chain_size(ch), 100 * 4096);
	ok(holds(ch, 0, 100, 'a'));
	is_int(pl_chain_read(ch, disk_buf, 4096, 100 * 4096), -EINVAL);
	is_int(pl_chain_zero(ch, 100 * 4096, 0), 0);
	ok(holds(ch, 0, 100, 0));
	finish();
}

pl_test("a layer below that is neither sealed nor clean is read (FMT-064)")
{
	require(stack_init(&s, 4096) && stack_add(&s, GIB));
	ch = stack_chain(&s);
	require(ch);
	is_int(put(ch, 3, 1, 'a'), 0);
	is_int(pl_chain_flush(ch), 0);
	pl_chain_abandon(ch);
	require(stack_add(&s, GIB));
	ch = stack_chain(&s);
	require(ch);
	ok(holds(ch, 3, 1, 'a'));
	finish();
}

static void refused(enum pl_code code, const char *word)
{
	ok(pl_chain_new(&ch, s.ly, s.n, &s.err) < 0);
	is_int(s.err.code, code);
	if (!ok(strstr(s.err.msg, word) != NULL))
		printf("# \"%s\" does not say \"%s\"\n", s.err.msg, word);
	stack_fini(&s);
}

pl_test("refuses a chain with two block sizes (FMT-062)")
{
	require(stack_init(&s, 4096) && stack_add(&s, GIB));
	s.block_size = 8192;
	require(stack_add(&s, GIB) && stack_open(&s, 0, 0) &&
		stack_open(&s, 1, 0));
	refused(PL_E_UNSUPPORTED, "block size");
}

pl_test("refuses a layer whose parent is not below it (FMT-018)")
{
	struct pl_uuid other = { { 0x77 } };

	require(stack_init(&s, 4096) && stack_add(&s, GIB) &&
		stack_add(&s, GIB) && stack_open(&s, 0, 0) &&
		stack_open(&s, 1, PL_LAYER_WRITE));
	is_int(pl_layer_set_parent(s.ly[1], &other), 0);
	refused(PL_E_CORRUPT, "parent");
}

pl_test("accepts an ancestor, or none, as the parent (FMT-018)")
{
	struct pl_uuid base = stack_uuid(0), none = { { 0 } };

	require(three());
	is_int(pl_layer_set_parent(pl_chain_top(ch), &base), 0);
	ch = disk_reopen(&s, ch, false);
	require(ch);
	is_int(pl_layer_set_parent(pl_chain_top(ch), &none), 0);
	ch = disk_reopen(&s, ch, false);
	require(ch);
	shows_three();
	finish();
}

int main(void)
{
	return pl_tap_main();
}
