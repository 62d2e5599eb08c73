/* SPDX-License-Identifier: Apache-2.0 */
/* The engine over a disk that fails, and over one that is full. */
#include "requests.h"

static char out[4096] __attribute__((aligned(4096)));
static char in[4096] __attribute__((aligned(4096)));

static void fails(int with)
{
	s.spy[0].fail_errno = with;
	s.spy[0].fail_in = 1;
}

static void works_again(void)
{
	s.spy[0].failing = false;
	s.spy[0].fail_in = 0;
}

pl_test("hands an I/O error on to its request, and to no other")
{
	struct pl_engine_stats stats;

	require(engine_start(0));
	memset(out, 'a', sizeof(out));
	is_int(request(PL_REQ_WRITE, 0, 4096, out), 0);
	fails(EIO);
	is_int(request(PL_REQ_WRITE, 0, 4096, out), -EIO);
	is_int(request(PL_REQ_READ, 0, 4096, in), 0);
	works_again();
	is_int(request(PL_REQ_WRITE, 4096, 4096, out), 0);
	pl_engine_stats(eng, &stats);
	is_int(stats.op[PL_REQ_WRITE].requests, 3);
	is_int(stats.op[PL_REQ_WRITE].errors, 1);
	is_int(stats.op[PL_REQ_READ].errors, 0);
	engine_stop();
}

static int last;

static void note_failure(void *arg, const struct pl_req *req, int res)
{
	last = req->op == PL_REQ_WRITE ? res : 1;
	*(unsigned *)arg += 1;
}

pl_test("tells of each request that fails, other than for room on the host")
{
	unsigned told = 0;

	require(engine_start(0));
	pl_engine_set_failed(eng, note_failure, &told);
	pl_engine_set_on_full(eng, PL_ON_FULL_ERROR);
	fails(ENOSPC);
	is_int(request(PL_REQ_WRITE, 0, 4096, out), -ENOSPC);
	is_int(told, 0);
	works_again();
	fails(EIO);
	is_int(request(PL_REQ_WRITE, 0, 4096, out), -EIO);
	is_int(request(PL_REQ_WRITE, 0, 4096, out), -EIO);
	is_int(told, 2);
	is_int(last, -EIO);
	works_again();
	is_int(request(PL_REQ_WRITE, 0, 4096, out), 0);
	is_int(told, 2);
	engine_stop();
}

pl_test("on a full host a write waits, and is done when there is room")
{
	struct noted n = { .req.flags = 0 }, other = { .req.flags = 0 };
	struct pl_engine_stats stats;

	require(engine_start(0));
	is_int(pl_engine_on_full(eng), PL_ON_FULL_PAUSE);
	memset(out, 'w', sizeof(out));
	is_int(request(PL_REQ_WRITE, 4096, 4096, out), 0);
	fails(ENOSPC);
	submit(&n, PL_REQ_WRITE, 0, 4096, out);
	submit(&other, PL_REQ_WRITE, 8192, 4096, out);
	for (unsigned i = 0; i < 20; i++)
		pl_loop_turn(loop, false);
	is_int(n.answers, 0);
	pl_engine_stats(eng, &stats);
	is_int(stats.full, 2);
	is_int(stats.full_events, 1);
	is_int(request(PL_REQ_READ, 4096, 4096, in), 0); /* meanwhile */
	works_again();
	is_int(wait_for(&n), 0);
	is_int(wait_for(&other), 0);
	is_int(request(PL_REQ_READ, 0, 4096, in), 0);
	is_int(memcmp(in, out, sizeof(in)), 0);
	pl_engine_stats(eng, &stats);
	is_int(stats.full, 0);
	is_int(stats.op[PL_REQ_WRITE].errors, 0);
	engine_stop();
}

pl_test("on a full host a write fails, when that is wanted")
{
	require(engine_start(0));
	pl_engine_set_on_full(eng, PL_ON_FULL_ERROR);
	fails(ENOSPC);
	is_int(request(PL_REQ_WRITE, 0, 4096, out), -ENOSPC);
	works_again();
	is_int(request(PL_REQ_WRITE, 0, 4096, out), 0);
	engine_stop();
}

pl_test("what waits for room can be let go with an error")
{
	struct noted n = { .req.flags = 0 };

	require(engine_start(0));
	fails(ENOSPC);
	submit(&n, PL_REQ_WRITE, 0, 4096, out);
	pl_loop_turn(loop, false);
	is_int(n.answers, 0);
	pl_engine_set_on_full(eng, PL_ON_FULL_ERROR);
	is_int(wait_for(&n), -ENOSPC);
	works_again();
	engine_stop();
}

pl_test("after a failed sync every flush fails (FMT-091)")
{
	require(engine_start(0));
	is_int(request(PL_REQ_WRITE, 0, 4096, out), 0);
	fails(EIO);
	s.spy[0].fail_in = 2; /* the record is written, not synced */
	is_int(request(PL_REQ_FLUSH, 0, 0, NULL), -EIO);
	works_again();
	is_int(request(PL_REQ_FLUSH, 0, 0, NULL), -EIO);
	is_int(request(PL_REQ_READ, 0, 4096, in), 0);
	ok(pl_engine_close(eng, &s.err) < 0);
	pl_loop_free(loop);
	stack_fini(&s);
}

int main(void)
{
	int status = pl_tap_main();

	pl_co_trim();
	return status;
}
