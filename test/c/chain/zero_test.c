/* SPDX-License-Identifier: Apache-2.0 */
/* Discard and write-zeroes, with and without a parent below. */
#include "disk.h"

static struct stack s;
static struct pl_chain *ch;

static bool one(void)
{
	return stack_init(&s, 4096) && stack_add(&s, GIB) &&
	       (ch = stack_chain(&s)) && put(ch, 0, 200, 'a') == 0;
}

/* The same with an empty layer on top. */
static bool two(void)
{
	return one() && (ch = disk_snapshot(&s, ch, GIB));
}

static void finish(void)
{
	pl_chain_abandon(ch);
	stack_fini(&s);
}

static struct pl_entry entry(uint64_t cno)
{
	struct pl_entry e = { 0, 0 };

	is_int(pl_layer_entry(pl_chain_top(ch), cno, &e), 0);
	return e;
}

static uint64_t host_bytes(void)
{
	uint64_t n = 0;

	is_int(pl_store_usage(pl_layer_store(pl_chain_top(ch)), &n), 0);
	return n;
}

pl_test("discarded blocks read as zeros, their neighbours as before")
{
	require(one());
	is_int(pl_chain_discard(ch, 10 * 4096, 60 * 4096), 0);
	ok(holds(ch, 0, 60, 'a'));
	ok(holds(ch, 60, 10, 0));
	ok(holds(ch, 70, 130, 'a'));
	ch = disk_reopen(&s, ch, false);
	require(ch);
	ok(holds(ch, 60, 10, 0) && holds(ch, 70, 130, 'a'));
	finish();
}

pl_test("discard gives host space back, block by block")
{
	uint64_t before;

	require(one());
	before = host_bytes();
	is_int(pl_chain_discard(ch, 4096, 33 * 4096), 0);
	is_int(before - host_bytes(), 4096);
	is_int(pl_chain_discard(ch, 100 * 4096, 40 * 4096), 0);
	is_int(before - host_bytes(), 101 * 4096);
	finish();
}

pl_test("without a parent, what is discarded is not owned any more")
{
	require(one());
	is_int(pl_chain_discard(ch, 10 * 4096, 5 * 4096), 0);
	ok(entry(0).owned == ~(0x3ffull << 5));
	is_int(pl_chain_discard(ch, 64 * 4096, 0), 0);
	is_int(entry(0).owned, 0);
	is_int(entry(0).where, 0);
	finish();
}

pl_test("over a parent's data it becomes owned zeros, without host space")
{
	uint64_t before;

	require(two());
	before = host_bytes();
	is_int(pl_chain_discard(ch, 10 * 4096, 5 * 4096), 0);
	is_int(entry(0).owned, 0x3ff << 5);
	is_int(entry(0).where, 0);
	ok(holds(ch, 0, 5, 'a') && holds(ch, 5, 10, 0));
	ok(holds(ch, 15, 185, 'a'));
	is_int(host_bytes(), before);
	finish();
}

pl_test("a cluster without owned blocks gives its host cluster up (FMT-074)")
{
	uint64_t first;

	require(one());
	first = entry(1).where;
	ok(first != 0);
	is_int(pl_chain_discard(ch, 63 * 4096, 64 * 4096), 0);
	is_int(entry(1).where, first);
	is_int(pl_chain_discard(ch, 4096, 127 * 4096), 0);
	is_int(entry(1).where, 0);
	is_int(entry(1).owned, 0);
	ok(holds(ch, 0, 64, 'a') && holds(ch, 64, 64, 0));
	finish();
}

pl_test("discard leaves blocks that it covers in part alone")
{
	require(two());
	is_int(pl_chain_discard(ch, 8192, 512), 0);
	ok(holds(ch, 0, 1, 'a') && holds(ch, 1, 1, 0) && holds(ch, 2, 1, 'a'));
	is_int(pl_chain_discard(ch, 4096, 20 * 4096 + 512), 0);
	is_int(pl_chain_discard(ch, 1024, 30 * 4096 + 512), 0);
	ok(holds(ch, 2, 198, 'a'));
	finish();
}

pl_test("write-zeroes zeroes every byte of its range and no other")
{
	static const struct {
		uint64_t off, len;
	} cases[] = { { 512, 512 },
		      { 4096 * 3 + 512, 3584 },
		      { 4096 * 5, 512 },
		      { 4096 * 7 + 1024, 8192 },
		      { 4096 * 20, 4096 },
		      { 4096 * 60 + 512, 4096 * 80 },
		      { 4096 * 199, 4096 * 500 } };
	static char model[800 * 4096], got[800 * 4096];

	require(two());
	memset(model, 'a', 200 * 4096);
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		is_int(pl_chain_zero(ch, cases[i].len, cases[i].off), 0);
		memset(model + cases[i].off, 0, cases[i].len);
		is_int(pl_chain_read(ch, got, sizeof(got), 0), 0);
		if (!ok(memcmp(model, got, sizeof(got)) == 0))
			printf("# case %u\n", i);
	}
	finish();
}

pl_test("what was discarded can be written again")
{
	require(two());
	is_int(pl_chain_discard(ch, 200 * 4096, 0), 0);
	is_int(put(ch, 100, 1, 'c'), 0);
	is_int(disk_write(ch, 101 * 4096 + 512, 512, 'd'), 0);
	ok(holds(ch, 0, 100, 0) && holds(ch, 100, 1, 'c'));
	ok(disk_is(ch, 101 * 4096, 512, 0));
	ok(disk_is(ch, 101 * 4096 + 512, 512, 'd'));
	ok(disk_is(ch, 101 * 4096 + 1024, 3072, 0));
	ok(holds(ch, 102, 100, 0));
	finish();
}

pl_test("discarding what holds nothing changes nothing and costs nothing")
{
	require(two());
	disk_forget_counts(&s);
	is_int(pl_chain_discard(ch, GIB - MIB, MIB), 0);
	is_int(s.spy[1].n.meta_writes + s.spy[1].n.punches, 0);
	finish();
}

static void after_crash(bool flushed)
{
	require(two());
	is_int(put(ch, 0, 64, 'b'), 0);
	is_int(pl_chain_flush(ch), 0);
	is_int(pl_chain_discard(ch, 32 * 4096, 0), 0);
	if (flushed)
		is_int(pl_chain_flush(ch), 0);
	ch = disk_reopen(&s, ch, true);
	require(ch);
	/* What is on the disk was punched at once; never the parent's. */
	ok(holds(ch, 0, 32, 0));
	ok(holds(ch, 32, 32, 'b'));
	finish();
}

pl_test("after a crash, discarded blocks never show the parent's data")
{
	after_crash(true);
	after_crash(false);
}

int main(void)
{
	return pl_tap_main();
}
