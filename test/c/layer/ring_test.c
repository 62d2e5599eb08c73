/* SPDX-License-Identifier: Apache-2.0 */
/* The journal's ring: going round, wrapping records, getting full. */
#include "entries.h"

pl_test("the journal goes round its ring many times (FMT-040)")
{
	uint64_t n = 4000;

	require(stack_one(&s, 4096, 2 * GIB));
	/* Each round puts some 96 KiB into the ring of 1 MiB. */
	for (uint64_t round = 1; round <= 40; round++) {
		for (uint64_t i = 0; i < n; i++)
			if (!ok(set(i, round)))
				return;
		is_int(pl_layer_flush(s.ly[0]), 0);
	}
	require(crash(0));
	ok(header().checkpoint_lsn > 2 * MIB);
	for (uint64_t i = 0; i < n; i += 17)
		is_int(owned(i), 40);
	stack_fini(&s);
}

pl_test("a record that reaches over the ring's end is read whole (FMT-040)")
{
	struct pl_header h;
	struct pl_store *st;

	require(stack_one(&s, 4096, GIB));
	ok(set(1, 1));
	ok(stack_close(&s, 0));
	h = header();
	h.checkpoint_lsn = 5 * h.journal_len - 40;
	st = stack_file(&s, 0, PL_OPEN_WRITE);
	edit_header_write(st, &h);
	pl_store_close(st);
	require(stack_open(&s, 0, PL_LAYER_WRITE));
	ok(set(2, 2) && set(3, 3));
	is_int(pl_layer_flush(s.ly[0]), 0);
	require(crash(0));
	is_int(owned(1), 1);
	is_int(owned(2), 2);
	is_int(owned(3), 3);
	stack_fini(&s);
}

static int set_some(uint64_t round)
{
	uint64_t where;
	int rc = 0;

	for (uint64_t i = 0; i < 4096 && rc == 0; i++) {
		rc = pl_layer_map(s.ly[0], i, &where);
		if (rc == 0)
			rc = pl_layer_set(s.ly[0], i,
					  (struct pl_entry){ where, round },
					  false);
	}
	return rc < 0 ? rc : pl_layer_flush(s.ly[0]);
}

/*
 * Checkpoints fail for want of host space, so the ring fills up: at its end
 * flush says so, and nothing that replay needs is written over.
 */
pl_test("a full ring is refused, never overrun (FMT-082)")
{
	uint64_t good = 0, bad = 0;
	struct pl_entry e;

	require(stack_one(&s, 4096, GIB));
	is_int(set_some(1), 0);
	s.spy[0].full_from = pl_layer_header(s.ly[0])->first_cluster *
			     pl_cluster_size(pl_layer_header(s.ly[0]));
	for (uint64_t round = 2; !bad && round < 100; round++)
		if (set_some(round) == 0)
			good = round;
		else
			bad = round;
	ok(good >= 5);
	is_int(bad, good + 1);
	is_int(pl_layer_flush(s.ly[0]), -ENOSPC);
	stack_abandon(&s, 0);
	require(stack_open(&s, 0, 0));
	is_int(pl_layer_entry(s.ly[0], 4095, &e), 0);
	ok(e.owned == good || e.owned == bad);
	stack_abandon(&s, 0);
	stack_fini(&s);
}

pl_test("when there is room again, a full ring empties itself (FMT-082)")
{
	struct pl_entry e;
	uint64_t round = 1;

	require(stack_one(&s, 4096, GIB));
	s.spy[0].full_from = pl_layer_header(s.ly[0])->first_cluster *
			     pl_cluster_size(pl_layer_header(s.ly[0]));
	while (round < 100 && set_some(round) == 0)
		round++;
	ok(round < 100);
	s.spy[0].full_from = 0;
	is_int(pl_layer_flush(s.ly[0]), 0);
	is_int(set_some(200), 0);
	ok(stack_close(&s, 0));
	require(stack_open(&s, 0, PL_LAYER_WRITE));
	is_int(pl_layer_entry(s.ly[0], 77, &e), 0);
	is_int(e.owned, 200);
	stack_fini(&s);
}

int main(void)
{
	return pl_tap_main();
}
