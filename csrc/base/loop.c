/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The io_uring event loop: see loop.h.
 *
 * INVARIANTS
 *  1. user_data of every SQE is its pl_ev, or 0 when nobody wants to know.
 *  2. A callback may submit, wake and stop, but never run coroutines.
 *  3. `prompt` counts the SQEs of pl_loop_sqe_prompt() whose completion was
 *     not seen yet.
 *  4. The ring takes the operations listed here and no other (Linux 5.10):
 *     what goes through it is out of sight of any filter of system calls.
 */
#include "base/loop.h"

#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <stdlib.h>

#include "base/co.h"

struct pl_loop {
	struct io_uring ring;
	bool stop;
	unsigned prompt; /* submissions that complete at once, in flight */
	unsigned requests; /* that count on us, as far as we were told */
	uint64_t turns;
};

/*
 * On what is open already: nothing opens, connects or removes. Renaming, which
 * the worker may do by system call as well, waits for the host's journal.
 */
static const uint8_t operations[] = {
	IORING_OP_NOP,	     IORING_OP_READ,	       IORING_OP_WRITE,
	IORING_OP_READV,     IORING_OP_WRITEV,	       IORING_OP_FSYNC,
	IORING_OP_FALLOCATE, IORING_OP_POLL_ADD,       IORING_OP_POLL_REMOVE,
	IORING_OP_TIMEOUT,   IORING_OP_TIMEOUT_REMOVE, IORING_OP_LINK_TIMEOUT,
	IORING_OP_ACCEPT,    IORING_OP_RECV,	       IORING_OP_SEND,
	IORING_OP_RECVMSG,   IORING_OP_SENDMSG,	       IORING_OP_ASYNC_CANCEL,
	IORING_OP_RENAMEAT,
};
#define OPERATIONS (sizeof(operations) / sizeof(operations[0]))

static const uint8_t registrations[] = {
	IORING_REGISTER_FILES,
	IORING_UNREGISTER_FILES,
	IORING_REGISTER_BUFFERS,
	IORING_UNREGISTER_BUFFERS,
};
#define REGISTRATIONS (sizeof(registrations) / sizeof(registrations[0]))

/* The ring was made disabled for this. A kernel that can't goes on without. */
static int restrict_ring(struct io_uring *ring, bool commands)
{
	struct io_uring_restriction r[OPERATIONS + REGISTRATIONS + 2] = { 0 };
	unsigned n = 0;

	for (size_t i = 0; i < OPERATIONS; i++, n++) {
		r[n].opcode = IORING_RESTRICTION_SQE_OP;
		r[n].sqe_op = operations[i];
	}
	/* Not where it is not needed: a kernel that does not know an operation
	 * takes none of the restrictions. */
	if (commands) {
		r[n].opcode = IORING_RESTRICTION_SQE_OP;
		r[n++].sqe_op = IORING_OP_URING_CMD;
	}
	for (size_t i = 0; i < REGISTRATIONS; i++, n++) {
		r[n].opcode = IORING_RESTRICTION_REGISTER_OP;
		r[n].register_op = registrations[i];
	}
	r[n].opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
	r[n++].sqe_flags = IOSQE_FIXED_FILE | IOSQE_IO_LINK | IOSQE_ASYNC;
	/* liburing 2.3 has functions for these in its header only. */
	io_uring_register((unsigned)ring->ring_fd, IORING_REGISTER_RESTRICTIONS,
			  r, n);
	return io_uring_register((unsigned)ring->ring_fd,
				 IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}

static int make_ring(struct io_uring *ring, unsigned entries, unsigned flags,
		     bool commands)
{
	int rc = io_uring_queue_init(entries, ring,
				     flags | IORING_SETUP_R_DISABLED);

	if (rc == -EINVAL)
		return io_uring_queue_init(entries, ring, flags);
	if (rc == 0)
		rc = restrict_ring(ring, commands);
	return rc;
}

static int new_loop(struct pl_loop **ret, unsigned entries, bool commands,
		    struct pl_err *err)
{
	static const unsigned flags[] = {
		IORING_SETUP_CLAMP | IORING_SETUP_SINGLE_ISSUER |
			IORING_SETUP_DEFER_TASKRUN,
		IORING_SETUP_CLAMP | IORING_SETUP_COOP_TASKRUN,
		IORING_SETUP_CLAMP,
	};
	struct pl_loop *loop = calloc(1, sizeof(*loop));
	int rc = -EINVAL;

	if (!loop)
		return pl_err_sys(err, -ENOMEM, "event loop");
	for (size_t i = 0; i < 3 && rc == -EINVAL; i++)
		rc = make_ring(&loop->ring, entries, flags[i], commands);
	if (rc < 0) {
		free(loop);
		return pl_err_sys(err, rc, "io_uring is not available");
	}
	io_uring_ring_dontfork(&loop->ring);
	*ret = loop;
	return 0;
}

int pl_loop_new(struct pl_loop **ret, unsigned entries, struct pl_err *err)
{
	return new_loop(ret, entries, false, err);
}

int pl_loop_new_commands(struct pl_loop **ret, unsigned entries,
			 struct pl_err *err)
{
	return new_loop(ret, entries, true, err);
}

void pl_loop_free(struct pl_loop *loop)
{
	if (!loop)
		return;
	io_uring_queue_exit(&loop->ring);
	free(loop);
}

void pl_loop_stop(struct pl_loop *loop)
{
	loop->stop = true;
}

int pl_loop_hold_fds(struct pl_loop *loop, const int *fds, unsigned n)
{
	return io_uring_register_files(&loop->ring, fds, n);
}

void pl_loop_release_fds(struct pl_loop *loop)
{
	io_uring_unregister_files(&loop->ring);
}

struct io_uring_sqe *pl_loop_sqe(struct pl_loop *loop, struct pl_ev *ev)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&loop->ring);

	while (!sqe) {
		io_uring_submit(&loop->ring);
		sqe = io_uring_get_sqe(&loop->ring);
	}
	io_uring_sqe_set_data(sqe, ev);
	if (ev)
		ev->prompt = false;
	return sqe;
}

struct io_uring_sqe *pl_loop_sqe_prompt(struct pl_loop *loop, struct pl_ev *ev)
{
	struct io_uring_sqe *sqe = pl_loop_sqe(loop, ev);

	ev->prompt = true;
	loop->prompt++;
	return sqe;
}

void pl_loop_submit(struct pl_loop *loop)
{
	if (io_uring_sq_ready(&loop->ring))
		io_uring_submit(&loop->ring);
}

void pl_loop_set_requests(struct pl_loop *loop, unsigned requests)
{
	loop->requests = requests;
}

unsigned pl_loop_requests(const struct pl_loop *loop)
{
	return loop->requests;
}

static void complete(struct pl_loop *loop)
{
	struct io_uring_cqe *cqe;
	struct pl_ev *ev;
	unsigned head, n = 0;

	io_uring_for_each_cqe(&loop->ring, head, cqe) {
		n++;
		ev = io_uring_cqe_get_data(cqe);
		if (ev && ev->prompt)
			loop->prompt--;
		if (ev)
			ev->fn(ev, cqe->res, cqe->flags & IORING_CQE_F_MORE);
	}
	io_uring_cq_advance(&loop->ring, n);
}

int pl_loop_turn(struct pl_loop *loop, bool wait)
{
	int rc;

	pl_co_run_ready();
	if (loop->stop)
		wait = false;
	rc = wait ? io_uring_submit_and_wait(&loop->ring, loop->prompt + 1) :
		    io_uring_submit_and_get_events(&loop->ring);
	if (rc < 0 && rc != -EINTR && rc != -EAGAIN && rc != -EBUSY)
		return rc;
	loop->turns += rc >= 0 && io_uring_sq_ready(&loop->ring) == 0;
	complete(loop);
	pl_co_run_ready();
	return 0;
}

uint64_t pl_loop_turns(const struct pl_loop *loop)
{
	return loop->turns;
}

bool pl_loop_settled(const struct pl_loop *loop)
{
	return loop->ring.flags & IORING_SETUP_DEFER_TASKRUN &&
	       io_uring_cq_ready(&loop->ring) == 0 &&
	       !(*loop->ring.sq.kflags & IORING_SQ_CQ_OVERFLOW);
}

int pl_loop_run(struct pl_loop *loop)
{
	int rc = 0;

	loop->stop = false;
	while (!loop->stop && rc == 0)
		rc = pl_loop_turn(loop, true);
	return rc;
}

/* ---- calls from coroutines ---- */

struct call {
	struct pl_ev ev;
	struct pl_co *co;
	int res;
	bool done;
};

static void call_done(struct pl_ev *ev, int res, bool more)
{
	struct call *call = (struct call *)ev;

	(void)more;
	call->res = res;
	call->done = true;
	pl_co_wake(call->co);
}

int pl_loop_call(struct pl_loop *loop,
		 void (*prep)(struct io_uring_sqe *sqe, void *arg), void *arg)
{
	struct call call = { .ev.fn = call_done, .co = pl_co_self() };

	assert(call.co);
	prep(pl_loop_sqe(loop, &call.ev), arg);
	while (!call.done)
		pl_co_yield();
	return call.res;
}

static void prep_timeout(struct io_uring_sqe *sqe, void *arg)
{
	io_uring_prep_timeout(sqe, arg, 0, 0);
}

int pl_loop_sleep_us(struct pl_loop *loop, uint64_t us)
{
	struct __kernel_timespec ts = {
		.tv_sec = (long long)(us / 1000000),
		.tv_nsec = (long long)(us % 1000000) * 1000,
	};
	int rc = pl_loop_call(loop, prep_timeout, &ts);

	return rc == -ETIME ? 0 : rc;
}

int pl_loop_sleep_ms(struct pl_loop *loop, unsigned ms)
{
	return pl_loop_sleep_us(loop, (uint64_t)ms * 1000);
}

/* ---- readable file descriptors ---- */

struct pl_poll {
	struct pl_ev ev;
	struct pl_loop *loop;
	int fd;
	void (*fn)(void *arg);
	void *arg;
	bool cancelled;
};

static void poll_arm(struct pl_poll *poll)
{
	io_uring_prep_poll_multishot(pl_loop_sqe(poll->loop, &poll->ev),
				     poll->fd, POLLIN);
}

static void poll_event(struct pl_ev *ev, int res, bool more)
{
	struct pl_poll *poll = (struct pl_poll *)ev;

	if (poll->cancelled) {
		if (!more)
			free(poll);
		return;
	}
	/* Re-armed first: fn may cancel, and drains the descriptor anyway. */
	if (!more && res >= 0)
		poll_arm(poll);
	poll->fn(poll->arg);
}

int pl_poll_new(struct pl_poll **ret, struct pl_loop *loop, int fd,
		void (*fn)(void *arg), void *arg)
{
	struct pl_poll *poll = calloc(1, sizeof(*poll));

	if (!poll)
		return -ENOMEM;
	poll->ev.fn = poll_event;
	poll->loop = loop;
	poll->fd = fd;
	poll->fn = fn;
	poll->arg = arg;
	poll_arm(poll);
	*ret = poll;
	return 0;
}

void pl_poll_cancel(struct pl_poll *poll)
{
	struct io_uring_sqe *sqe;

	poll->cancelled = true;
	sqe = pl_loop_sqe(poll->loop, NULL);
	/* Not poll_remove: that does nothing while an event is on its way. */
	io_uring_prep_cancel(sqe, &poll->ev, 0);
}
