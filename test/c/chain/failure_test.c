/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that fail: what they leave behind never shows later. */
#include "disk.h"

static struct stack s;
static struct pl_chain *ch;

/* A base full of 'a' in its first 200 blocks, an empty top. */
static bool two(void)
{
	ch = disk_over_base(&s);
	return ch != NULL;
}

static void finish(void)
{
	pl_chain_abandon(ch);
	stack_fini(&s);
}

static void fail_in(int64_t n, int with)
{
	s.spy[1].fail_errno = with;
	s.spy[1].fail_in = n;
}

static void heal(void)
{
	s.spy[1].failing = false;
	s.spy[1].fail_in = 0;
}

pl_test("a block whose write failed keeps what it was, or has the new (FMT-072)")
{
	require(two());
	is_int(put(ch, 70, 1, 'b'), 0); /* the header is marked */
	fail_in(1, ENOSPC);
	is_int(put(ch, 5, 3, 'c'), -ENOSPC);
	heal();
	ok(holds(ch, 0, 64, 'a'));
	is_int(put(ch, 5, 3, 'd'), 0);
	ok(holds(ch, 5, 3, 'd'));
	finish();
}

/*
 * The data gets there, owning it fails: the pending changes are full and the
 * journal can't be written.
 */
static bool unowned_data(void)
{
	for (uint64_t i = 2; i < 4096; i++)
		if (pl_layer_own(pl_chain_top(ch), i, 1, false) < 0)
			return false;
	fail_in(3, ENOSPC); /* data, its sync, the journal */
	if (put(ch, 69, 1, 'x') != -ENOSPC)
		return false;
	heal();
	return true;
}

pl_test("data of a write that failed is not shown by a later discard (FMT-080)")
{
	require(two());
	is_int(put(ch, 4, 1, 'b'), 0);
	require(unowned_data());
	ok(holds(ch, 69, 1, 'a'));
	is_int(put(ch, 70, 1, 'c'), 0);
	is_int(pl_chain_discard(ch, 4096, 69 * 4096), 0);
	ok(holds(ch, 69, 1, 0));
	ok(holds(ch, 4, 1, 'b'));
	finish();
}

pl_test("nor after closing in order and opening again (FMT-080)")
{
	require(two());
	is_int(put(ch, 4, 1, 'b'), 0);
	require(unowned_data());
	ch = disk_reopen(&s, ch, false);
	require(ch);
	is_int(put(ch, 70, 1, 'c'), 0);
	is_int(pl_chain_discard(ch, 4096, 69 * 4096), 0);
	ok(holds(ch, 69, 1, 0));
	finish();
}

/* Fails the n-th operation of a workload, for every n. */
static int workload(void)
{
	int rc = put(ch, 0, 64, 'b');

	if (rc == 0)
		rc = put(ch, 100, 50, 'c');
	if (rc == 0)
		rc = pl_chain_discard(ch, 20 * 4096, 90 * 4096);
	if (rc == 0)
		rc = disk_write(ch, 150 * 4096 + 512, 1024, 'd');
	if (rc == 0)
		rc = pl_chain_flush(ch);
	if (rc == 0)
		rc = pl_chain_zero(ch, 64 * 4096, 0);
	if (rc == 0)
		rc = pl_layer_checkpoint(pl_chain_top(ch));
	return rc;
}

/* Each block: what it may hold after any part of the workload. */
static bool plausible(void)
{
	static const struct {
		uint64_t first, end;
		const char *values; /* NUL means zeros */
		unsigned n;
	} may[] = { { 0, 64, "ab\0", 3 },  { 64, 90, "a", 1 },
		    { 90, 100, "a\0", 2 }, { 100, 110, "ac\0", 3 },
		    { 110, 150, "ac", 2 }, { 151, 200, "a", 1 },
		    { 200, 1000, "\0", 1 } };

	if (pl_chain_read(ch, disk_buf, 1000 * 4096, 0) < 0)
		return false;
	for (unsigned i = 0; i < sizeof(may) / sizeof(may[0]); i++)
		for (uint64_t k = may[i].first; k < may[i].end; k++) {
			const char *p = disk_buf + k * 4096;

			if (memchr(may[i].values, *p, may[i].n) &&
			    memcmp(p, p + 1, 4095) == 0)
				continue;
			printf("# block %llu is %d\n", (unsigned long long)k,
			       *p);
			return false;
		}
	return true;
}

static void fails_anywhere(int with, bool crash)
{
	bool fired = true;

	for (int64_t n = 1; fired && n < 100; n++) {
		require(two());
		fail_in(n, with);
		fired = workload() < 0;
		heal();
		ok(plausible());
		if (crash)
			pl_chain_abandon(ch);
		else
			pl_chain_close(ch, NULL);
		ch = stack_chain(&s);
		require(ch);
		if (!ok(plausible()))
			printf("# operation %lld failed with %d\n",
			       (long long)n, with);
		is_int(pl_chain_zero(ch, 1000 * 4096, 0), 0);
		ok(holds(ch, 0, 1000, 0));
		finish();
	}
	ok(!fired);
}

pl_test("any operation may fail once, for want of space, then a close")
{
	fails_anywhere(ENOSPC, false);
}

pl_test("any operation may fail once, for want of space, then a crash")
{
	fails_anywhere(ENOSPC, true);
}

pl_test("any operation may fail once, with an I/O error, then a crash")
{
	fails_anywhere(EIO, true);
}

int main(void)
{
	return pl_tap_main();
}
