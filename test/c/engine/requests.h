/* SPDX-License-Identifier: Apache-2.0 */
/* An engine over a chain in memory, and requests that note their results. */
#ifndef PL_TEST_REQUESTS_H
#define PL_TEST_REQUESTS_H

#include "base/co.h"
#include "disk.h"
#include "engine/engine.h"

#ifndef DISK
#define DISK (64 * MIB)
#endif

static struct stack s;
static struct pl_loop *loop;
static struct pl_engine *eng;

struct noted {
	struct pl_req req;
	int res;
	unsigned answers;
};

static inline void note(struct pl_req *req, int res)
{
	struct noted *n = (struct noted *)req;

	n->res = res;
	n->answers++;
}

/* seed: see pl_dir_memory(); not 0 = operations take some turns. */
static inline bool engine_start(uint64_t seed)
{
	struct pl_chain *ch;

	if (!stack_init(&s, 4096))
		return false;
	pl_dir_close(s.dir);
	if (pl_dir_memory(&s.dir, seed) < 0 || !stack_add(&s, DISK))
		return false;
	ch = stack_chain(&s);
	return ch && stack_says(&s, pl_loop_new(&loop, 16, &s.err)) &&
	       stack_says(&s, pl_engine_new(&eng, loop, ch, &s.err));
}

static inline void engine_stop(void)
{
	ok(stack_says(&s, pl_engine_close(eng, &s.err)));
	pl_loop_free(loop);
	stack_fini(&s);
}

static inline void submit(struct noted *n, enum pl_req_op op, uint64_t off,
			  uint64_t len, void *buf)
{
	unsigned flags = n->req.flags;

	memset(n, 0, sizeof(*n));
	n->req = (struct pl_req){ .op = op,
				  .flags = flags,
				  .off = off,
				  .len = len,
				  .buf = buf,
				  .done = note };
	n->res = 1;
	pl_engine_submit(eng, &n->req);
}

static inline int wait_for(struct noted *n)
{
	while (!n->answers)
		if (pl_loop_turn(loop, false) < 0)
			break;
	is_int(n->answers, 1);
	return n->res;
}

static inline int request(enum pl_req_op op, uint64_t off, uint64_t len,
			  void *buf)
{
	struct noted n = { .req.flags = 0 };

	submit(&n, op, off, len, buf);
	return wait_for(&n);
}

#endif
