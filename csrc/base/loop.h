/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One io_uring event loop: submissions with a completion callback, readable
 * file descriptors, timers. Single-threaded: every call from the loop's thread.
 *
 * A turn of the loop: run ready coroutines, submit what they queued, wait for
 * completions (no time-out when there is nothing to do: an idle image causes
 * no wake-ups), call their callbacks, repeat.
 */
#ifndef PLOOP_BASE_LOOP_H
#define PLOOP_BASE_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct pl_loop;
struct io_uring_sqe;

/*
 * A submission in flight. The owner keeps it alive until fn was called; fn
 * gets cqe->res. For a multishot submission fn is called with more = true
 * until the last one.
 */
struct pl_ev {
	void (*fn)(struct pl_ev *ev, int res, bool more);
	bool prompt; /* the loop's own */
};

int pl_loop_new(struct pl_loop **ret, unsigned entries, struct pl_err *err);
/* One that takes commands to devices, too: IORING_OP_URING_CMD, for ublk. */
int pl_loop_new_commands(struct pl_loop **ret, unsigned entries,
			 struct pl_err *err);
void pl_loop_free(struct pl_loop *loop);

/* Runs until pl_loop_stop(); 0 or -errno of io_uring itself. */
int pl_loop_run(struct pl_loop *loop);
void pl_loop_stop(struct pl_loop *loop);

/* How often all that was queued has been submitted. */
uint64_t pl_loop_turns(const struct pl_loop *loop);

/*
 * The kernel has told all that it did for us, and does nothing more before the
 * next turn: memory that it may write to keeps its content until then. Never
 * so on kernels that work at any system call (before Linux 6.1).
 */
bool pl_loop_settled(const struct pl_loop *loop);

/* One turn; waits for at least one completion when `wait`. For tests too. */
int pl_loop_turn(struct pl_loop *loop, bool wait);

/*
 * An SQE whose completion goes to ev. Never NULL: when the queue is full what
 * is queued is submitted first. Fill it with io_uring_prep_*() at once; it is
 * submitted at the end of the turn.
 */
struct io_uring_sqe *pl_loop_sqe(struct pl_loop *loop, struct pl_ev *ev);

/*
 * The same for what completes at once, by itself, such as a write that never
 * blocks: a turn that waits does so for something else as well. That saves the
 * turn, and so the system call, that would only tell that it is done.
 */
struct io_uring_sqe *pl_loop_sqe_prompt(struct pl_loop *loop, struct pl_ev *ev);

/* Now instead of at the end of the turn: something will take a while. */
void pl_loop_submit(struct pl_loop *loop);

/*
 * How many requests count on the loop's next turn, told by who takes them (the
 * engine). With one alone nobody else waits when the thread blocks a moment.
 */
void pl_loop_set_requests(struct pl_loop *loop, unsigned requests);
unsigned pl_loop_requests(const struct pl_loop *loop);

/* Inside a coroutine: the result of an SQE prepared by prep(sqe, arg). */
int pl_loop_call(struct pl_loop *loop,
		 void (*prep)(struct io_uring_sqe *sqe, void *arg), void *arg);

/*
 * The ring holds fds open, whatever happens to their numbers, until the kernel
 * has finished with its last request: I/O that is under way outlives a killed
 * process. Once per loop.
 */
int pl_loop_hold_fds(struct pl_loop *loop, const int *fds, unsigned n);
/* At a clean end: a ring is torn down some time after its process is gone. */
void pl_loop_release_fds(struct pl_loop *loop);

/* Suspends the coroutine for some milliseconds; 0 or -errno. */
int pl_loop_sleep_ms(struct pl_loop *loop, unsigned ms);
int pl_loop_sleep_us(struct pl_loop *loop, uint64_t us);

/*
 * Calls fn(arg) whenever fd is readable (multishot poll), from the loop and
 * outside of any coroutine, until pl_poll_cancel(). Level-triggered in effect:
 * fn must read until EAGAIN.
 */
struct pl_poll;
int pl_poll_new(struct pl_poll **ret, struct pl_loop *loop, int fd,
		void (*fn)(void *arg), void *arg);
/* No call of fn after this returns; the object frees itself when drained. */
void pl_poll_cancel(struct pl_poll *poll);

#endif
