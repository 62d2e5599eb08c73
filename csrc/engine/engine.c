/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine: see engine.h.
 *
 * STATES of a request
 *   submitted --slot free, not paused, within limits--> running (a coroutine)
 *     --> done
 *   submitted --otherwise--> waiting (FIFO) --> running
 *   running --host full, PL_ON_FULL_PAUSE--> full --retry--> running
 *
 * While the host is full one request tries again from time to time; the others
 * wait for its success. Repeating is safe: every request is idempotent.
 */
#include "engine/engine.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/co.h"
#include "base/loop.h"
#include "chain/chain.h"

#define INFLIGHT_MAX 256u
#define COROUTINES_KEPT 16u
#define FULL_RETRY_MS 250u
#define TIMER_MAX_MS 100u /* limits may change, or the engine close */
#define ZEROS (1u << 20) /* bytes written at a time, PL_REQ_NO_UNMAP */

struct pl_engine {
	struct pl_chain *chain;
	struct pl_loop *loop;
	struct pl_req *head, **tail; /* waiting */
	unsigned inflight, flushing; /* flushing: of inflight, only that */
	bool paused;
	struct pl_limit limit;
	bool limited; /* by anything */
	bool timing; /* a timer will start what waits for the limits */
	unsigned timer_ms;
	enum pl_on_full on_full;
	bool probing; /* a request is trying whether there is room again */
	struct pl_waitq drained, room, timed;
	pl_engine_failed_fn *failed; /* NULL = nobody is told */
	void *failed_arg;
	struct pl_engine_stats stats;
};

int pl_engine_new(struct pl_engine **ret, struct pl_loop *loop,
		  struct pl_chain *chain, struct pl_err *err)
{
	struct pl_engine *eng = calloc(1, sizeof(*eng));

	if (!eng || pl_co_reserve(COROUTINES_KEPT) < 0) {
		free(eng);
		return pl_err_sys(err, -ENOMEM, "engine");
	}
	eng->chain = chain;
	eng->loop = loop;
	eng->tail = &eng->head;
	*ret = eng;
	return 0;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Zeros with host space behind them are written like any other data. */
static int write_zeros(struct pl_chain *ch, uint64_t len, uint64_t off)
{
	uint64_t n = len < ZEROS ? len : ZEROS;
	void *zeros = NULL;
	int rc = 0;

	if (n == 0)
		return 0;
	if (posix_memalign(&zeros, 4096, n) != 0)
		return -ENOMEM;
	memset(zeros, 0, n);
	for (; rc == 0 && len > 0; off += n, len -= n) {
		n = len < n ? len : n;
		rc = pl_chain_write(ch, zeros, n, off);
	}
	free(zeros);
	return rc;
}

struct looking {
	struct pl_req_status *status;
	uint64_t off, end; /* what is asked for, and not told yet */
};

/* Extents begin at the block that off is in. */
static bool look_at(void *arg, const struct pl_chain_extent *e)
{
	struct looking *l = arg;
	struct pl_req_status *s = l->status;
	bool hole = e->host_off == UINT64_MAX;
	uint64_t end = e->off + e->len < l->end ? e->off + e->len : l->end;

	if (end <= l->off)
		return true;
	if (s->n == 0 || s->run[s->n - 1].hole != hole) {
		if (s->n == s->max)
			return false;
		s->run[s->n].len = 0;
		s->run[s->n++].hole = hole;
	}
	s->run[s->n - 1].len += end - l->off;
	l->off = end;
	return true;
}

static int look(struct pl_chain *ch, const struct pl_req *req)
{
	uint64_t bs = pl_chain_block_size(ch);
	uint64_t start = req->off / bs * bs, end = req->off + req->len;
	struct looking l = { req->buf, req->off, end };

	l.status->n = 0;
	/* Up to the end of a block: the chain cuts at the end of the disk. */
	end = (end + bs - 1) / bs * bs;
	return pl_chain_extents(ch, start, end - start, look_at, &l);
}

/* Holds no switch of layers up: what it covers was written before. */
static int flush_chain(struct pl_engine *eng)
{
	int rc;

	eng->flushing++;
	pl_waitq_wake_all(&eng->drained);
	rc = pl_chain_flush(eng->chain);
	eng->flushing--;
	return rc;
}

static int execute(struct pl_engine *eng, const struct pl_req *req)
{
	struct pl_chain *ch = eng->chain;

	switch (req->op) {
	case PL_REQ_READ:
		return pl_chain_read(ch, req->buf, req->len, req->off);
	case PL_REQ_WRITE:
		return pl_chain_write(ch, req->buf, req->len, req->off);
	case PL_REQ_FLUSH:
		return flush_chain(eng);
	case PL_REQ_DISCARD:
		return pl_chain_discard(ch, req->len, req->off);
	case PL_REQ_WRITE_ZEROES:
		return req->flags & PL_REQ_NO_UNMAP ?
			       write_zeros(ch, req->len, req->off) :
			       pl_chain_zero(ch, req->len, req->off);
	case PL_REQ_STATUS:
		return look(ch, req);
	}
	return -EINVAL;
}

static void start(struct pl_engine *eng, struct pl_req *req);
static void start_waiting(struct pl_engine *eng);

/* ---- limits ---- */

static uint64_t bytes_moved(const struct pl_req *req)
{
	bool moves = req->op == PL_REQ_READ || req->op == PL_REQ_WRITE ||
		     (req->op == PL_REQ_WRITE_ZEROES &&
		      req->flags & PL_REQ_NO_UNMAP);

	return moves ? req->len : 0;
}

static uint64_t limit_wait_ns(struct pl_engine *eng, const struct pl_req *req)
{
	if (!eng->limited || req->op == PL_REQ_FLUSH ||
	    req->op == PL_REQ_STATUS)
		return 0;
	return pl_limit_take(&eng->limit, bytes_moved(req), now_ns());
}

static void run_timer(void *arg)
{
	struct pl_engine *eng = arg;

	pl_loop_sleep_ms(eng->loop, eng->timer_ms);
	eng->timing = false;
	start_waiting(eng);
	if (!eng->timing)
		pl_waitq_wake_all(&eng->timed);
}

/* False: there is no memory for a timer, so nothing must wait for it. */
static bool set_timer(struct pl_engine *eng, uint64_t wait_ns)
{
	uint64_t ms = wait_ns / 1000000u + 1;

	if (eng->timing)
		return true;
	eng->timer_ms = ms < TIMER_MAX_MS ? (unsigned)ms : TIMER_MAX_MS;
	eng->timing = true;
	eng->stats.limit_timers++;
	if (pl_co_start(run_timer, eng) < 0)
		eng->timing = false;
	return eng->timing;
}

static bool may_start(struct pl_engine *eng, const struct pl_req *req)
{
	uint64_t wait_ns;

	if (eng->paused || eng->inflight >= INFLIGHT_MAX)
		return false;
	wait_ns = limit_wait_ns(eng, req);
	return wait_ns == 0 || !set_timer(eng, wait_ns);
}

void pl_engine_set_limits(struct pl_engine *eng, struct pl_limits limits)
{
	pl_limit_set(&eng->limit, limits);
	eng->limited = limits.iops || limits.bps;
	start_waiting(eng);
}

struct pl_limits pl_engine_limits(const struct pl_engine *eng)
{
	return eng->limit.limits;
}

/* ---- requests ---- */

static void start_waiting(struct pl_engine *eng)
{
	struct pl_req *req;

	while ((req = eng->head) != NULL && may_start(eng, req)) {
		eng->head = req->next;
		if (!eng->head)
			eng->tail = &eng->head;
		eng->stats.waiting--;
		start(eng, req);
	}
}

static void set_inflight(struct pl_engine *eng, unsigned inflight)
{
	eng->inflight = inflight;
	pl_loop_set_requests(eng->loop, inflight);
}

static void finish(struct pl_engine *eng, struct pl_req *req, int res)
{
	set_inflight(eng, eng->inflight - 1);
	eng->stats.op[req->op].ns += now_ns() - req->start_ns;
	eng->stats.op[req->op].errors += res < 0;
	if (res < 0 && res != -ENOSPC && res != -EDQUOT && eng->failed)
		eng->failed(eng->failed_arg, req, res);
	req->done(req, res);
	if (!eng->inflight)
		pl_waitq_wake_all(&eng->drained);
	start_waiting(eng);
}

static bool changes(enum pl_req_op op)
{
	return op == PL_REQ_WRITE || op == PL_REQ_DISCARD ||
	       op == PL_REQ_WRITE_ZEROES;
}

static int execute_durably(struct pl_engine *eng, const struct pl_req *req)
{
	int res = execute(eng, req);

	if (res == 0 && req->flags & PL_REQ_FUA && changes(req->op))
		res = flush_chain(eng);
	return res;
}

static bool host_full(const struct pl_engine *eng, int res)
{
	return (res == -ENOSPC || res == -EDQUOT) &&
	       eng->on_full == PL_ON_FULL_PAUSE;
}

/* Waits for room, then runs the request again, until it is not short of it. */
static int retry_when_room(struct pl_engine *eng, const struct pl_req *req)
{
	int res = -ENOSPC;

	if (eng->stats.full++ == 0)
		eng->stats.full_since_ns = now_ns();
	pl_waitq_wake_all(&eng->drained);
	while (host_full(eng, res)) {
		if (eng->probing) {
			pl_waitq_wait(&eng->room);
		} else {
			eng->probing = true;
			pl_loop_sleep_ms(eng->loop, FULL_RETRY_MS);
			eng->probing = false;
		}
		res = execute_durably(eng, req);
		/* Only success lets the others try: else they would spin. */
		if (!host_full(eng, res))
			pl_waitq_wake_all(&eng->room);
	}
	if (--eng->stats.full == 0)
		eng->stats.full_since_ns = 0;
	return res;
}

static void run_request(void *arg)
{
	struct pl_req *req = arg;
	struct pl_engine *eng = req->engine;
	int res = execute_durably(eng, req);

	if (host_full(eng, res)) {
		eng->stats.full_events += eng->stats.full == 0;
		res = retry_when_room(eng, req);
	}
	finish(eng, req, res);
}

static void start(struct pl_engine *eng, struct pl_req *req)
{
	set_inflight(eng, eng->inflight + 1);
	if (eng->inflight > eng->stats.inflight_max)
		eng->stats.inflight_max = eng->inflight;
	if (pl_co_start(run_request, req) < 0)
		finish(eng, req, -ENOMEM);
}

static int check(const struct pl_engine *eng, const struct pl_req *req)
{
	uint64_t size = pl_chain_size(eng->chain);

	if ((unsigned)req->op >= PL_REQ_OPS)
		return -EINVAL;
	if (req->op == PL_REQ_FLUSH)
		return 0;
	if (changes(req->op) && !pl_chain_writable(eng->chain))
		return -EROFS;
	if (req->off % 512 || req->len % 512)
		return -EINVAL;
	if (req->off > size || req->len > size - req->off)
		return changes(req->op) ? -ENOSPC : -EINVAL;
	return 0;
}

void pl_engine_submit(struct pl_engine *eng, struct pl_req *req)
{
	int rc = check(eng, req);

	req->engine = eng;
	if (rc < 0) {
		req->done(req, rc);
		return;
	}
	req->start_ns = now_ns();
	eng->stats.op[req->op].requests++;
	eng->stats.op[req->op].bytes += req->len;
	if (!eng->head && may_start(eng, req)) {
		start(eng, req);
		return;
	}
	eng->stats.waiting++;
	req->next = NULL;
	*eng->tail = req;
	eng->tail = &req->next;
}

static int pause_until(struct pl_engine *eng, const unsigned *left_over)
{
	assert(!eng->paused);
	eng->paused = true;
	while (eng->inflight > *left_over && !eng->stats.full)
		pl_waitq_wait(&eng->drained);
	if (eng->inflight == *left_over)
		return 0;
	pl_engine_resume(eng);
	return -ENOSPC;
}

int pl_engine_pause(struct pl_engine *eng)
{
	static const unsigned none;

	return pause_until(eng, &none);
}

int pl_engine_pause_changes(struct pl_engine *eng)
{
	return pause_until(eng, &eng->flushing);
}

void pl_engine_resume(struct pl_engine *eng)
{
	assert(eng->paused);
	eng->paused = false;
	start_waiting(eng);
}

void pl_engine_set_on_full(struct pl_engine *eng, enum pl_on_full on_full)
{
	eng->on_full = on_full;
	if (on_full == PL_ON_FULL_ERROR)
		pl_waitq_wake_all(&eng->room);
}

enum pl_on_full pl_engine_on_full(const struct pl_engine *eng)
{
	return eng->on_full;
}

void pl_engine_set_failed(struct pl_engine *eng, pl_engine_failed_fn *fn,
			  void *arg)
{
	eng->failed = fn;
	eng->failed_arg = arg;
}

uint64_t pl_engine_size(const struct pl_engine *eng)
{
	return pl_chain_size(eng->chain);
}

uint32_t pl_engine_block_size(const struct pl_engine *eng)
{
	return pl_chain_block_size(eng->chain);
}

bool pl_engine_read_only(const struct pl_engine *eng)
{
	return !pl_chain_writable(eng->chain);
}

void pl_engine_stats(const struct pl_engine *eng, struct pl_engine_stats *ret)
{
	*ret = eng->stats;
	ret->inflight = eng->inflight;
	ret->timing = eng->timing;
}

struct pl_chain *pl_engine_chain(struct pl_engine *eng)
{
	return eng->chain;
}

int pl_engine_close(struct pl_engine *eng, struct pl_err *err)
{
	int rc;

	assert(!eng->inflight && !eng->head);
	while (eng->timing && pl_co_self())
		pl_waitq_wait(&eng->timed);
	assert(!eng->timing);
	rc = pl_chain_close(eng->chain, err);
	free(eng);
	return rc;
}
