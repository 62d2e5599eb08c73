/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine: what exports talk to. It turns requests on one virtual disk into
 * work on a chain, one coroutine per request, counts them, and can hold them
 * back while the chain underneath is exchanged (snapshot, resize).
 *
 * Exports know nothing of layers; the engine knows nothing of wire formats.
 */
#ifndef PLOOP_ENGINE_ENGINE_H
#define PLOOP_ENGINE_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "engine/limit.h"

struct pl_engine;
struct pl_chain;
struct pl_loop;

enum pl_req_op {
	PL_REQ_READ,
	PL_REQ_WRITE,
	PL_REQ_FLUSH, /* everything acknowledged before is durable */
	PL_REQ_DISCARD, /* reads as zeros afterwards, host space comes back */
	PL_REQ_WRITE_ZEROES,
	PL_REQ_STATUS, /* what is data, what is a hole; see pl_req_status */
};
#define PL_REQ_OPS 6

#define PL_REQ_FUA 1u /* this request is durable when it is answered */
#define PL_REQ_NO_UNMAP 2u /* write zeroes: with host space behind them */

/*
 * The answer to PL_REQ_STATUS, which is in buf: runs of bytes from off on, two
 * neighbours never alike; fewer than len when max of them do not reach so far.
 */
struct pl_req_status {
	unsigned max, n;
	struct {
		uint64_t len;
		bool hole; /* no host space, and reads as zeros */
	} run[];
};

/*
 * One request. off and len in bytes, multiples of 512, inside the disk
 * (otherwise -EINVAL; writes beyond the end -ENOSPC). buf: len bytes, aligned
 * to 512 (4096 for best speed), a struct pl_req_status for PL_REQ_STATUS, NULL for
 * ops without data; untouched by the caller until done. done is called from the loop, once, with 0 or -errno.
 */
struct pl_req {
	enum pl_req_op op;
	unsigned flags;
	uint64_t off, len;
	void *buf;
	void (*done)(struct pl_req *req, int res);
	/* the engine's own */
	struct pl_engine *engine;
	struct pl_req *next;
	uint64_t start_ns;
};

struct pl_engine_stats {
	struct {
		uint64_t requests, bytes, errors, ns;
	} op[PL_REQ_OPS];
	uint32_t inflight, inflight_max;
	uint32_t full; /* requests that wait for room on the host */
	uint64_t full_events; /* how often the host was found full */
	uint64_t full_since_ns; /* CLOCK_MONOTONIC; 0 = none waits */
	uint32_t waiting; /* in the queue, not started */
	uint64_t limit_timers; /* how often one was set for the limits */
	bool timing; /* one is set */
};

/* What happens to a write when the host's file system is full. */
enum pl_on_full {
	PL_ON_FULL_PAUSE, /* it waits until there is room */
	PL_ON_FULL_ERROR, /* it fails with -ENOSPC */
};

/* Takes over chain (closes it in pl_engine_close()). */
int pl_engine_new(struct pl_engine **ret, struct pl_loop *loop,
		  struct pl_chain *chain, struct pl_err *err);

/* Never blocks; may call done before it returns. Requests beyond an internal
 * bound wait in a queue inside the engine. */
void pl_engine_submit(struct pl_engine *eng, struct pl_req *req);

uint64_t pl_engine_size(const struct pl_engine *eng); /* bytes */
uint32_t pl_engine_block_size(const struct pl_engine *eng); /* bytes */
bool pl_engine_read_only(const struct pl_engine *eng);
void pl_engine_stats(const struct pl_engine *eng, struct pl_engine_stats *ret);

/*
 * Inside a coroutine: holds back new requests and waits until those in flight
 * are answered; resume lets them go. Nestable calls are not allowed. -ENOSPC,
 * not paused: they wait for room on the host, for as long as that takes.
 */
int pl_engine_pause(struct pl_engine *eng);
/*
 * The same, but flushes may go on (and writes that are flushed, being done):
 * for what does not suspend before it resumes, and closes no layer.
 */
int pl_engine_pause_changes(struct pl_engine *eng);
void pl_engine_resume(struct pl_engine *eng);

/*
 * PL_ON_FULL_PAUSE at first. ERROR lets what waits now fail, too, which is the
 * way out of an image that can't be detached because it is full.
 */
void pl_engine_set_on_full(struct pl_engine *eng, enum pl_on_full on_full);
enum pl_on_full pl_engine_on_full(const struct pl_engine *eng);

/*
 * At most so much a second from now on, counted from zero; what waits goes on
 * as far as that allows. An operation is a read, write, discard or write-zeroes
 * request; its bytes count when they are moved (not: discarded, zeroed without
 * host space). Flush and status are free. No request overtakes another. There
 * is a timer only while requests wait for it.
 */
void pl_engine_set_limits(struct pl_engine *eng, struct pl_limits limits);
struct pl_limits pl_engine_limits(const struct pl_engine *eng);

/*
 * fn is called before the answer of each request that has failed, other than
 * for room on the host, with -errno. It does not suspend. pl_layer_trouble() of
 * the chain's layers may say more.
 */
typedef void pl_engine_failed_fn(void *arg, const struct pl_req *req, int res);
void pl_engine_set_failed(struct pl_engine *eng, pl_engine_failed_fn *fn,
			  void *arg);

/* The chain, for maintenance coroutines while paused. */
struct pl_chain *pl_engine_chain(struct pl_engine *eng);

/*
 * Inside a coroutine or after the loop has ended: flushes, checkpoints, closes
 * the chain cleanly and frees the engine. No request may be in flight. Inside a
 * coroutine it waits for the limits' timer; outside there may be none.
 */
int pl_engine_close(struct pl_engine *eng, struct pl_err *err);

#endif
