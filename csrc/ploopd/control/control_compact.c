/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operations `compact` and `reclaim` of the control socket: the top's file
 * gets shorter, and hidden layers lose what nobody sees. Both run beside
 * requests.
 */
#include <time.h>

#include "base/gentle.h"
#include "base/loop.h"
#include "engine/engine.h"
#include "image/image.h"
#include "ploopd/control/control_ops.h"

#define TELL_US 100000u /* how often they say how far they are */

/*
 * How much it takes of the time that the disk is in use for something else: one
 * part in GENTLE, and less while that makes the disk's flushes slow. Pauses
 * shorter than PAUSE_US are saved up. It goes on where nobody waits for anything.
 */
#define GENTLE 20u
#define PAUSE_US 2000u
#define PAUSE_MAX_US 100000u
/* Who made no request for so long does not use the disk. */
#define OTHERS_US 100000u
/* For a flush of those who use the disk it waits AWAIT_TURNS times so long. */
#define AWAIT_MS 5u
#define AWAIT_TURNS 60u

/* What the disk was asked for. */
struct demand {
	uint64_t requests, inflight, flushes, flush_ns;
};

struct compaction {
	struct pl_worker *w;
	struct pl_call *call;
	uint64_t told_us;
	uint64_t since_us; /* when the work began that no pause made up for */
	struct demand before; /* when the last pause ended */
	uint64_t others_us; /* when others were last seen to use the disk */
	struct pl_gentle gentle;
};

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static struct demand demand_of(struct pl_worker *w)
{
	struct pl_engine_stats stats;
	struct demand d = { 0 };

	pl_engine_stats(w->engine, &stats);
	for (unsigned op = 0; op < PL_REQ_OPS; op++)
		d.requests += stats.op[op].requests;
	d.inflight = stats.inflight;
	d.requests += d.inflight;
	d.flushes = stats.op[PL_REQ_FLUSH].requests;
	d.flush_ns = stats.op[PL_REQ_FLUSH].ns;
	return d;
}

static struct compaction begin(struct pl_worker *w, struct pl_call *call)
{
	return (struct compaction){ .w = w,
				    .call = call,
				    .since_us = now_us(),
				    .before = demand_of(w) };
}

/*
 * The first half of a pause still shows what the work did to others, the second
 * what they have without it.
 */
static void rest(struct compaction *c, uint64_t pause_us)
{
	unsigned half_ms = (unsigned)(pause_us / 2000);
	struct demand worked, rested;

	half_ms = half_ms ? half_ms : 1;
	pl_loop_sleep_ms(c->w->loop, half_ms);
	worked = demand_of(c->w);
	pl_loop_sleep_ms(c->w->loop, half_ms);
	rested = demand_of(c->w);
	pl_gentle_worked(&c->gentle, worked.flushes - c->before.flushes,
			 worked.flush_ns - c->before.flush_ns);
	pl_gentle_rested(&c->gentle, rested.flushes - worked.flushes,
			 rested.flush_ns - worked.flush_ns);
}

static bool others(void *arg)
{
	const struct compaction *c = arg;

	return c->others_us && now_us() - c->others_us < OTHERS_US;
}

/* Since the last pause, or in it. */
static void see_others(struct compaction *c)
{
	struct demand d = demand_of(c->w);

	if (d.requests != c->before.requests)
		c->others_us = now_us();
}

static void await_still(struct compaction *c)
{
	struct pl_still still = { 0 };
	struct demand d = demand_of(c->w);

	while (!c->call->cancelled &&
	       !pl_still(&still, d.requests, d.inflight)) {
		pl_loop_sleep_us(c->w->loop, PL_STILL_LOOK_US);
		d = demand_of(c->w);
	}
}

/* Who uses the disk meanwhile gets most of the time; nobody: no pause. */
static void pace(void *arg, uint64_t bytes)
{
	struct compaction *c = arg;
	uint64_t pause = (now_us() - c->since_us) * (GENTLE - 1);

	(void)bytes;
	if (pause < PAUSE_US)
		return;
	pause = pl_gentle_pause(&c->gentle, pause);
	see_others(c);
	if (others(c) && !c->call->cancelled) {
		rest(c, pause < PAUSE_MAX_US ? pause : PAUSE_MAX_US);
		await_still(c);
		see_others(c);
	}
	c->since_us = now_us();
	c->before = demand_of(c->w);
}

static bool await_flush(void *arg, unsigned turn)
{
	struct compaction *c = arg;

	if (!others(c) || turn >= AWAIT_TURNS || c->call->cancelled)
		return false;
	pl_loop_sleep_ms(c->w->loop, AWAIT_MS);
	c->since_us = now_us();
	return true;
}

static bool on_progress(void *arg, uint64_t done, uint64_t total)
{
	struct compaction *c = arg;
	uint64_t now = now_us();

	if (now - c->told_us > TELL_US || done == total) {
		c->told_us = now;
		pl_call_progress(c->call, done, total);
	}
	return !c->call->cancelled;
}

int pl_op_compact(struct pl_worker *w, struct pl_call *call, json_t **ret,
		  struct pl_err *err)
{
	struct pl_compact_result res = { 0 };
	struct compaction c = begin(w, call);
	struct pl_image_work work = { .progress = on_progress,
				      .pace = pace,
				      .await_flush = await_flush,
				      .others = others,
				      .arg = &c };
	int rc;

	rc = pl_image_compact(w->image, pl_engine_chain(w->engine), &res, &work,
			      err);
	*ret = json_object();
	pl_call_set_number(*ret, "hostBefore", res.host_before);
	pl_call_set_number(*ret, "hostAfter", res.host_after);
	pl_call_set_number(*ret, "lengthBefore", res.length_before);
	pl_call_set_number(*ret, "lengthAfter", res.length_after);
	pl_call_set_number(*ret, "clustersFreed", res.clusters_freed);
	pl_call_set_number(*ret, "clustersMoved", res.clusters_moved);
	return rc;
}

int pl_op_reclaim(struct pl_worker *w, struct pl_call *call, json_t **ret,
		  struct pl_err *err)
{
	struct pl_reclaim_result res = { 0 };
	struct compaction c = begin(w, call);
	struct pl_image_work work = { .progress = on_progress,
				      .pace = pace,
				      .arg = &c };
	int rc;

	rc = pl_image_reclaim_hidden(w->image, pl_engine_chain(w->engine), &res,
				     &work, err);
	*ret = json_object();
	pl_call_set_number(*ret, "layers", res.layers);
	pl_call_set_number(*ret, "inUse", res.in_use);
	pl_call_set_number(*ret, "punchedBytes", res.punched_bytes);
	return rc;
}
