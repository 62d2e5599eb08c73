/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Serving requests takes no memory: who has to free memory by writing to our
 * device must not wait for memory. Counted, by standing in for malloc (see
 * CMakeLists.txt).
 */
#include "allocations.h"
#include "requests.h"

#define BLOCKS 1024u

static char buf[65536] __attribute__((aligned(4096)));
static unsigned taken;

static bool allocation_fails(void)
{
	taken++;
	return false;
}

static void each_block(enum pl_req_op op, unsigned step)
{
	bool fine = true;

	for (uint64_t b = 0; b < BLOCKS; b += step)
		fine &= request(op, b * 4096, 4096, buf) == 0;
	ok(fine);
}

pl_test("reading and overwriting take no memory")
{
	require(engine_start(0));
	each_block(PL_REQ_WRITE, 1);
	each_block(PL_REQ_READ, 1);
	taken = 0;
	each_block(PL_REQ_READ, 1);
	each_block(PL_REQ_WRITE, 1);
	is_int(request(PL_REQ_READ, 4096, sizeof(buf), buf), 0);
	is_int(request(PL_REQ_WRITE, 4096, sizeof(buf), buf), 0);
	is_int(taken, 0);
	engine_stop();
}

pl_test("many at a time take no more than one at a time")
{
	static struct noted n[200];
	bool fine = true;

	require(engine_start(7));
	each_block(PL_REQ_WRITE, 1);
	for (unsigned pass = 0; pass < 2; pass++) {
		taken = 0;
		for (unsigned i = 0; i < 200; i++)
			submit(&n[i], i % 2 ? PL_REQ_WRITE : PL_REQ_READ,
			       i * 4096, 4096, buf);
		for (unsigned i = 0; i < 200; i++)
			fine &= wait_for(&n[i]) == 0;
	}
	ok(fine);
	is_int(taken, 0);
	engine_stop();
}

int main(void)
{
	return pl_tap_main();
}
