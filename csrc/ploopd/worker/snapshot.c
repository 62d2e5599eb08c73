/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots of an attached image. Requests are held back while the layers are
 * switched in memory; everything that waits for a disk comes before or after
 * that (image/snapshot.c). The first line of
 * progress tells the caller, who may hold a file system frozen, that the switch
 * is done.
 */
#include "ploopd/worker/snapshot.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

#include "base/loop.h"
#include "engine/engine.h"
#include "image/image.h"
#include "ploopd/log.h"
#include "ploopd/worker/sums.h"

#define COMMIT_TRIES 100u /* while somebody looks at the top's file */
#define COMMIT_MS 20u

enum { SWITCHED = 1, DURABLE, SEALED }; /* progress */

/* How long what took, microseconds. */
struct times {
	uint64_t start, drained, switched, durable, sealed;
};

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

int pl_worker_no_room(const struct pl_worker *w, const char *op,
		      struct pl_err *err)
{
	return pl_err_set(err, PL_E_NO_SPACE, ENOSPC,
			  "%s: the host's file system is full, and requests "
			  "wait for room; make room, or let them fail: ploop "
			  "set %.150s --on-full error",
			  op, w->att.directory);
}

/* Taken, but this chain can't follow. The next worker can. */
static void start_over(const struct pl_err *err)
{
	pl_log("snapshot: %s; starting over", err->msg);
	_exit(pl_code_exit(PL_E_INTERNAL));
}

static int prepare(struct pl_worker *w, struct pl_call *call,
		   struct pl_err *err)
{
	struct pl_chain *ch = pl_engine_chain(w->engine);
	const char *name, *description, *holder;
	int rc;

	if (pl_call_get_text(call, "name", 127, &name, err) < 0 ||
	    pl_call_get_text(call, "description", 255, &description, err) < 0 ||
	    pl_call_get_text(call, "holder", 127, &holder, err) < 0)
		return -EINVAL;
	rc = pl_image_snapshot_prepare(w->image, ch, name, description, holder,
				       err);
	if (rc == -ESTALE)
		start_over(err);
	return rc;
}

int pl_op_snapshot_prepare(struct pl_worker *w, struct pl_call *call,
			   json_t **ret, struct pl_err *err)
{
	int rc = prepare(w, call, err);

	/* So that little is left to be flushed behind the switch. */
	if (rc == 0)
		rc = pl_chain_flush(pl_engine_chain(w->engine));
	if (rc < 0 && !err->code)
		pl_err_sys(err, rc, "snapshot-prepare: flush");
	*ret = json_object();
	return rc;
}

static int commit(struct pl_worker *w, struct pl_err *err)
{
	struct pl_chain *ch = pl_engine_chain(w->engine);
	int rc = pl_image_snapshot_commit(w->image, ch, err);

	for (unsigned i = 0; rc == -EBUSY && i < COMMIT_TRIES; i++) {
		pl_loop_sleep_ms(w->loop, COMMIT_MS);
		rc = pl_image_snapshot_commit(w->image, ch, err);
	}
	return rc;
}

static int switch_layers(struct pl_worker *w, struct times *t, char *id,
			 struct pl_err *err)
{
	int rc;

	t->start = now_us();
	rc = pl_engine_pause_changes(w->engine);
	if (rc < 0)
		return pl_worker_no_room(w, "snapshot", err);
	/* Nothing here suspends: flushes are under way. */
	t->drained = now_us();
	rc = pl_image_snapshot_switch(w->image, pl_engine_chain(w->engine), id,
				      err);
	pl_engine_resume(w->engine);
	t->switched = now_us();
	return rc;
}

static int take(struct pl_worker *w, struct times *t, char *id,
		struct pl_err *err)
{
	struct pl_err why;
	int rc = commit(w, err);

	if (rc == 0)
		rc = switch_layers(w, t, id, err);
	if (rc < 0 && pl_image_snapshot_undo(
			      w->image, pl_engine_chain(w->engine), &why) < 0)
		start_over(&why);
	return rc;
}

static int finish(struct pl_worker *w, struct pl_call *call, struct times *t,
		  struct pl_err *err)
{
	struct pl_chain *ch = pl_engine_chain(w->engine);
	int rc = pl_image_snapshot_settle(w->image, ch, err);

	t->durable = now_us();
	if (rc == 0) {
		pl_call_progress(call, DURABLE, SEALED);
		rc = pl_image_snapshot_finish(w->image, ch, err);
	}
	t->sealed = now_us();
	if (rc == -ESTALE)
		start_over(err);
	return rc;
}

int pl_op_snapshot(struct pl_worker *w, struct pl_call *call, json_t **ret,
		   struct pl_err *err)
{
	char id[PL_ID_LEN + 1] = "";
	struct times t = { 0 };
	int rc = prepare(w, call, err);

	if (rc == 0)
		rc = take(w, &t, id, err);
	if (rc < 0)
		return rc;
	pl_call_progress(call, SWITCHED, SEALED);
	rc = finish(w, call, &t, err);
	if (rc < 0)
		return rc;
	pl_worker_sum_sealed(w);
	*ret = json_object();
	pl_call_set_text(*ret, "id", id);
	pl_call_set_number(*ret, "pausedUs", t.switched - t.start);
	pl_call_set_number(*ret, "drainUs", t.drained - t.start);
	pl_call_set_number(*ret, "settleUs", t.durable - t.switched);
	pl_call_set_number(*ret, "sealUs", t.sealed - t.durable);
	return 0;
}
