/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting among coroutines of one thread: queues and mutexes (see co.h).
 *
 * Outside a coroutine nothing can make progress while we wait, so a wait there
 * is a defect and asserts.
 */
#include <assert.h>

#include "base/co.h"

struct pl_waiter {
	struct pl_co *co;
	struct pl_waiter *next;
	bool woken;
};

void pl_waitq_wait(struct pl_waitq *q)
{
	struct pl_waiter w = { .co = pl_co_self() };

	assert(w.co);
	if (!q->head)
		q->tail = &q->head;
	*q->tail = &w;
	/* w outlives its place in the queue: we leave only when taken out. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdangling-pointer"
	q->tail = &w.next;
#pragma GCC diagnostic pop
	while (!w.woken)
		pl_co_yield();
}

bool pl_waitq_wake_one(struct pl_waitq *q)
{
	struct pl_waiter *w = q->head;

	if (!w)
		return false;
	q->head = w->next;
	w->woken = true;
	pl_co_wake(w->co);
	return true;
}

void pl_waitq_wake_all(struct pl_waitq *q)
{
	while (pl_waitq_wake_one(q))
		;
}

void pl_comutex_lock(struct pl_comutex *m)
{
	while (m->locked)
		pl_waitq_wait(&m->waiters);
	m->locked = true;
}

void pl_comutex_unlock(struct pl_comutex *m)
{
	assert(m->locked);
	m->locked = false;
	pl_waitq_wake_one(&m->waiters);
}
