/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Coroutines: one stackful coroutine per request, so that the data path reads
 * like straight code while one thread serves many requests. (The technique is
 * the one of QEMU's block layer.)
 *
 * A thread has one scheduler, created on first use; nothing is shared between
 * threads. Outside a coroutine every blocking primitive of this project works
 * as an ordinary blocking call, so offline tools need no loop at all.
 *
 * INVARIANTS
 *  1. pl_co_wake() only queues; a coroutine runs from pl_co_run_ready() or
 *     from pl_co_start(), never from inside another one's wake.
 *  2. A coroutine is queued at most once (waking a queued one is a no-op).
 *  3. Stacks are pooled and never returned below the pool's floor under load.
 */
#ifndef PLOOP_BASE_CO_H
#define PLOOP_BASE_CO_H

#include <stdbool.h>
#include <stddef.h>

struct pl_co;
typedef void pl_co_fn(void *arg);

/*
 * Starts fn(arg) in a new coroutine; it runs when the loop next runs ready
 * coroutines. -ENOMEM when no stack can be had.
 */
int pl_co_start(pl_co_fn *fn, void *arg);

/* The running coroutine, NULL outside of one. */
struct pl_co *pl_co_self(void);

/* Suspends the running coroutine until somebody wakes it. */
void pl_co_yield(void);

/* Makes a suspended coroutine ready. */
void pl_co_wake(struct pl_co *co);

/* Runs ready coroutines until none is ready. Not from inside one. */
void pl_co_run_ready(void);

/* Preallocates stacks, so that serving a request needs no memory. */
int pl_co_reserve(unsigned count);

/* Frees pooled stacks of this thread (tests, before leak checks). */
void pl_co_trim(void);

/* FIFO of waiting coroutines. Zero-initialised is empty. */
struct pl_waitq {
	struct pl_waiter *head, **tail;
};
void pl_waitq_wait(struct pl_waitq *q);
bool pl_waitq_wake_one(struct pl_waitq *q);
void pl_waitq_wake_all(struct pl_waitq *q);
static inline bool pl_waitq_empty(const struct pl_waitq *q)
{
	return q->head == NULL;
}

/* Mutex among coroutines of one thread. Zero-initialised is unlocked. */
struct pl_comutex {
	bool locked;
	struct pl_waitq waiters;
};
void pl_comutex_lock(struct pl_comutex *m);
void pl_comutex_unlock(struct pl_comutex *m);

#endif
