/* SPDX-License-Identifier: Apache-2.0 */
/* Writing: what it reads, what it owns, any alignment, refusals, failures. */
#include "disk.h"

static struct stack s;
static struct pl_chain *ch;

/* A base whose first 2000 blocks hold 'a', and an empty top. */
static bool two(uint32_t block_size)
{
	return stack_init(&s, block_size) && stack_add(&s, GIB) &&
	       (ch = stack_chain(&s)) && put(ch, 0, 2000, 'a') == 0 &&
	       (ch = disk_snapshot(&s, ch, GIB));
}

static void finish(void)
{
	pl_chain_abandon(ch);
	stack_fini(&s);
}

static uint64_t owned(uint64_t cno)
{
	struct pl_entry e = { 0 };

	is_int(pl_layer_entry(pl_chain_top(ch), cno, &e), 0);
	return e.owned;
}

pl_test("a write of whole blocks never reads the parent")
{
	require(two(4096));
	disk_forget_counts(&s);
	for (uint64_t b = 1; b < 1000; b += 7)
		is_int(put(ch, b, 1 + b % 3, 'b'), 0);
	is_int(put(ch, 1000, 700, 'b'), 0);
	is_int(disk_reads(&s), 0);
	ok(holds(ch, 1, 2, 'b') && holds(ch, 0, 1, 'a'));
	ok(holds(ch, 1000, 700, 'b') && holds(ch, 1700, 300, 'a'));
	finish();
}

pl_test("a write of 4 KiB writes 4 KiB")
{
	require(two(4096));
	disk_forget_counts(&s);
	is_int(put(ch, 77, 1, 'b'), 0);
	is_int(s.spy[1].n.data_writes, 1);
	is_int(s.spy[1].n.data_bytes, 4096);
	is_int(owned(1), 1ull << 13);
	finish();
}

pl_test("a write says when the host has to allocate for it, and only then")
{
	require(two(4096));
	disk_forget_counts(&s);
	is_int(put(ch, 77, 4, 'b'), 0);
	is_int(s.spy[1].n.allocating, 1);
	is_int(put(ch, 77, 4, 'c'), 0);
	is_int(put(ch, 78, 2, 'd'), 0);
	is_int(s.spy[1].n.allocating, 1);
	is_int(put(ch, 80, 2, 'e'), 0);
	is_int(s.spy[1].n.allocating, 2);
	is_int(s.spy[1].n.data_writes, 4);
	finish();
}

pl_test("part of a block reads the rest of it once, then never again")
{
	require(two(4096));
	disk_forget_counts(&s);
	is_int(disk_write(ch, 5 * 4096 + 512, 1024, 'b'), 0);
	is_int(disk_reads(&s), 1);
	is_int(disk_write(ch, 5 * 4096 + 2048, 512, 'c'), 0);
	is_int(disk_reads(&s), 1);
	ok(disk_is(ch, 5 * 4096, 512, 'a'));
	ok(disk_is(ch, 5 * 4096 + 512, 1024, 'b'));
	ok(disk_is(ch, 5 * 4096 + 1536, 512, 'a'));
	ok(disk_is(ch, 5 * 4096 + 2048, 512, 'c'));
	ok(disk_is(ch, 5 * 4096 + 2560, 1536, 'a'));
	is_int(owned(0), 1 << 5);
	finish();
}

pl_test("part of a block that nobody owns is completed with zeros")
{
	require(two(4096));
	disk_forget_counts(&s);
	is_int(disk_write(ch, 10000 * 4096ull + 512, 512, 'b'), 0);
	is_int(disk_reads(&s), 0);
	ok(disk_is(ch, 10000 * 4096ull, 512, 0));
	ok(disk_is(ch, 10000 * 4096ull + 512, 512, 'b'));
	ok(disk_is(ch, 10000 * 4096ull + 1024, 3072, 0));
	finish();
}

static void any_alignment(uint32_t block_size)
{
	static char model[2 << 20], got[2 << 20];
	uint64_t seed = block_size, off, len;

	require(two(block_size));
	memset(model, 'a', sizeof(model));
	for (unsigned i = 0; i < 400; i++) {
		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		off = (seed >> 33) % (sizeof(model) / 512);
		len = (seed >> 20) % 700;
		len = off + len > sizeof(model) / 512 ? 1 : len;
		memset(model + off * 512, 'b' + (int)i % 20, len * 512);
		is_int(disk_write(ch, off * 512, len * 512, 'b' + (int)i % 20),
		       0);
	}
	is_int(pl_chain_read(ch, got, sizeof(got), 0), 0);
	is_int(memcmp(model, got, sizeof(got)), 0);
	ch = disk_reopen(&s, ch, false);
	require(ch);
	is_int(pl_chain_read(ch, got, sizeof(got), 0), 0);
	is_int(memcmp(model, got, sizeof(got)), 0);
	finish();
}

pl_test("writes of any 512-byte range read back, at each block size")
{
	for (uint32_t bs = 4096; bs <= 65536; bs *= 2)
		any_alignment(bs);
}

pl_test("memory at any address will do")
{
	require(two(4096));
	memset(disk_buf, 'z', 8192 + 3);
	is_int(pl_chain_write(ch, disk_buf + 3, 8192, 4096), 0);
	memset(disk_buf, 0, 8192 + 3);
	is_int(pl_chain_read(ch, disk_buf + 1, 8192, 4096), 0);
	is_int(disk_buf[0], 0);
	is_int(disk_buf[1], 'z');
	is_int(disk_buf[8192], 'z');
	is_int(disk_buf[8193], 0);
	finish();
}

pl_test("refuses what is unaligned or beyond the end, and changes nothing")
{
	require(two(4096));
	disk_forget_counts(&s);
	is_int(pl_chain_write(ch, disk_buf, 512, 100), -EINVAL);
	is_int(pl_chain_write(ch, disk_buf, 100, 512), -EINVAL);
	is_int(pl_chain_write(ch, disk_buf, 4096, GIB), -EINVAL);
	is_int(pl_chain_write(ch, disk_buf, 8192, GIB - 4096), -EINVAL);
	is_int(pl_chain_write(ch, disk_buf, 512, UINT64_MAX - 511), -EINVAL);
	is_int(pl_chain_read(ch, disk_buf, 512, UINT64_MAX - 511), -EINVAL);
	is_int(pl_chain_discard(ch, 512, UINT64_MAX - 511), -EINVAL);
	is_int(pl_chain_zero(ch, 8192, GIB - 4096), -EINVAL);
	is_int(pl_chain_write(ch, disk_buf, 0, 512), 0);
	is_int(s.spy[1].n.data_writes + s.spy[1].n.meta_writes, 0);
	finish();
}

pl_test("a chain without a writable top is read-only")
{
	require(two(4096));
	is_int(pl_chain_close(ch, &s.err), 0);
	require(stack_open(&s, 0, 0) && stack_open(&s, 1, 0));
	require(pl_chain_new(&ch, s.ly, 2, &s.err) == 0);
	memset(s.ly, 0, sizeof(s.ly));
	ok(!pl_chain_writable(ch));
	is_int(put(ch, 0, 1, 'b'), -EROFS);
	is_int(pl_chain_zero(ch, 4096, 0), -EROFS);
	is_int(pl_chain_discard(ch, 4096, 0), -EROFS);
	is_int(pl_chain_flush(ch), 0);
	ok(holds(ch, 0, 100, 'a'));
	finish();
}

int main(void)
{
	return pl_tap_main();
}
