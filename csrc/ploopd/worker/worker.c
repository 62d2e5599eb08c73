/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker: see worker.h.
 *
 * STATES
 *   opening --open_all--> serving --pl_worker_close--> closing --> (exit 0)
 *   Closing starts by the control socket's "quit", by SIGTERM while nobody has
 *   the file open, or when the file system is gone (the loop device was
 *   cleared).
 *   serving --SIGUSR2: hand_over--> closing --> (exit PL_EXIT_REPLACED)
 *   Everything else that ends a worker is a death; the keeper starts the next
 *   one in both cases.
 */
#include "ploopd/worker/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/loop.h"
#include "engine/engine.h"
#include "image/image.h"
#include "layer/layer.h"
#include "ploopd/clock.h"
#include "ploopd/confine/confine.h"
#include "ploopd/control/control.h"
#include "ploopd/exports/exports.h"
#include "ploopd/keeper/fds.h"
#include "ploopd/keeper/shared.h"
#include "ploopd/log.h"
#include "ploopd/title.h"
#include "ploopd/worker/tidy.h"
#include "ploopd/worker/trouble.h"
#include "store/store.h"

#define RING_ENTRIES 256u
#define STACKS 32u /* coroutines that never need memory */
#define FULL_RETRY_MS 500u /* a worker that finds no room to start in */
#define TABLE_BYTES (64 << 10) /* from here on, memory has pages when used */
#define HANDOVER_MS 1000u /* for requests in flight to be answered */

/* ---- closing ---- */

static void wait_idle(struct pl_worker *w)
{
	while (w->running)
		pl_waitq_wait(&w->waiting);
	while (pl_front_inflight(&w->front) || pl_exports_clients(w))
		pl_loop_sleep_ms(w->loop, 1);
}

/* What waits for the limits goes now; the next worker has them again. */
static void hurry(struct pl_worker *w)
{
	pl_engine_set_limits(w->engine, (struct pl_limits){ 0 });
}

int pl_worker_close(struct pl_worker *w, struct pl_err *err)
{
	int rc;

	if (w->closing) {
		while (!w->closed)
			pl_waitq_wait(&w->waiting);
	} else {
		w->closing = true;
		hurry(w);
		pl_waitq_wake_all(&w->waiting);
		pl_front_stop(&w->front);
		pl_exports_stop(w);
		pl_control_cancel_all(w->control);
		wait_idle(w);
		pl_engine_close(w->engine, &w->close_err);
		w->engine = NULL;
		w->closed = true;
		pl_waitq_wake_all(&w->waiting);
	}
	rc = w->close_err.code ? -EIO : 0;
	if (rc < 0 && err)
		*err = w->close_err;
	return rc;
}

/* Closes, lets the last answers out, ends the loop. */
static void close_and_stop(void *arg)
{
	struct pl_worker *w = arg;
	struct pl_err err;

	if (pl_worker_close(w, &err) < 0)
		pl_log("closing failed: %s", err.msg);
	pl_control_stop(w->control);
	pl_control_drain(w->control);
	pl_loop_stop(w->loop);
}

void pl_worker_end(struct pl_worker *w)
{
	if (pl_co_start(close_and_stop, w) < 0)
		abort(); /* the next worker tries again */
}

void pl_worker_device_gone(struct pl_worker *w)
{
	pl_log("the device is gone; closing");
	pl_worker_end(w);
}

static void leave_replaced(const struct pl_worker *w)
{
	w->shared->ended = PL_ENDED_REPLACED;
	_exit(PL_EXIT_REPLACED);
}

/*
 * Ends in favour of the next worker: answers what was taken, leaves the rest to
 * the kernel. What does not end in time ends as if killed, which loses nothing:
 * it is handed out again.
 */
static void hand_over(void *arg)
{
	struct pl_worker *w = arg;
	struct pl_err err;

	w->closing = w->replaced = true;
	hurry(w);
	pl_waitq_wake_all(&w->waiting);
	pl_front_stop(&w->front);
	pl_exports_stop(w);
	pl_control_cancel_all(w->control);
	for (unsigned ms = 0; w->running || pl_front_inflight(&w->front) ||
			      pl_exports_clients(w);
	     ms++) {
		if (ms == HANDOVER_MS) {
			pl_log("hand-over: requests under way are left to the "
			       "next worker");
			leave_replaced(w);
		}
		pl_loop_sleep_ms(w->loop, 1);
	}
	if (pl_engine_close(w->engine, &err) < 0)
		pl_log("hand-over: closing failed: %s", err.msg);
	pl_control_stop(w->control);
	pl_control_drain(w->control);
	pl_loop_release_fds(w->loop);
	leave_replaced(w);
}

static void on_signal(void *arg)
{
	struct pl_worker *w = arg;
	struct signalfd_siginfo info;

	while (read(w->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		if (w->closing)
			continue;
		if (info.ssi_signo == SIGUSR2) {
			if (pl_co_start(hand_over, w) < 0)
				leave_replaced(w);
		} else if (pl_front_in_use(&w->front) || pl_exports_clients(w))
			pl_log("SIGTERM ignored: the device is in use; use "
			       "ploopd detach %s",
			       w->att.id);
		else
			pl_worker_end(w);
	}
}

/* ---- opening ---- */

static int open_image(struct pl_worker *w, struct pl_err *err)
{
	unsigned flags = PL_IMAGE_NO_LOCK;
	struct pl_chain *chain;
	int rc;

	if (!w->att.read_only)
		flags |= PL_IMAGE_WRITE;
	if (!w->att.via)
		flags |= PL_IMAGE_CACHED;
	rc = pl_image_open(&w->image, w->dir, flags, "ploopd", err);
	if (rc < 0)
		return rc;
	if (strcmp(pl_image_desc(w->image)->id, w->att.image) != 0)
		return pl_err_set(err, PL_E_NOT_AN_IMAGE, 0,
				  "%s is another image now", w->att.directory);
	rc = pl_pending_new(&w->pending, PL_FD_PENDING, err);
	if (rc == 0)
		rc = pl_image_open_chain(
			w->image, w->att.snapshot[0] ? w->att.snapshot : NULL,
			w->att.read_only, w->pending, &chain, err);
	if (rc == 0)
		rc = pl_engine_new(&w->engine, w->loop, chain, err);
	if (rc == 0)
		pl_engine_set_on_full(w->engine,
				      (enum pl_on_full)w->shared->on_full);
	if (rc == 0)
		pl_engine_set_limits(w->engine,
				     (struct pl_limits){ w->shared->iops,
							 w->shared->bps });
	if (rc == 0)
		rc = pl_trouble_watch(w, err);
	if (rc == 0)
		rc = pl_tidy_new(&w->tidy, w, err);
	return rc;
}

static int claim_front(struct pl_worker *w, struct pl_err *err)
{
	const struct pl_via *via = w->att.via;

	return via && via->claim ? via->claim(w, &w->front.of, err) : 0;
}

static int open_front(struct pl_worker *w, struct pl_err *err)
{
	int rc = w->att.via ? w->att.via->serve(w, &w->front.of, err) : 0;

	if (rc == 0)
		w->front.via = w->att.via;
	return rc;
}

static int open_exports(struct pl_worker *w, struct pl_err *err)
{
	struct pl_control_params control = {
		.loop = w->loop,
		.listen_fd = PL_FD_CONTROL,
		.call = pl_worker_call,
		.user = w,
	};
	int rc;

	pl_attachment_name(w->att.id, w->name);
	rc = pl_control_new(&w->control, &control, err);
	if (rc == 0)
		rc = open_front(w, err);
	return rc == 0 ? pl_exports_new(w, err) : rc;
}

/* What must be there before the image is opened. */
static int open_ground(struct pl_worker *w, struct pl_err *err)
{
	static const int held[] = { PL_FD_IMAGE_LOCK, PL_FD_DRAIN };
	struct pl_shared *shared;
	bool commands = w->att.via && w->att.via->commands;
	int rc = commands ? pl_loop_new_commands(&w->loop, RING_ENTRIES, err) :
			    pl_loop_new(&w->loop, RING_ENTRIES, err);

	if (rc < 0)
		return rc;
	/* Else the threshold grows, and calloc() touches what it clears. */
	mallopt(M_MMAP_THRESHOLD, TABLE_BYTES);
	rc = pl_loop_hold_fds(w->loop, held, 2);
	if (rc < 0)
		return pl_err_sys(err, rc, "registering with io_uring");
	close(PL_FD_DRAIN);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED,
		      PL_FD_SESSION, 0);
	if (shared == MAP_FAILED)
		return pl_err_sys(err, -errno, "shared memory");
	w->shared = shared;
	if (pl_co_reserve(STACKS) < 0)
		return pl_err_sys(err, -ENOMEM, "stacks");
	return 0;
}

/*
 * The last thing before anything of the image is read: after this, what a
 * broken image makes of us reaches its own directory and nothing else.
 */
static int confine(struct pl_worker *w, struct pl_err *err)
{
	int rc = fchdir(PL_FD_IMAGE_DIR) < 0 ? -errno : 0;

	if (rc == 0)
		rc = pl_dir_open(&w->dir, ".", 0, w->loop, err);
	if (rc < 0)
		return pl_err_sys(err, rc, "%s", w->att.directory);
	/* What messages call it. */
	snprintf(w->dir->path, sizeof(w->dir->path), "%.255s",
		 w->att.directory);
	/* We are in the path of the kernel's own memory reclaim. Refused without
	 * a capability that root may lack; then it works all the same, as long
	 * as the host does not run out of memory. */
	mlockall(MCL_CURRENT | MCL_ONFAULT);
	rc = pl_confine_worker();
	return rc < 0 ? pl_err_sys(err, rc, "limiting system calls") : 0;
}

static int catch_signals(struct pl_worker *w, struct pl_err *err)
{
	struct pl_poll *poll;
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGUSR1, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, NULL);
	w->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (w->signal_fd < 0)
		return pl_err_sys(err, -errno, "signals");
	return pl_poll_new(&poll, w->loop, w->signal_fd, on_signal, w);
}

static int open_all(struct pl_worker *w, struct pl_err *err)
{
	int rc = open_ground(w, err);

	if (rc == 0)
		rc = claim_front(w, err);
	if (rc == 0)
		rc = confine(w, err);
	if (rc == 0)
		rc = open_image(w, err);
	if (rc == 0)
		rc = open_exports(w, err);
	if (rc == 0)
		rc = catch_signals(w, err);
	return rc;
}

/* ---- telling the keeper ---- */

static void say_ready(const struct pl_worker *w)
{
	dprintf(PL_FD_READY,
		"{\"ok\":true,\"size\":%llu,\"blockSize\":%u,\"pid\":%d}\n",
		(unsigned long long)pl_engine_size(w->engine),
		pl_engine_block_size(w->engine), (int)getpid());
}

void pl_worker_tell_keeper(const struct pl_worker *w)
{
	if (dprintf(PL_FD_READY, "{\"ok\":true}\n") < 0)
		pl_log("the keeper of %s is gone: state.json stays as it is",
		       w->att.id);
}

static void say_failed(const struct pl_err *err, bool log)
{
	json_t *j = json_object();
	char *line;

	json_object_set_new(j, "ok", json_false());
	json_object_set_new(j, "code", json_string(pl_code_name(err->code)));
	json_object_set_new(j, "message", json_string(err->msg));
	line = json_dumps(j, JSON_COMPACT);
	dprintf(PL_FD_READY, "%s\n", line ? line : "{}");
	free(line);
	json_decref(j);
	if (log)
		pl_log("cannot open %s: %s", pl_code_name(err->code), err->msg);
}

/*
 * Going on after a death may need room on the host. Where there is none, the
 * requests wait as they would have waited in the engine: the keeper starts the
 * next try, without counting this one as a death.
 */
static int give_up(struct pl_worker *w, const struct pl_err *err)
{
	bool again = err->code == PL_E_NO_SPACE && w->shared &&
		     (w->shared->fuse.initialised || w->shared->announced);

	say_failed(err, !again || !w->shared->full_told);
	if (!again)
		return pl_code_exit(err->code ? err->code : PL_E_INTERNAL);
	w->shared->full_told = 1;
	pl_sleep_ms(FULL_RETRY_MS);
	w->shared->ended = PL_ENDED_REPLACED;
	return PL_EXIT_REPLACED;
}

int pl_worker_main(const struct pl_attachment *att)
{
	static struct pl_worker w;
	struct pl_err err = { 0 };
	int rc;

	pl_log_init("worker");
	prctl(PR_SET_NAME, "ploopd-worker");
	w.att = *att;
	pl_title_set("worker", w.att.directory);
	rc = open_all(&w, &err);
	if (rc < 0)
		return give_up(&w, &err);
	w.shared->full_told = 0;
	say_ready(&w);
	/* Deletions that the worker before did not end. */
	if (!w.att.read_only)
		pl_tidy_start(w.tidy);
	rc = pl_loop_run(w.loop);
	if (rc < 0 || !w.closed) {
		pl_log("the event loop failed: %s", strerrorname_np(-rc));
		return pl_code_exit(PL_E_INTERNAL);
	}
	pl_image_close(w.image);
	pl_pending_free(w.pending);
	pl_loop_release_fds(w.loop);
	w.shared->ended = PL_ENDED_CLEAN;
	/* At once: the kernel frees the rest. */
	_exit(0);
}
