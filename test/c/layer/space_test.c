/* SPDX-License-Identifier: Apache-2.0 */
/* Free space after crashes, of damaged maps, and at the file's end. */
#include "edit.h"
#include "space.h"

pl_test("what a crash left in free clusters is punched (FMT-080)")
{
	uint64_t where, lost;

	require(begin());
	where = take(0);
	is_int(pl_layer_flush(s.ly[0]), 0);
	lost = take(1); /* never flushed */
	stack_abandon(&s, 0);
	require(stack_open(&s, 0, PL_LAYER_WRITE));
	is_int(pl_layer_clusters(s.ly[0]), 1);
	ok(!reads_zeros(where));
	ok(reads_zeros(lost));
	stack_fini(&s);
}

pl_test("after a crash unowned blocks are not trusted to be zeros (FMT-080)")
{
	struct pl_header hdr;
	struct pl_store *st;

	require(begin());
	take(0);
	ok(pl_layer_trusts(s.ly[0], 0));
	is_int(pl_layer_flush(s.ly[0]), 0);
	stack_abandon(&s, 0);
	require(stack_open(&s, 0, PL_LAYER_WRITE));
	ok(!pl_layer_trusts(s.ly[0], 0));
	take(1);
	ok(pl_layer_trusts(s.ly[0], 1)); /* new, so it was punched */
	/* The distrust is written down and outlives a clean close. */
	ok(stack_close(&s, 0));
	st = stack_file(&s, 0, 0);
	require(edit_header_read(st, &hdr));
	pl_store_close(st);
	is_int(hdr.flags, PL_HEADER_CLEAN | PL_HEADER_STALE);
	require(stack_open(&s, 0, PL_LAYER_WRITE));
	ok(!pl_layer_trusts(s.ly[0], 0));
	ok(!pl_layer_trusts(s.ly[0], 1));
	is_int(pl_layer_trust(s.ly[0], pl_layer_distrusted(s.ly[0])), 0);
	ok(pl_layer_trusts(s.ly[0], 0));
	stack_fini(&s);
}

static void rejected_for_writing(uint64_t where, const char *word)
{
	struct pl_store *st;

	require(begin());
	take(0);
	take(1);
	ok(stack_close(&s, 0));
	st = stack_file(&s, 0, PL_OPEN_WRITE);
	edit_entry(st, 7, (struct pl_entry){ where, 1 });
	pl_store_close(st);
	ok(stack_open(&s, 0, 0)); /* a reader reads */
	stack_abandon(&s, 0);
	ok(stack_try_open(&s, 0, PL_LAYER_WRITE, NULL) < 0);
	is_int(s.err.code, PL_E_CORRUPT);
	ok(strstr(s.err.msg, word) != NULL);
	stack_fini(&s);
}

pl_test("a writer rejects a host cluster with two users (FMT-051)")
{
	rejected_for_writing(5, "used twice");
}

pl_test("a writer rejects data where map pages are (FMT-051)")
{
	rejected_for_writing(7, "used twice");
}

pl_test("a writer rejects a place far beyond the file (FMT-052)")
{
	rejected_for_writing(8 + 65537, "beyond the end of the file");
	rejected_for_writing((1ull << 40) - 1, "beyond the end of the file");
}

pl_test("closing shortens the file to its last used cluster (FMT-081)")
{
	uint64_t where[4], size;

	require(begin());
	for (uint64_t i = 0; i < 4; i++)
		where[i] = take(i);
	is_int(pl_layer_flush(s.ly[0]), 0);
	is_int(pl_store_size(pl_layer_store(s.ly[0]), &size), 0);
	ok(size > 16 * MIB); /* the length goes ahead of need */
	give(3, where[3]);
	/* Not durable yet: the cluster stays inside the file. */
	is_int(pl_layer_trim_tail(s.ly[0], &size), 0);
	is_int(size, (where[3] + 1) * cs);
	ok(stack_close(&s, 0));
	require(stack_open(&s, 0, PL_LAYER_WRITE));
	is_int(pl_store_size(pl_layer_store(s.ly[0]), &size), 0);
	ok(size <= (where[3] + 2) * cs);
	is_int(pl_layer_end(s.ly[0]) * cs, size);
	stack_fini(&s);
}

int main(void)
{
	return pl_tap_main();
}
