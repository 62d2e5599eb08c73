/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Coroutines on their own stacks: see co.h.
 *
 * makecontext() gives a coroutine its stack once; every later switch is a
 * sigsetjmp/siglongjmp pair, which costs no system call (as in QEMU). This
 * file is compiled without _FORTIFY_SOURCE, whose longjmp check refuses jumps
 * between stacks.
 *
 * STATES of a coroutine
 *   pooled --start--> ready --run--> running --yield--> suspended
 *   suspended --wake--> ready;  running --fn returns--> pooled
 */
#include "base/co.h"

#include <assert.h>
#include <errno.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#if defined(__SANITIZE_ADDRESS__)
#define PL_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PL_ASAN 1
#endif
#endif

#ifdef PL_ASAN
#include <sanitizer/common_interface_defs.h>
#define STACK_SIZE (512u << 10)
#else
#define STACK_SIZE (64u << 10)
#endif
#define GUARD_SIZE 4096u
#define POOL_MAX 512u

struct pl_co {
	sigjmp_buf env;
	pl_co_fn *fn;
	void *arg;
	struct pl_co *next; /* in the ready queue or the pool */
	void *map; /* guard page and stack */
	bool queued, finished;
};

struct sched {
	sigjmp_buf env; /* of the caller of pl_co_run_ready() */
	struct pl_co *current, *ready_head, **ready_tail, *pool, *creating;
	unsigned pooled;
	const void *main_bottom; /* for ASan */
	size_t main_size;
};

static __thread struct sched sched;

static void asan_leave(void **fake, const void *bottom, size_t size)
{
#ifdef PL_ASAN
	__sanitizer_start_switch_fiber(fake, bottom, size);
#else
	(void)fake, (void)bottom, (void)size;
#endif
}

static void asan_enter(void *fake, bool from_main)
{
#ifdef PL_ASAN
	__sanitizer_finish_switch_fiber(fake,
					from_main ? &sched.main_bottom : NULL,
					from_main ? &sched.main_size : NULL);
#else
	(void)fake, (void)from_main;
#endif
}

static char *stack_of(struct pl_co *co)
{
	return (char *)co->map + GUARD_SIZE;
}

/* Back to pl_co_run_ready(); returns when the coroutine is run again. */
static void to_main(struct pl_co *co)
{
	void *fake = NULL;

	asan_leave(&fake, sched.main_bottom, sched.main_size);
	if (!sigsetjmp(co->env, 0))
		siglongjmp(sched.env, 1);
	asan_enter(fake, true);
}

static void trampoline(void)
{
	struct pl_co *co = sched.creating;

	asan_enter(NULL, true);
	for (;;) {
		to_main(co);
		co->fn(co->arg);
		co->finished = true;
	}
}

static void run(struct pl_co *co)
{
	void *fake = NULL;

	sched.current = co;
	asan_leave(&fake, stack_of(co), STACK_SIZE);
	if (!sigsetjmp(sched.env, 0))
		siglongjmp(co->env, 1);
	asan_enter(fake, false);
	sched.current = NULL;
}

/* Gives a new coroutine its stack: runs its trampoline up to to_main(). */
static __attribute__((noinline)) void enter_first(struct pl_co *co)
{
	ucontext_t uc, back;
	void *fake = NULL;

	getcontext(&uc);
	uc.uc_stack.ss_sp = stack_of(co);
	uc.uc_stack.ss_size = STACK_SIZE;
	uc.uc_link = NULL;
	makecontext(&uc, trampoline, 0);
	sched.creating = co;
	asan_leave(&fake, stack_of(co), STACK_SIZE);
	if (!sigsetjmp(sched.env, 0))
		swapcontext(&back, &uc);
	asan_enter(fake, false);
}

static struct pl_co *create(void)
{
	const void *bottom = sched.main_bottom;
	size_t size = sched.main_size;
	struct pl_co *co = calloc(1, sizeof(*co));
	sigjmp_buf env;

	if (!co)
		return NULL;
	co->map = mmap(NULL, GUARD_SIZE + STACK_SIZE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE,
		       -1, 0);
	if (co->map == MAP_FAILED) {
		free(co);
		return NULL;
	}
	mprotect(co->map, GUARD_SIZE, PROT_NONE);
	/* May run on a coroutine's stack: what is main's is put back. */
	memcpy(env, sched.env, sizeof(env));
	enter_first(co);
	memcpy(sched.env, env, sizeof(env));
	sched.main_bottom = bottom;
	sched.main_size = size;
	return co;
}

static void destroy(struct pl_co *co)
{
	munmap(co->map, GUARD_SIZE + STACK_SIZE);
	free(co);
}

static void enqueue(struct pl_co *co)
{
	co->next = NULL;
	co->queued = true;
	if (!sched.ready_head)
		sched.ready_tail = &sched.ready_head;
	*sched.ready_tail = co;
	sched.ready_tail = &co->next;
}

static struct pl_co *pool_take(void)
{
	struct pl_co *co = sched.pool;

	if (!co)
		return NULL;
	sched.pool = co->next;
	sched.pooled--;
	return co;
}

static void pool_give(struct pl_co *co)
{
	if (sched.pooled >= POOL_MAX) {
		destroy(co);
		return;
	}
	co->next = sched.pool;
	sched.pool = co;
	sched.pooled++;
}

int pl_co_start(pl_co_fn *fn, void *arg)
{
	struct pl_co *co = pool_take();

	if (!co)
		co = create();
	if (!co)
		return -ENOMEM;
	co->fn = fn;
	co->arg = arg;
	co->finished = false;
	enqueue(co);
	return 0;
}

struct pl_co *pl_co_self(void)
{
	return sched.current;
}

void pl_co_yield(void)
{
	assert(sched.current);
	to_main(sched.current);
}

void pl_co_wake(struct pl_co *co)
{
	if (!co->queued)
		enqueue(co);
}

void pl_co_run_ready(void)
{
	struct pl_co *co;

	assert(!sched.current);
	while ((co = sched.ready_head) != NULL) {
		sched.ready_head = co->next;
		co->queued = false;
		run(co);
		if (co->finished) {
			assert(!co->queued);
			pool_give(co);
		}
	}
}

int pl_co_reserve(unsigned count)
{
	struct pl_co *co;

	while (sched.pooled < count && sched.pooled < POOL_MAX) {
		co = create();
		if (!co)
			return -ENOMEM;
		pool_give(co);
	}
	return 0;
}

void pl_co_trim(void)
{
	struct pl_co *co;

	while ((co = pool_take()) != NULL)
		destroy(co);
}
