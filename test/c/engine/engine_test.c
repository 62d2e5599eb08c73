/* SPDX-License-Identifier: Apache-2.0 */
/* The engine: requests, their limits, holding them back, durability. */
#include "requests.h"

static char out[65536] __attribute__((aligned(4096)));
static char in[65536] __attribute__((aligned(4096)));

pl_test("does what requests ask for")
{
	require(engine_start(0));
	memset(out, 'a', sizeof(out));
	is_int(request(PL_REQ_WRITE, 4096, 65536, out), 0);
	is_int(request(PL_REQ_DISCARD, 8192, 4096, NULL), 0);
	is_int(request(PL_REQ_WRITE_ZEROES, 16384 + 512, 512, NULL), 0);
	is_int(request(PL_REQ_FLUSH, 0, 0, NULL), 0);
	is_int(request(PL_REQ_READ, 4096, 65536, in), 0);
	memset(out + 4096, 0, 4096);
	memset(out + 12288 + 512, 0, 512);
	is_int(memcmp(in, out, sizeof(in)), 0);
	engine_stop();
}

pl_test("knows its disk")
{
	require(engine_start(0));
	is_int(pl_engine_size(eng), DISK);
	is_int(pl_engine_block_size(eng), 4096);
	ok(!pl_engine_read_only(eng));
	engine_stop();
}

pl_test("refuses what is unaligned or outside, at once")
{
	struct noted n = { .req.flags = 0 };

	require(engine_start(0));
	submit(&n, PL_REQ_READ, 100, 512, in);
	is_int(n.answers, 1);
	is_int(n.res, -EINVAL);
	is_int(request(PL_REQ_WRITE, 512, 100, out), -EINVAL);
	is_int(request(PL_REQ_READ, DISK, 512, in), -EINVAL);
	is_int(request(PL_REQ_READ, DISK - 512, 1024, in), -EINVAL);
	is_int(request(PL_REQ_WRITE, DISK - 512, 1024, out), -ENOSPC);
	is_int(request(PL_REQ_DISCARD, DISK, 4096, NULL), -ENOSPC);
	is_int(request(PL_REQ_WRITE, UINT64_MAX - 511, 512, out), -ENOSPC);
	is_int(request((enum pl_req_op)7, 0, 512, out), -EINVAL);
	is_int(request(PL_REQ_READ, DISK - 512, 512, in), 0);
	is_int(request(PL_REQ_READ, DISK, 0, in), 0);
	engine_stop();
}

pl_test("a read-only disk takes no changes")
{
	struct pl_layer *ly;
	struct pl_chain *ch;

	require(stack_init(&s, 4096) && stack_add(&s, DISK) &&
		stack_open(&s, 0, 0));
	ly = s.ly[0];
	require(pl_chain_new(&ch, &ly, 1, &s.err) == 0);
	s.ly[0] = NULL;
	require(pl_loop_new(&loop, 16, &s.err) == 0);
	require(pl_engine_new(&eng, loop, ch, &s.err) == 0);
	ok(pl_engine_read_only(eng));
	is_int(request(PL_REQ_WRITE, 0, 512, out), -EROFS);
	is_int(request(PL_REQ_DISCARD, 0, 4096, NULL), -EROFS);
	is_int(request(PL_REQ_WRITE_ZEROES, 0, 4096, NULL), -EROFS);
	is_int(request(PL_REQ_READ, 0, 512, in), 0);
	is_int(request(PL_REQ_FLUSH, 0, 0, NULL), 0);
	engine_stop();
}

pl_test("answers a thousand requests at a time, each once")
{
	static struct noted n[1000];
	struct pl_engine_stats stats;
	bool fine = true;

	require(engine_start(99));
	memset(out, 'q', sizeof(out));
	for (unsigned i = 0; i < 1000; i++)
		submit(&n[i], i % 3 ? PL_REQ_WRITE : PL_REQ_READ, i * 4096,
		       4096, i % 3 ? out : in);
	for (unsigned i = 0; i < 1000; i++)
		fine &= wait_for(&n[i]) == 0;
	ok(fine);
	pl_engine_stats(eng, &stats);
	is_int(stats.inflight, 0);
	is_int(stats.inflight_max, 256);
	is_int(stats.op[PL_REQ_READ].requests, 334);
	is_int(stats.op[PL_REQ_WRITE].requests, 666);
	is_int(stats.op[PL_REQ_WRITE].bytes, 666 * 4096);
	is_int(stats.op[PL_REQ_WRITE].errors, 0);
	engine_stop();
}

static bool durable(unsigned flags, enum pl_req_op op)
{
	struct noted n = { .req.flags = flags };
	uint64_t before;

	request(PL_REQ_FLUSH, 0, 0, NULL);
	before = s.spy[0].n.syncs;
	submit(&n, op, 0, 4096, op == PL_REQ_WRITE ? out : NULL);
	is_int(wait_for(&n), 0);
	return s.spy[0].n.syncs > before;
}

pl_test("a request with FUA is durable when it is answered, others later")
{
	require(engine_start(0));
	is_int(request(PL_REQ_WRITE, 0, 4096, out), 0);
	ok(!durable(0, PL_REQ_WRITE));
	ok(durable(PL_REQ_FUA, PL_REQ_WRITE));
	ok(!durable(0, PL_REQ_DISCARD));
	is_int(request(PL_REQ_WRITE, 0, 4096, out), 0);
	ok(durable(PL_REQ_FUA, PL_REQ_DISCARD));
	is_int(request(PL_REQ_WRITE, 0, 4096, out), 0);
	ok(durable(PL_REQ_FUA, PL_REQ_WRITE_ZEROES));
	engine_stop();
}

static bool paused;

static void pause_it(void *arg)
{
	(void)arg;
	pl_engine_pause(eng);
	paused = true;
}

static void some_turns(void)
{
	for (unsigned i = 0; i < 50; i++)
		pl_loop_turn(loop, false);
}

pl_test("pause waits for what is in flight and holds back the rest")
{
	static struct noted before[20], after[20];

	require(engine_start(5));
	paused = false;
	for (unsigned i = 0; i < 20; i++)
		submit(&before[i], PL_REQ_WRITE, i * 4096, 4096, out);
	pl_co_start(pause_it, NULL);
	while (!paused)
		pl_loop_turn(loop, false);
	for (unsigned i = 0; i < 20; i++)
		is_int(before[i].answers, 1);
	for (unsigned i = 0; i < 20; i++)
		submit(&after[i], PL_REQ_READ, i * 4096, 4096, in);
	some_turns();
	for (unsigned i = 0; i < 20; i++)
		is_int(after[i].answers, 0);
	pl_engine_resume(eng);
	for (unsigned i = 0; i < 20; i++)
		is_int(wait_for(&after[i]), 0);
	engine_stop();
}

int main(void)
{
	int status = pl_tap_main();

	pl_co_trim();
	return status;
}
