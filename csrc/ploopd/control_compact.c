/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operations `compact` and `reclaim` of the control socket: the top's file
 * gets shorter, and hidden layers lose what nobody sees. Both run beside
 * requests.
 */
#include <time.h>

#include "base/loop.h"
#include "engine/engine.h"
#include "image/image.h"
#include "ploopd/control_ops.h"

#define TELL_US 100000u /* how often they say how far they are */

/*
 * How much it takes of the time that the disk is in use for something else: one
 * part in GENTLE. Pauses shorter than PAUSE_US are saved up.
 */
#define GENTLE 5u
#define PAUSE_US 2000u
#define PAUSE_MAX_US 100000u

struct compaction {
	struct pl_worker *w;
	struct pl_call *call;
	uint64_t told_us;
	uint64_t since_us; /* when the work began that no pause made up for */
	uint64_t requests; /* of the disk, when the last pause began */
};

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static uint64_t requests_of(struct pl_worker *w)
{
	struct pl_engine_stats stats;
	uint64_t n = 0;

	pl_engine_stats(w->engine, &stats);
	for (unsigned op = 0; op < PL_REQ_OPS; op++)
		n += stats.op[op].requests;
	return n + stats.inflight;
}

static struct compaction begin(struct pl_worker *w, struct pl_call *call)
{
	return (struct compaction){ .w = w,
				    .call = call,
				    .since_us = now_us(),
				    .requests = requests_of(w) };
}

/* Who uses the disk meanwhile gets most of the time; nobody: no pause. */
static void pace(void *arg, uint64_t bytes)
{
	struct compaction *c = arg;
	uint64_t now = now_us(), took = now - c->since_us;
	uint64_t pause = took * (GENTLE - 1), requests;

	(void)bytes;
	if (pause < PAUSE_US)
		return;
	pause = pause < PAUSE_MAX_US ? pause : PAUSE_MAX_US;
	requests = requests_of(c->w);
	if (requests != c->requests && !c->call->cancelled)
		pl_loop_sleep_ms(c->w->loop, (unsigned)(pause / 1000));
	c->since_us = now_us();
	c->requests = requests;
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
