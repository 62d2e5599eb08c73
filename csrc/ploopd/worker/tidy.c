/* SPDX-License-Identifier: Apache-2.0 */
/* Merging what deleted snapshots leave, in the background: see tidy.h. */
#include "ploopd/worker/tidy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/loop.h"
#include "engine/engine.h"
#include "image/image.h"
#include "ploopd/keeper/shared.h"
#include "ploopd/log.h"

#define CANCELLED_MAX 1024u
#define WAIT_MS 100u
#define WAIT_TURNS 10u /* before what is in use is tried again */
#define PACE_NS 5000000u /* shorter waits are saved up */

struct pl_tidy {
	struct pl_worker *w;
	bool running, working, again;
	unsigned held;
	uint64_t done, total; /* bytes of the merge under way */
	uint64_t next_ns; /* when the rate allows the next byte */
	struct pl_err err; /* of the last run; code 0 = none */
	bool waiting; /* for whoever uses a layer */
	char cancelled[CANCELLED_MAX][PL_ID_LEN + 1];
	unsigned n_cancelled;
	struct pl_waitq changed;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

int pl_tidy_new(struct pl_tidy **ret, struct pl_worker *w, struct pl_err *err)
{
	*ret = calloc(1, sizeof(**ret));
	if (!*ret)
		return pl_err_sys(err, -ENOMEM, "jobs");
	(*ret)->w = w;
	return 0;
}

/* ---- which ---- */

static bool is_cancelled(const struct pl_tidy *t, const char *id)
{
	for (unsigned i = 0; i < t->n_cancelled; i++)
		if (!strcmp(t->cancelled[i], id))
			return true;
	return false;
}

static void forget_cancelled(struct pl_tidy *t, const char *id)
{
	for (unsigned i = 0; i < t->n_cancelled; i++)
		if (!strcmp(t->cancelled[i], id))
			memcpy(t->cancelled[i--],
			       t->cancelled[--t->n_cancelled],
			       sizeof(t->cancelled[0]));
}

static bool wanted(void *arg, const char *snapshot_id)
{
	return !is_cancelled(arg, snapshot_id);
}

static const struct pl_image_snapshot *hidden(const struct pl_tidy *t,
					      const char *id)
{
	const struct pl_image_desc *d = pl_image_desc(t->w->image);

	for (unsigned i = 0; i < d->n_snapshots; i++)
		if (d->snapshots[i].hidden && !strcmp(d->snapshots[i].id, id))
			return &d->snapshots[i];
	return NULL;
}

static bool anything_to_do(const struct pl_tidy *t)
{
	const struct pl_image_desc *d = pl_image_desc(t->w->image);

	for (unsigned i = 0; i < d->n_snapshots; i++)
		if (d->snapshots[i].hidden &&
		    !is_cancelled(t, d->snapshots[i].id) &&
		    pl_image_untidy(t->w->image, d->snapshots[i].id))
			return true;
	return false;
}

/* ---- a run ---- */

static bool on_progress(void *arg, uint64_t done, uint64_t total)
{
	struct pl_tidy *t = arg;

	t->done = done;
	t->total = total;
	pl_waitq_wake_all(&t->changed);
	return !t->held && !t->again && !t->w->closing;
}

static void pace(void *arg, uint64_t bytes)
{
	struct pl_tidy *t = arg;
	uint64_t rate = (uint64_t)t->w->shared->tidy_rate_kib << 10;
	uint64_t now = now_ns();

	if (!rate)
		return;
	if (t->next_ns < now)
		t->next_ns = now;
	t->next_ns += (uint64_t)((double)bytes * 1e9 / (double)rate);
	while (t->next_ns > now + PACE_NS && !t->held && !t->w->closing) {
		uint64_t ms = (t->next_ns - now) / 1000000;

		pl_loop_sleep_ms(t->w->loop,
				 (unsigned)(ms < WAIT_MS ? ms : WAIT_MS));
		now = now_ns();
	}
}

static int pause_requests(void *arg)
{
	struct pl_tidy *t = arg;

	return pl_engine_pause(t->w->engine);
}

static void resume_requests(void *arg)
{
	struct pl_tidy *t = arg;

	pl_engine_resume(t->w->engine);
}

/* Operations that look may hold a layer that has left the chain. */
static void settle(void *arg)
{
	struct pl_tidy *t = arg;

	while (t->w->looking)
		pl_waitq_wait(&t->w->waiting);
}

static int tidy_once(struct pl_tidy *t)
{
	struct pl_image_live live = {
		.chain = pl_engine_chain(t->w->engine),
		.pause = pause_requests,
		.resume = resume_requests,
		.settle = settle,
		.arg = t,
	};
	struct pl_image_work work = { .progress = on_progress,
				      .pace = pace,
				      .wanted = wanted,
				      .arg = t };
	int rc;

	t->working = true;
	t->again = false;
	rc = pl_image_tidy(t->w->image, &live, &work, &t->err);
	t->working = false;
	t->done = t->total = 0;
	pl_waitq_wake_all(&t->changed);
	if (rc == -ESTALE) {
		/* Committed, but this chain can't follow. The next can. */
		pl_log("merge: %s; starting over", t->err.msg);
		_exit(pl_code_exit(PL_E_INTERNAL));
	}
	return rc;
}

/*
 * A merged layer lost its block checksums with the first change. They come back
 * here; what is stopped or killed meanwhile is made up for after the next merge,
 * or by ploop check --add-checksums.
 */
static void sum_merged(struct pl_tidy *t)
{
	struct pl_image_work work = { .progress = on_progress,
				      .pace = pace,
				      .arg = t };
	struct pl_err err = { 0 };
	unsigned added;
	int rc;

	do {
		while (t->held && !t->w->closing)
			pl_waitq_wait(&t->w->waiting);
		if (t->w->closing)
			return;
		t->working = true;
		rc = pl_image_sum_beside(t->w->image, &work, &added, &err);
		t->working = false;
		t->done = t->total = 0;
		pl_waitq_wake_all(&t->changed);
	} while (rc < 0 && err.code == PL_E_INTERRUPTED && !t->again);
	if (rc < 0 && err.code != PL_E_INTERRUPTED)
		pl_log("block checksums: %s", err.msg);
}

static void wait_for_users(struct pl_tidy *t)
{
	t->waiting = true;
	for (unsigned i = 0; i < WAIT_TURNS && !t->w->closing && !t->again;
	     i++) {
		pl_loop_sleep_ms(t->w->loop, WAIT_MS);
		pl_waitq_wake_all(&t->changed);
	}
	t->waiting = false;
}

static void run(void *arg)
{
	struct pl_tidy *t = arg;
	struct pl_worker *w = t->w;
	int rc = 0;

	while (!w->closing && anything_to_do(t)) {
		while ((t->held || w->summing) && !w->closing)
			pl_waitq_wait(&w->waiting);
		if (w->closing)
			break;
		t->err.code = 0;
		rc = tidy_once(t);
		if (rc == 0)
			sum_merged(t);
		if (rc == -EBUSY)
			wait_for_users(t);
		else if (rc < 0 && t->err.code != PL_E_INTERRUPTED)
			pl_log("merge failed: %s", t->err.msg);
		/* Done: what is still there is shared with clones. */
		if (rc != -EBUSY && !t->again &&
		    (rc == 0 || t->err.code != PL_E_INTERRUPTED))
			break;
	}
	t->running = false;
	w->running--;
	pl_waitq_wake_all(&t->changed);
	pl_waitq_wake_all(&w->waiting);
}

void pl_tidy_start(struct pl_tidy *t)
{
	t->again = true;
	t->err.code = 0;
	if (t->running || t->w->closing || !anything_to_do(t))
		return;
	t->running = true;
	t->w->running++;
	if (pl_co_start(run, t) < 0) {
		t->running = false;
		t->w->running--;
	}
}

void pl_tidy_hold(struct pl_tidy *t)
{
	t->held++;
	while (t->working)
		pl_waitq_wait(&t->changed);
}

void pl_tidy_release(struct pl_tidy *t)
{
	t->held--;
	pl_waitq_wake_all(&t->w->waiting);
}

/* ---- operations ---- */

static const char *state_of(const struct pl_tidy *t, const char *id)
{
	if (is_cancelled(t, id))
		return "stopped";
	if (!pl_image_untidy(t->w->image, id))
		return "kept";
	if (!t->running)
		return t->err.code ? "failed" : "kept";
	return t->waiting ? "waiting" : "running";
}

static json_t *describe(const struct pl_tidy *t,
			const struct pl_image_snapshot *s)
{
	const char *state = state_of(t, s->id);
	bool running = !strcmp(state, "running");
	/* What is kept or was stopped has no part in the run, nor in its error. */
	bool error = t->err.code &&
		     (!strcmp(state, "failed") || !strcmp(state, "waiting"));
	json_t *j = json_object();

	pl_call_set_text(j, "id", s->id);
	pl_call_set_text(j, "kind", "delete");
	pl_call_set_text(j, "name", s->name);
	pl_call_set_text(j, "state", state);
	pl_call_set_number(j, "done", running ? t->done : 0);
	pl_call_set_number(j, "total", running ? t->total : 0);
	pl_call_set_number(j, "rate",
			   (uint64_t)t->w->shared->tidy_rate_kib << 10);
	pl_call_set_text(j, "error", error ? t->err.msg : "");
	return j;
}

int pl_op_jobs(struct pl_worker *w, struct pl_call *call, json_t **ret,
	       struct pl_err *err)
{
	const struct pl_image_desc *d = pl_image_desc(w->image);
	json_t *list = json_array();

	(void)call, (void)err;
	for (unsigned i = 0; i < d->n_snapshots; i++)
		if (d->snapshots[i].hidden)
			json_array_append_new(list, describe(w->tidy,
							     &d->snapshots[i]));
	*ret = json_object();
	json_object_set_new(*ret, "jobs", list);
	return 0;
}

static int interrupted(struct pl_err *err, const char *id)
{
	return pl_err_set(
		err, PL_E_INTERRUPTED, ECANCELED,
		"the deletion of %s was stopped; nothing is lost, and "
		"the same command goes on where it was",
		id);
}

/* Until the snapshot is gone, or stays for a reason. */
static int wait_gone(struct pl_worker *w, struct pl_call *call, const char *id,
		     json_t **ret, struct pl_err *err)
{
	struct pl_tidy *t = w->tidy;
	bool kept = false;

	while (hidden(t, id)) {
		if (w->closing || is_cancelled(t, id))
			return interrupted(err, id);
		kept = !pl_image_untidy(w->image, id) ||
		       (!t->running && !t->err.code);
		if (kept)
			break;
		if (!t->running) {
			*err = t->err;
			return -EIO;
		}
		if (call->cancelled)
			return -ECANCELED;
		if (t->total)
			pl_call_progress(call, t->done, t->total);
		pl_waitq_wait(&t->changed);
	}
	*ret = json_object();
	pl_call_set_text(*ret, "id", id);
	json_object_set_new(*ret, "done", json_true());
	json_object_set_new(*ret, "kept", json_boolean(kept));
	return 0;
}

static void cancel(struct pl_tidy *t, const char *id)
{
	if (!is_cancelled(t, id) && t->n_cancelled < CANCELLED_MAX)
		memcpy(t->cancelled[t->n_cancelled++], id,
		       sizeof(t->cancelled[0]));
	t->again = true; /* the run looks what is left to do */
	pl_waitq_wake_all(&t->changed);
}

static int hide(struct pl_worker *w, const char *key, char *id,
		struct pl_err *err)
{
	int rc;

	/* One change of the tree at a time. */
	while (w->maintenance && !strcmp(w->maintenance, "delete"))
		pl_waitq_wait(&w->waiting);
	if (w->maintenance)
		return pl_err_set(err, PL_E_BUSY, EBUSY,
				  "delete: a %s of this image is under way",
				  w->maintenance);
	w->maintenance = "delete";
	pl_tidy_hold(w->tidy);
	rc = pl_image_hide(w->image, key, id, err);
	w->maintenance = NULL;
	pl_tidy_release(w->tidy);
	if (rc == -ESTALE) {
		pl_log("delete: %s; starting over", err->msg);
		_exit(pl_code_exit(PL_E_INTERNAL));
	}
	return rc;
}

/* Without one that of the merges under way stays: who asks may not know it. */
static void set_rate(struct pl_worker *w, uint64_t rate, uint64_t same)
{
	uint64_t kib = rate / 1024 + (rate % 1024 != 0);

	if (rate == same && w->tidy->running)
		return;
	if (rate == same)
		kib = 0;
	w->shared->tidy_rate_kib = kib > UINT32_MAX ? UINT32_MAX :
						      (uint32_t)kib;
}

int pl_op_delete(struct pl_worker *w, struct pl_call *call, json_t **ret,
		 struct pl_err *err)
{
	char id[PL_ID_LEN + 1];
	const char *key;
	uint64_t rate, same = UINT64_MAX;
	int rc;

	if (pl_call_get_text(call, "snapshot", 127, &key, err) < 0 ||
	    pl_call_get_number(call, "rate", same, &rate, err) < 0)
		return -EINVAL;
	if (!key)
		return pl_err_set(err, PL_E_INVALID_ARGUMENT, 0,
				  "delete: snapshot: must be given");
	rc = hide(w, key, id, err);
	if (rc < 0)
		return rc;
	set_rate(w, rate, same);
	forget_cancelled(w->tidy, id);
	pl_tidy_start(w->tidy);
	if (json_is_true(json_object_get(call->request, "background"))) {
		*ret = json_object();
		pl_call_set_text(*ret, "id", id);
		json_object_set_new(*ret, "done",
				    json_boolean(!hidden(w->tidy, id)));
		json_object_set_new(
			*ret, "kept",
			json_boolean(!pl_image_untidy(w->image, id)));
		return 0;
	}
	rc = wait_gone(w, call, id, ret, err);
	if (rc == -ECANCELED) {
		cancel(w->tidy, id);
		return interrupted(err, id);
	}
	return rc;
}

static int get_job(struct pl_worker *w, struct pl_call *call, char *id,
		   struct pl_err *err)
{
	const char *given;

	if (pl_call_get_text(call, "job", PL_ID_LEN, &given, err) < 0)
		return -EINVAL;
	if (!given || !hidden(w->tidy, given))
		return pl_err_set(err, PL_E_NOT_FOUND, 0,
				  "%s: there is no job %s; it may have ended",
				  call->op, given ? given : "without an id");
	memcpy(id, given, PL_ID_LEN + 1);
	return 0;
}

int pl_op_job_wait(struct pl_worker *w, struct pl_call *call, json_t **ret,
		   struct pl_err *err)
{
	char id[PL_ID_LEN + 1];
	int rc = get_job(w, call, id, err);

	if (rc == 0)
		rc = wait_gone(w, call, id, ret, err);
	return rc == -ECANCELED ? interrupted(err, id) : rc;
}

int pl_op_job_cancel(struct pl_worker *w, struct pl_call *call, json_t **ret,
		     struct pl_err *err)
{
	char id[PL_ID_LEN + 1];
	int rc = get_job(w, call, id, err);

	if (rc < 0)
		return rc;
	cancel(w->tidy, id);
	*ret = json_object();
	pl_call_set_text(*ret, "id", id);
	return 0;
}
