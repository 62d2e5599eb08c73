/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker: one image's chain, engine and exports in one event loop. It may
 * be killed at any instant; the next one goes on with what the keeper holds.
 */
#ifndef PLOOP_PLOOPD_WORKER_H
#define PLOOP_PLOOPD_WORKER_H

#include "base/co.h"
#include "ploopd/attachment.h"
#include "ploopd/device/via.h"

struct pl_chain;
struct pl_control;
struct pl_dir;
struct pl_engine;
struct pl_exports;
struct pl_shared;
struct pl_loop;
struct pl_pending;
struct pl_tidy;
struct pl_call;

struct pl_worker {
	struct pl_attachment att;
	char name[PL_LOOP_NAME]; /* of the fuse file */
	struct pl_loop *loop;
	struct pl_dir *dir;
	struct pl_image *image;
	struct pl_pending *pending;
	struct pl_engine *engine;
	struct pl_front front; /* of the device, if there is one */
	struct pl_exports *exports;
	struct pl_control *control;
	struct pl_shared *shared;
	int signal_fd;
	unsigned running; /* operations that use image or engine */
	unsigned looking; /* of these, those that may hold on to layers */
	unsigned summing; /* jobs on layers that were just sealed */
	struct pl_tidy *tidy; /* merges after deletions */
	struct pl_trouble *trouble; /* failures that are in the log */
	const char *maintenance; /* the one that excludes others, or NULL */
	bool closing, closed;
	bool replaced; /* closing, for the next worker */
	struct pl_err close_err;
	struct pl_waitq waiting; /* for closed, or for operations to end */
};

/* Exit status: the next worker is wanted; nothing has gone wrong. */
#define PL_EXIT_REPLACED 90
/* So it is, and the device needs a new connection first (via.h, renew). */
#define PL_EXIT_DROPPED 91

/* In a fork of the keeper, with the descriptors of fds.h; the exit status. */
int pl_worker_main(const struct pl_attachment *att);

/*
 * Inside a coroutine: ends the export, waits for what is under way and closes
 * the chain cleanly. Callers after the first wait and get the same result.
 */
int pl_worker_close(struct pl_worker *w, struct pl_err *err);

/* A front: the device is gone. Closes and ends. */
void pl_worker_device_gone(struct pl_worker *w);

/* What state.json shows has changed. */
void pl_worker_tell_keeper(const struct pl_worker *w);

/* Closes (if need be), lets the last answers out and ends the process. */
void pl_worker_end(struct pl_worker *w);

/* control_ops.c: one request of the control socket; user = the worker. */
void pl_worker_call(struct pl_call *call);

#endif
