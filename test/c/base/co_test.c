/* SPDX-License-Identifier: Apache-2.0 */
/* Coroutines, wait queues and mutexes. */
#include "base/co.h"
#include "tap.h"

static char trace[256];
static struct pl_waitq queue;
static struct pl_comutex mutex;
static struct pl_co *parked;

static void note(const char *word)
{
	strcat(trace, word);
	strcat(trace, " ");
}

static void restart(void)
{
	trace[0] = '\0';
	memset(&queue, 0, sizeof(queue));
	memset(&mutex, 0, sizeof(mutex));
}

static void say(void *arg)
{
	note(arg);
}

pl_test("start only queues: the coroutine runs when ready ones are run")
{
	restart();
	is_int(pl_co_start(say, "a"), 0);
	is_int(pl_co_start(say, "b"), 0);
	is_str(trace, "");
	pl_co_run_ready();
	is_str(trace, "a b ");
}

static void park(void *arg)
{
	parked = pl_co_self();
	note(arg);
	pl_co_yield();
	note("woken");
}

pl_test("a yielded coroutine stays where it is until somebody wakes it")
{
	restart();
	pl_co_start(park, "parked");
	pl_co_run_ready();
	is_str(trace, "parked ");
	pl_co_wake(parked);
	is_str(trace, "parked ");
	pl_co_run_ready();
	is_str(trace, "parked woken ");
}

static void park_twice(void *arg)
{
	(void)arg;
	parked = pl_co_self();
	pl_co_yield();
	note("first");
	pl_co_yield();
	note("second");
}

pl_test("waking a queued coroutine again does nothing")
{
	restart();
	pl_co_start(park_twice, NULL);
	pl_co_run_ready();
	pl_co_wake(parked);
	pl_co_wake(parked);
	pl_co_run_ready();
	is_str(trace, "first ");
	pl_co_wake(parked);
	pl_co_run_ready();
	is_str(trace, "first second ");
}

static void know_self(void *arg)
{
	ok(pl_co_self() != NULL);
	(void)arg;
}

pl_test("self is the running coroutine, and nobody outside of one")
{
	ok(!pl_co_self());
	pl_co_start(know_self, NULL);
	pl_co_run_ready();
	ok(!pl_co_self());
}

static void spawn(void *arg)
{
	(void)arg;
	note("outer");
	pl_co_start(say, "inner");
	note("still outer");
}

pl_test("a coroutine can start others, also when the pool is empty")
{
	restart();
	pl_co_trim();
	pl_co_start(spawn, NULL);
	pl_co_trim();
	pl_co_run_ready();
	is_str(trace, "outer still outer inner ");
}

/* Uses a good part of a stack, with values that must survive switches. */
static void deep(void *arg)
{
	volatile char area[16384];
	unsigned *bad = arg;

	memset((char *)area, (int)((uintptr_t)pl_co_self() >> 4 & 0x7f),
	       sizeof(area));
	pl_waitq_wait(&queue);
	for (size_t i = 0; i < sizeof(area); i++)
		*bad += area[i] != (char)((uintptr_t)pl_co_self() >> 4 & 0x7f);
}

pl_test("hundreds of coroutines keep their stacks apart")
{
	unsigned bad = 0;

	restart();
	for (unsigned i = 0; i < 600; i++)
		is_int(pl_co_start(deep, &bad), 0);
	pl_co_run_ready();
	pl_waitq_wake_all(&queue);
	pl_co_run_ready();
	is_int(bad, 0);
	ok(pl_waitq_empty(&queue));
}

static void wait_and_say(void *arg)
{
	pl_waitq_wait(&queue);
	note(arg);
}

pl_test("a wait queue is first in, first out")
{
	restart();
	pl_co_start(wait_and_say, "1");
	pl_co_start(wait_and_say, "2");
	pl_co_start(wait_and_say, "3");
	pl_co_run_ready();
	ok(pl_waitq_wake_one(&queue));
	pl_co_run_ready();
	is_str(trace, "1 ");
	pl_waitq_wake_all(&queue);
	pl_co_run_ready();
	is_str(trace, "1 2 3 ");
}

static void hold(void *arg)
{
	pl_comutex_lock(&mutex);
	note(arg);
	pl_co_wake(pl_co_self());
	pl_co_yield();
	note(arg);
	pl_comutex_unlock(&mutex);
}

pl_test("a mutex lets one in at a time")
{
	restart();
	pl_co_start(hold, "a");
	pl_co_start(hold, "b");
	pl_co_start(hold, "c");
	pl_co_run_ready();
	is_str(trace, "a a b b c c ");
	ok(!mutex.locked);
}

pl_test("reserve keeps stacks ready, trim gives them back")
{
	restart();
	is_int(pl_co_reserve(64), 0);
	pl_co_trim();
	pl_co_start(say, "after");
	pl_co_run_ready();
	is_str(trace, "after ");
}

int main(void)
{
	int status = pl_tap_main();

	pl_co_trim();
	return status;
}
