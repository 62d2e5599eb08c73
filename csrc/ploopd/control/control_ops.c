/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the operations of the control socket do (docs/control.md). Each runs
 * in a coroutine of its own; snapshot, resize, compact and reclaim exclude each
 * other.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "engine/engine.h"
#include "image/image.h"
#include "ploopd/control/control_ops.h"
#include "ploopd/exports/exports.h"
#include "ploopd/keeper/shared.h"
#include "ploopd/log.h"
#include "ploopd/worker/snapshot.h"
#include "ploopd/worker/tidy.h"

/* ---- flush ---- */

struct flush {
	struct pl_req req; /* first: the engine hands this back */
	struct pl_co *co;
	int res;
	bool done;
};

static void flush_done(struct pl_req *req, int res)
{
	struct flush *flush = (struct flush *)req;

	flush->res = res;
	flush->done = true;
	pl_co_wake(flush->co);
}

static int op_flush(struct pl_worker *w, struct pl_call *call, json_t **ret,
		    struct pl_err *err)
{
	struct flush flush = {
		.req = { .op = PL_REQ_FLUSH, .done = flush_done },
		.co = pl_co_self(),
	};

	(void)call, (void)ret;
	pl_engine_submit(w->engine, &flush.req);
	while (!flush.done)
		pl_co_yield();
	if (flush.res < 0)
		return pl_err_sys(err, flush.res, "flush");
	return 0;
}

/* ---- changing ---- */

static int pause_engine(struct pl_worker *w, const char *op, struct pl_err *err)
{
	return pl_engine_pause(w->engine) == 0 ? 0 :
						 pl_worker_no_room(w, op, err);
}

static int op_resize(struct pl_worker *w, struct pl_call *call, json_t **ret,
		     struct pl_err *err)
{
	uint64_t size;
	int rc = pl_call_get_number(call, "size", 0, &size, err);

	if (rc < 0)
		return rc;
	if (size == 0)
		return pl_err_set(err, PL_E_INVALID_ARGUMENT, 0,
				  "resize: size: must be given, in bytes");
	rc = pl_front_may_grow(&w->front, err);
	if (rc < 0)
		return rc;
	rc = pause_engine(w, "resize", err);
	if (rc < 0)
		return rc;
	rc = pl_image_resize(w->image, pl_engine_chain(w->engine), size, err);
	pl_engine_resume(w->engine);
	if (rc == 0)
		pl_front_grown(&w->front);
	*ret = json_object();
	pl_call_set_number(*ret, "size", pl_engine_size(w->engine));
	return rc;
}

/* The word of a member that may be absent: *ret_word is NULL then. */
static int set_word(struct pl_call *call, const char *name,
		    const char **ret_word, struct pl_err *err)
{
	return pl_call_get_text(call, name, 16, ret_word, err) < 0 ? -EINVAL :
								     0;
}

static int set_on_full(struct pl_worker *w, const char *word,
		       struct pl_err *err)
{
	enum pl_on_full on_full;

	if (pl_on_full_parse(word, &on_full) < 0)
		return pl_err_set(err, PL_E_INVALID_ARGUMENT, 0,
				  "set: onFull: must be \"pause\" or "
				  "\"error\"");
	w->shared->on_full = on_full;
	pl_engine_set_on_full(w->engine, on_full);
	pl_worker_tell_keeper(w);
	return 0;
}

/* Changes the descriptor, so nothing else may do that meanwhile. */
static int set_discard(struct pl_worker *w, const char *word,
		       struct pl_err *err)
{
	enum pl_discard discard;
	int rc;

	if (!pl_discard_parse(word, &discard))
		return pl_err_set(err, PL_E_INVALID_ARGUMENT, 0,
				  "set: discard: must be \"block\", "
				  "\"cluster\" or \"off\"");
	if (w->att.read_only)
		return pl_err_set(err, PL_E_READ_ONLY, EROFS,
				  "set: discard: the image is attached "
				  "read-only");
	if (w->maintenance)
		return pl_err_set(err, PL_E_BUSY, EBUSY,
				  "set: a %s of this image is under way",
				  w->maintenance);
	w->maintenance = "set";
	rc = pl_image_set_discard(w->image, pl_engine_chain(w->engine), discard,
				  err);
	w->maintenance = NULL;
	return rc;
}

/* Members that are absent leave their limit as it is; 0 = none. */
static int set_limits(struct pl_worker *w, struct pl_call *call, bool *ret_any,
		      struct pl_err *err)
{
	const struct pl_limits now = { w->shared->iops, w->shared->bps };
	struct pl_limits to;
	const char *wrong;
	int rc = pl_call_get_number(call, "iops", UINT64_MAX, &to.iops, err);

	if (rc == 0)
		rc = pl_call_get_number(call, "bps", UINT64_MAX, &to.bps, err);
	if (rc < 0)
		return rc;
	*ret_any = to.iops != UINT64_MAX || to.bps != UINT64_MAX;
	to.iops = to.iops == UINT64_MAX ? now.iops : to.iops;
	to.bps = to.bps == UINT64_MAX ? now.bps : to.bps;
	wrong = pl_limits_wrong(to);
	if (wrong)
		return pl_err_set(err, PL_E_INVALID_ARGUMENT, 0, "set: %s",
				  wrong);
	if (!*ret_any)
		return 0;
	w->shared->iops = (uint32_t)to.iops;
	w->shared->bps = to.bps;
	pl_engine_set_limits(w->engine, to);
	pl_worker_tell_keeper(w);
	return 0;
}

static int op_set(struct pl_worker *w, struct pl_call *call, json_t **ret,
		  struct pl_err *err)
{
	const char *on_full, *discard;
	bool limits = false;
	int rc = set_word(call, "onFull", &on_full, err);

	if (rc == 0)
		rc = set_word(call, "discard", &discard, err);
	if (rc < 0)
		return rc;
	rc = set_limits(w, call, &limits, err);
	if (rc < 0)
		return rc;
	if (!on_full && !discard && !limits)
		return pl_err_set(err, PL_E_INVALID_ARGUMENT, 0,
				  "set: onFull, discard, iops or bps must be "
				  "given");
	if (on_full)
		rc = set_on_full(w, on_full, err);
	if (rc == 0 && discard)
		rc = set_discard(w, discard, err);
	*ret = json_object();
	pl_call_set_text(*ret, "onFull", pl_on_full_name(w->shared->on_full));
	pl_call_set_text(*ret, "discard",
			 pl_discard_name(pl_image_desc(w->image)->discard));
	pl_call_set_limits(*ret, pl_engine_limits(w->engine));
	return rc;
}

static int op_cancel(struct pl_worker *w, struct pl_call *call, json_t **ret,
		     struct pl_err *err)
{
	(void)w, (void)ret;
	if (!pl_call_cancel(call, json_object_get(call->request, "target")))
		return pl_err_set(err, PL_E_NOT_FOUND, 0,
				  "cancel: this connection has no such request "
				  "under way");
	return 0;
}

static int op_quit(struct pl_worker *w, struct pl_call *call, json_t **ret,
		   struct pl_err *err)
{
	int rc;

	(void)call, (void)ret;
	if (!w->closing && pl_front_in_use(&w->front))
		return pl_err_set(err, PL_E_BUSY, EBUSY,
				  "quit: the device is configured; use ploopd "
				  "detach");
	if (!w->closing && pl_exports_clients(w))
		return pl_err_set(err, PL_E_BUSY, EBUSY,
				  "quit: %u NBD clients are connected",
				  pl_exports_clients(w));
	rc = pl_worker_close(w, err);
	/* Runs when this call was answered. */
	pl_worker_end(w);
	return rc;
}

/* ---- dispatch ---- */

#define EXCLUSIVE 1u /* one of these at a time */
#define WRITES 2u /* not on a read-only attachment */
#define LONG 8u /* may take its time, and holds on to no layer meanwhile */
#define LOOSE 4u /* works while closing; does not hold closing up */

static const struct op {
	const char *name;
	pl_op_fn *run;
	unsigned flags;
} ops[] = {
	{ "ping", pl_op_ping, LOOSE },
	{ "info", pl_op_info, 0 },
	{ "stats", pl_op_stats, 0 },
	{ "flush", op_flush, 0 },
	{ "map", pl_op_map, 0 },
	{ "space", pl_op_space, 0 },
	{ "diff", pl_op_diff, 0 },
	{ "export", pl_op_export, 0 },
	{ "exports", pl_op_exports, 0 },
	{ "unexport", pl_op_unexport, 0 },
	{ "set", op_set, 0 },
	{ "snapshot-prepare", pl_op_snapshot_prepare, EXCLUSIVE | WRITES },
	{ "snapshot", pl_op_snapshot, EXCLUSIVE | WRITES },
	{ "resize", op_resize, EXCLUSIVE | WRITES },
	{ "compact", pl_op_compact, EXCLUSIVE | WRITES },
	{ "reclaim", pl_op_reclaim, EXCLUSIVE | WRITES },
	{ "delete", pl_op_delete, WRITES | LONG },
	{ "jobs", pl_op_jobs, 0 },
	{ "job-wait", pl_op_job_wait, LONG },
	{ "job-cancel", pl_op_job_cancel, WRITES },
	{ "cancel", op_cancel, LOOSE },
	{ "quit", op_quit, LOOSE },
};

static const struct op *find_op(const char *name)
{
	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
		if (!strcmp(ops[i].name, name))
			return &ops[i];
	return NULL;
}

static bool requests_wait(const struct pl_worker *w)
{
	struct pl_engine_stats stats;

	pl_engine_stats(w->engine, &stats);
	return stats.full > 0;
}

/* Merging waits for it before it closes a layer that has left the chain. */
static bool is_look(const struct op *op)
{
	return !(op->flags & (EXCLUSIVE | LONG | LOOSE));
}

static int begin(struct pl_worker *w, const struct op *op, struct pl_err *err)
{
	if (op->flags & LOOSE)
		return 0;
	if (w->closing)
		return pl_err_set(err, PL_E_BUSY, EBUSY,
				  w->replaced ?
					  "%s: another ploopd is taking over "
					  "the image; try again" :
					  "%s: the image is being detached",
				  op->name);
	if ((op->flags & WRITES) && w->att.read_only)
		return pl_err_set(err, PL_E_READ_ONLY, EROFS,
				  "%s: the image is attached read-only",
				  op->name);
	if ((op->flags & WRITES) && requests_wait(w))
		return pl_worker_no_room(w, op->name, err);
	if ((op->flags & EXCLUSIVE) && w->maintenance)
		return pl_err_set(err, PL_E_BUSY, EBUSY,
				  "%s: a %s of this image is under way",
				  op->name, w->maintenance);
	w->running++;
	w->looking += is_look(op);
	if (op->flags & EXCLUSIVE) {
		w->maintenance = op->name;
		pl_tidy_hold(w->tidy);
	}
	return 0;
}

static void finish(struct pl_worker *w, const struct op *op)
{
	if (op->flags & LOOSE)
		return;
	if (op->flags & EXCLUSIVE) {
		w->maintenance = NULL;
		pl_tidy_release(w->tidy);
	}
	w->looking -= is_look(op);
	w->running--;
	pl_waitq_wake_all(&w->waiting);
}

static void run_call(void *arg)
{
	struct pl_call *call = arg;
	struct pl_worker *w = call->user;
	const struct op *op = find_op(call->op);
	struct pl_err err = { 0 };
	json_t *result = NULL;
	int rc;

	if (!op) {
		pl_call_fail(call, PL_E_INVALID_ARGUMENT,
			     "there is no operation \"%.40s\"", call->op);
		return;
	}
	rc = begin(w, op, &err);
	if (rc == 0) {
		rc = op->run(w, call, &result, &err);
		finish(w, op);
	}
	if (rc < 0 && op->flags & EXCLUSIVE)
		pl_log("%s failed: %s", op->name, err.msg);
	if (rc < 0) {
		json_decref(result);
		pl_call_error(call, &err);
	} else {
		pl_call_result(call, result);
	}
}

void pl_worker_call(struct pl_call *call)
{
	if (pl_co_start(run_call, call) < 0)
		pl_call_fail(call, PL_E_NO_MEMORY, "%.40s: no memory",
			     call->op);
}
