/* SPDX-License-Identifier: Apache-2.0 */
/* The event loop: turns, timers, polls, a full queue. */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <time.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/co.h"
#include "base/loop.h"
#include "tap.h"

static struct pl_loop *loop;
static int calls;

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static bool started(unsigned entries)
{
	struct pl_err err;

	calls = 0;
	return ok(pl_loop_new(&loop, entries, &err) == 0);
}

static void stop_soon(void *arg)
{
	(void)arg;
	calls++;
	pl_loop_stop(loop);
}

pl_test("run ends when a coroutine stops it, and can be run again")
{
	require(started(8));
	pl_co_start(stop_soon, NULL);
	is_int(pl_loop_run(loop), 0);
	pl_co_start(stop_soon, NULL);
	is_int(pl_loop_run(loop), 0);
	is_int(calls, 2);
	pl_loop_free(loop);
}

static void sleep_then_stop(void *arg)
{
	is_int(pl_loop_sleep_ms(loop, *(unsigned *)arg), 0);
	calls++;
	pl_loop_stop(loop);
}

pl_test("sleep takes its time and lets others run")
{
	unsigned ms = 60;
	uint64_t start = now_ms();

	require(started(8));
	pl_co_start(sleep_then_stop, &ms);
	is_int(pl_loop_run(loop), 0);
	is_int(calls, 1);
	ok(now_ms() - start >= 60);
	ok(now_ms() - start < 10000);
	pl_loop_free(loop);
}

static void count_sleep(void *arg)
{
	unsigned *left = arg;

	is_int(pl_loop_sleep_ms(loop, 5), 0);
	calls++;
	if (--*left == 0)
		pl_loop_stop(loop);
}

pl_test("many more submissions than the queue has room for all complete")
{
	unsigned left = 300;

	require(started(4));
	for (unsigned i = 0; i < 300; i++)
		pl_co_start(count_sleep, &left);
	is_int(pl_loop_run(loop), 0);
	is_int(calls, 300);
	pl_loop_free(loop);
}

static int fds[2];

static void drain(void *arg)
{
	char byte;

	(void)arg;
	while (read(fds[0], &byte, 1) == 1)
		calls++;
}

static bool piped(void)
{
	return started(8) && ok(pipe2(fds, O_NONBLOCK | O_CLOEXEC) == 0);
}

static void unpipe(void)
{
	/* What was cancelled frees itself with its last completion. */
	for (unsigned i = 0; i < 4; i++)
		pl_loop_turn(loop, false);
	close(fds[0]);
	close(fds[1]);
	pl_loop_free(loop);
}

pl_test("a poll calls each time the descriptor becomes readable")
{
	struct pl_poll *poll;

	require(piped());
	require(pl_poll_new(&poll, loop, fds[0], drain, NULL) == 0);
	for (int i = 1; i <= 3; i++) {
		is_int(write(fds[1], "x", 1), 1);
		is_int(pl_loop_turn(loop, true), 0);
		is_int(calls, i);
	}
	pl_poll_cancel(poll);
	unpipe();
}

pl_test("a cancelled poll never calls again, even with an event on its way")
{
	struct pl_poll *poll;

	require(piped());
	require(pl_poll_new(&poll, loop, fds[0], drain, NULL) == 0);
	is_int(pl_loop_turn(loop, false), 0);
	is_int(write(fds[1], "x", 1), 1);
	pl_poll_cancel(poll);
	for (unsigned i = 0; i < 4; i++)
		pl_loop_turn(loop, false);
	is_int(calls, 0);
	unpipe();
}

static struct pl_poll *self_poll;

static void cancel_itself(void *arg)
{
	drain(arg);
	pl_poll_cancel(self_poll);
}

pl_test("a poll may cancel itself from its own call")
{
	require(piped());
	require(pl_poll_new(&self_poll, loop, fds[0], cancel_itself, NULL) ==
		0);
	is_int(write(fds[1], "x", 1), 1);
	is_int(pl_loop_turn(loop, true), 0);
	is_int(write(fds[1], "x", 1), 1);
	pl_loop_turn(loop, false);
	is_int(calls, 1);
	unpipe();
}

static void prep_bad_read(struct io_uring_sqe *sqe, void *arg)
{
	io_uring_prep_read(sqe, -1, arg, 1, 0);
}

static void call_bad(void *arg)
{
	char byte;

	*(int *)arg = pl_loop_call(loop, prep_bad_read, &byte);
	pl_loop_stop(loop);
}

pl_test("a call hands on the kernel's error")
{
	int res = 0;

	require(started(8));
	pl_co_start(call_bad, &res);
	is_int(pl_loop_run(loop), 0);
	is_int(res, -EBADF);
	pl_loop_free(loop);
}

static void prep_openat(struct io_uring_sqe *sqe, void *arg)
{
	io_uring_prep_openat(sqe, AT_FDCWD, arg, O_RDONLY, 0);
}

static void open_through_ring(void *arg)
{
	*(int *)arg = pl_loop_call(loop, prep_openat, (void *)(uintptr_t) "/");
	pl_loop_stop(loop);
}

pl_test("opens nothing through the ring, where no filter would see it")
{
	int res = 0;

	require(started(8));
	pl_co_start(open_through_ring, &res);
	is_int(pl_loop_run(loop), 0);
	is_int(res, -EACCES);
	pl_loop_free(loop);
}

static void prep_command(struct io_uring_sqe *sqe, void *arg)
{
	io_uring_prep_nop(sqe);
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = *(int *)arg;
}

struct command {
	int fd, res;
};

static void send_command(void *arg)
{
	struct command *c = arg;

	c->res = pl_loop_call(loop, prep_command, &c->fd);
	pl_loop_stop(loop);
}

pl_test("takes commands to devices only when it was made for them")
{
	struct command c = { .fd = open("/dev/zero", O_RDWR) };
	struct pl_err err;
	struct utsname u;
	unsigned major = 0, minor = 0;

	uname(&u);
	sscanf(u.release, "%u.%u", &major, &minor);
	if (major < 5 || (major == 5 && minor < 19))
		skip("io_uring: Linux 5.19 for commands");
	require(started(8));
	pl_co_start(send_command, &c);
	is_int(pl_loop_run(loop), 0);
	is_int(c.res, -EACCES);
	pl_loop_free(loop);
	require(pl_loop_new_commands(&loop, 8, &err) == 0);
	pl_co_start(send_command, &c);
	is_int(pl_loop_run(loop), 0);
	is_int(c.res, -EOPNOTSUPP); /* it has none */
	pl_loop_free(loop);
	close(c.fd);
}

pl_test("is settled when every completion was seen, and counts its turns")
{
	struct pl_err err;
	uint64_t turns;

	require(pl_loop_new_commands(&loop, 8, &err) == 0);
	turns = pl_loop_turns(loop);
	if (!pl_loop_settled(loop))
		skip("io_uring: Linux 6.1 for work that waits for the loop");
	io_uring_prep_nop(pl_loop_sqe(loop, NULL));
	is_int(pl_loop_turns(loop), turns);
	is_int(pl_loop_turn(loop, false), 0);
	is_int(pl_loop_turns(loop), turns + 1);
	ok(pl_loop_settled(loop));
	pl_loop_free(loop);
}

int main(void)
{
	int status = pl_tap_main();

	pl_co_trim();
	return status;
}
