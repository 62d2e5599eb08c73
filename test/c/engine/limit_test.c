/* SPDX-License-Identifier: Apache-2.0 */
/* Limits of a device: buckets by a clock of our own, the engine's queue. */
#include "engine/limit.h"

#include "requests.h"

#define SECOND 1000000000ull

static char data[65536] __attribute__((aligned(4096)));

/* How many requests of len bytes go in so many seconds, if some always wait. */
static unsigned count(struct pl_limit *l, uint64_t len, unsigned seconds)
{
	uint64_t now = 77 * SECOND, end = now + seconds * SECOND, wait;
	unsigned n = 0;

	while (now < end) {
		wait = pl_limit_take(l, len, now);
		now += wait;
		n += wait == 0;
	}
	return n;
}

pl_test("lets so many operations go a second, and a tenth of that at first")
{
	struct pl_limit l = { 0 };

	pl_limit_set(&l, (struct pl_limits){ .iops = 100 });
	is_int(count(&l, 1 << 20, 10), 1000 + 10);
}

pl_test("lets so many bytes go a second, and a tenth of that at first")
{
	struct pl_limit l = { 0 };

	pl_limit_set(&l, (struct pl_limits){ .bps = 4096000 });
	is_int(count(&l, 4096, 10), 10000 + 100);
}

pl_test("the tighter one of two limits counts")
{
	struct pl_limit l = { 0 };

	pl_limit_set(&l, (struct pl_limits){ .iops = 100, .bps = 409600 });
	is_int(count(&l, 4096, 1), 100 + 10);
	pl_limit_set(&l, (struct pl_limits){ .iops = 100, .bps = 409600 });
	is_int(count(&l, 8192, 1), 50 + 5);
}

pl_test("what is larger than the bucket goes, and is waited for afterwards")
{
	struct pl_limit l = { 0 };

	pl_limit_set(&l, (struct pl_limits){ .bps = 65536 });
	is_int(pl_limit_take(&l, 10 * 65536, SECOND), 0);
	ok(pl_limit_take(&l, 512, SECOND) == 10 * SECOND - SECOND / 10);
	is_int(pl_limit_take(&l, 512, 11 * SECOND), 0);
}

pl_test("time without requests does not save up")
{
	struct pl_limit l = { 0 };
	unsigned n = 0;

	pl_limit_set(&l, (struct pl_limits){ .iops = 50 });
	is_int(pl_limit_take(&l, 0, SECOND), 0);
	while (pl_limit_take(&l, 0, 3600 * SECOND) == 0)
		n++;
	is_int(n, 50 / 10 + 1);
}

pl_test("the highest limits and the longest requests do not overflow")
{
	struct pl_limit l = { 0 };

	pl_limit_set(&l, (struct pl_limits){ .iops = PL_LIMIT_IOPS_MAX,
					     .bps = PL_LIMIT_BPS_MIN });
	is_int(pl_limit_take(&l, UINT64_MAX, SECOND), 0);
	ok(pl_limit_take(&l, 512, SECOND) == 3600 * SECOND - SECOND / 10);
}

/* Turns without waiting: time does not pass as far as the engine's concerned. */
static void turn(unsigned n)
{
	while (n--)
		pl_loop_turn(loop, false);
}

static unsigned answered(const struct noted *n, unsigned count)
{
	unsigned done = 0;

	for (unsigned i = 0; i < count; i++)
		done += n[i].answers;
	return done;
}

static bool timing(void)
{
	struct pl_engine_stats stats;

	pl_engine_stats(eng, &stats);
	return stats.timing;
}

static void end_timer(void)
{
	while (timing() && pl_loop_turn(loop, true) >= 0)
		;
}

pl_test("requests beyond a limit wait in their order; without it they go on")
{
	struct noted n[8] = { 0 }, flush = { 0 };
	struct pl_engine_stats stats;

	require(engine_start(0));
	/* Two go at once, the next one a second later. */
	pl_engine_set_limits(eng, (struct pl_limits){ .bps = 65536 });
	submit(&n[0], PL_REQ_DISCARD, 0, 32 * MIB, NULL); /* no bytes */
	for (unsigned i = 1; i < 8; i++)
		submit(&n[i], PL_REQ_WRITE, i * 65536, 65536, data);
	submit(&flush, PL_REQ_FLUSH, 0, 0, NULL);
	turn(20);
	is_int(answered(n, 8), 2);
	is_int(flush.answers, 0);
	pl_engine_stats(eng, &stats);
	is_int(stats.waiting, 7);
	is_int(stats.limit_timers, 1);
	pl_engine_set_limits(eng, (struct pl_limits){ 0 });
	turn(20);
	is_int(answered(n, 8), 8);
	is_int(flush.answers, 1);
	pl_engine_stats(eng, &stats);
	is_int(stats.waiting, 0);
	end_timer();
	engine_stop();
}

pl_test("what waits goes on by itself, and then there is no timer any more")
{
	struct noted n[4] = { 0 };
	struct pl_engine_stats stats;

	require(engine_start(0));
	pl_engine_set_limits(eng, (struct pl_limits){ .iops = 20 });
	for (unsigned i = 0; i < 4; i++)
		submit(&n[i], PL_REQ_READ, 0, 4096, data);
	while (answered(n, 4) < 4)
		pl_loop_turn(loop, true);
	end_timer();
	pl_engine_stats(eng, &stats);
	is_int(stats.waiting, 0);
	ok(stats.limit_timers >= 1);
	is_int(request(PL_REQ_FLUSH, 0, 0, NULL), 0);
	engine_stop();
}

pl_test("nothing sets a timer without a limit, or within it")
{
	struct pl_engine_stats stats;

	require(engine_start(0));
	for (unsigned i = 0; i < 64; i++)
		is_int(request(PL_REQ_WRITE, 0, 4096, data), 0);
	pl_engine_set_limits(eng, (struct pl_limits){ .iops = 1000000000 });
	for (unsigned i = 0; i < 64; i++)
		is_int(request(PL_REQ_WRITE, 0, 4096, data), 0);
	pl_engine_stats(eng, &stats);
	is_int(stats.limit_timers, 0);
	engine_stop();
}

struct closing {
	bool closed;
};

static void close_engine(void *arg)
{
	((struct closing *)arg)->closed = pl_engine_close(eng, &s.err) == 0;
}

pl_test("closing right after the limits were lifted waits for the timer")
{
	struct closing c = { false };
	struct noted n[3] = { 0 };

	require(engine_start(0));
	pl_engine_set_limits(eng, (struct pl_limits){ .iops = 1 });
	for (unsigned i = 0; i < 3; i++)
		submit(&n[i], PL_REQ_READ, 0, 4096, data);
	turn(10);
	is_int(answered(n, 3), 1);
	pl_engine_set_limits(eng, (struct pl_limits){ 0 });
	turn(10);
	is_int(answered(n, 3), 3);
	is_int(pl_co_start(close_engine, &c), 0);
	while (!c.closed && pl_loop_turn(loop, true) >= 0)
		;
	ok(c.closed);
	pl_loop_free(loop);
	stack_fini(&s);
}

int main(void)
{
	int status = pl_tap_main();

	pl_co_trim();
	return status;
}
