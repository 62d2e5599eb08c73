/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which syncs of the file store are made by its own thread. A file in memory is
 * synced in no time; what counts is whether the loop had to take a turn.
 */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/co.h"
#include "base/loop.h"
#include "store/file_int.h"
#include "store/quick.h"
#include "tap.h"

#define TRIES 2000 /* a busy machine makes single ones slow */

static struct pl_loop *loop;
static struct pl_store *st;
static char buf[512 << 10];

static void setup(void)
{
	struct pl_err err = { 0 };

	require(pl_loop_new(&loop, 64, &err) == 0);
	require(pl_file_new(&st, memfd_create("sync", MFD_CLOEXEC), -1, loop) ==
		0);
}

static void teardown(void)
{
	pl_store_close(st);
	pl_loop_free(loop);
	pl_co_trim();
}

struct counted {
	unsigned requests, len; /* who counts on us; written before each */
	unsigned here;
	bool failed;
};

static bool sync_here(struct counted *c)
{
	uint64_t before;

	if (c->len && pl_store_write(st, buf, c->len, 0, 0) < 0)
		c->failed = true;
	before = pl_loop_turns(loop);
	if (pl_store_sync(st) < 0)
		c->failed = true;
	return pl_loop_turns(loop) == before;
}

static void sync_often(void *arg)
{
	struct counted *c = arg;

	pl_loop_set_requests(loop, c->requests);
	for (int i = 0; i < TRIES; i++)
		c->here += sync_here(c);
	pl_loop_stop(loop);
}

static unsigned count(unsigned requests, unsigned len)
{
	struct counted c = { .requests = requests, .len = len };

	is_int(pl_co_start(sync_often, &c), 0);
	is_int(pl_loop_run(loop), 0);
	ok(!c.failed);
	return c.here;
}

pl_test("makes short syncs itself for a request that is alone, once some were")
{
	unsigned here;

	setup();
	here = count(1, 4096);
	ok(here > 0);
	ok(here <= TRIES - 8);
	teardown();
}

pl_test("leaves syncs to a thread while others count on the loop, or nobody")
{
	setup();
	ok(count(1, 4096) > 0);
	is_int(count(2, 4096), 0);
	is_int(count(0, 4096), 0);
	teardown();
}

pl_test("leaves the sync of much data to a thread")
{
	setup();
	ok(count(1, 4096) > 0);
	is_int(count(1, sizeof(buf)), 0);
	teardown();
}

static void beside_a_write(void *arg)
{
	struct counted *c = arg;
	struct pl_store *both[] = { st, st };

	for (int i = 0; i < TRIES; i++) {
		struct pl_io io[] = {
			{ .op = PL_IO_WRITE, .buf = buf, .len = 4096 },
			{ .op = PL_IO_SYNC },
		};
		uint64_t before = pl_loop_turns(loop);

		c->failed |= pl_store_run(both, io, 2) < 0;
		c->here += pl_loop_turns(loop) == before;
	}
	pl_loop_stop(loop);
}

pl_test("leaves a sync to a thread while the file has other I/O under way")
{
	struct counted c = { 0 };

	setup();
	ok(count(1, 4096) > 0);
	is_int(pl_co_start(beside_a_write, &c), 0);
	is_int(pl_loop_run(loop), 0);
	is_int(c.here, 0);
	ok(!c.failed);
	teardown();
}

pl_test("learns what is quick from the last ones in a row")
{
	struct pl_quick q = { 0 };

	for (int i = 0; i < TRIES; i++)
		pl_quick_note(&q, pl_quick_now_ns(), 0);
	ok(pl_quick_enough(&q));
	pl_quick_note(&q, pl_quick_now_ns() - 1000000, 0);
	ok(!pl_quick_enough(&q));
	for (int i = 0; i < TRIES && !pl_quick_enough(&q); i++)
		pl_quick_note(&q, pl_quick_now_ns(), 0);
	ok(pl_quick_enough(&q));
	pl_quick_note(&q, pl_quick_now_ns(), -EIO);
	ok(!pl_quick_enough(&q));
}

int main(void)
{
	return pl_tap_main();
}
