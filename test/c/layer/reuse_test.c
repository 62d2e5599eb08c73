/* SPDX-License-Identifier: Apache-2.0 */
/* Handing host clusters out, and out again only when it is safe. */
#include "space.h"

pl_test("two virtual clusters never get one host cluster")
{
	static uint8_t seen[600];
	uint64_t where;

	require(begin());
	memset(seen, 0, sizeof(seen));
	for (uint64_t i = 0; i < 500; i++) {
		where = take(i * 3);
		require(where < sizeof(seen));
		ok(!seen[where]++);
		ok(where >= pl_layer_header(s.ly[0])->first_cluster);
	}
	is_int(pl_layer_clusters(s.ly[0]), 500);
	stack_fini(&s);
}

pl_test("sequential writes stay sequential on the host")
{
	uint64_t first;

	require(begin());
	first = take(0);
	for (uint64_t i = 1; i < 100; i++)
		is_int(take(i), first + i);
	stack_fini(&s);
}

pl_test("a cluster given up is reused only after a flush (FMT-074)")
{
	uint64_t where;

	require(begin());
	for (uint64_t i = 0; i < 10; i++)
		take(i);
	is_int(pl_layer_flush(s.ly[0]), 0);
	where = take(10);
	give(10, where);
	/* Not even when everything before it is durable. */
	is_int(pl_layer_take_below(s.ly[0], where + 1), 0);
	is_int(pl_layer_flush(s.ly[0]), 0);
	is_int(pl_layer_take_below(s.ly[0], where + 1), where);
	ok(reads_zeros(where));
	stack_fini(&s);
}

pl_test("nor after a flush that failed (FMT-074)")
{
	uint64_t where;

	require(begin());
	where = take(0);
	is_int(pl_layer_flush(s.ly[0]), 0);
	give(0, where);
	s.spy[0].fail_in = 1;
	s.spy[0].fail_errno = ENOSPC;
	ok(pl_layer_flush(s.ly[0]) < 0);
	is_int(pl_layer_take_below(s.ly[0], where + 1), 0);
	stack_fini(&s);
}

pl_test("what is free is found out at each open, without a trace (FMT-050)")
{
	uint64_t where[8];

	require(begin());
	for (uint64_t i = 0; i < 8; i++)
		where[i] = take(i);
	is_int(pl_layer_flush(s.ly[0]), 0);
	give(2, where[2]);
	give(5, where[5]);
	ok(stack_close(&s, 0));
	require(stack_open(&s, 0, PL_LAYER_WRITE));
	is_int(pl_layer_clusters(s.ly[0]), 6);
	is_int(pl_layer_used(s.ly[0]), 7); /* and one of map pages */
	is_int(pl_layer_take_below(s.ly[0], where[7]), where[2]);
	is_int(pl_layer_take_below(s.ly[0], where[7]), where[5]);
	is_int(pl_layer_take_below(s.ly[0], where[7]), 0);
	stack_fini(&s);
}

int main(void)
{
	return pl_tap_main();
}
