/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One virtual disk as the one file of a FUSE file system, spoken over a
 * /dev/fuse descriptor that outlives this process: whoever holds it keeps the
 * file system alive, and the next server goes on where this one ended.
 */
#ifndef PLOOP_EXPORT_FUSE_FUSE_EXPORT_H
#define PLOOP_EXPORT_FUSE_FUSE_EXPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct pl_engine;
struct pl_loop;
struct pl_fuse;

#define PL_FUSE_SLOTS 320u /* requests in flight; the kernel sends ~ 256 */
#define PL_FUSE_HANDLES 64u

/*
 * What the next server must know; lives in memory that survives this one
 * (zero-filled at first). Every update is one aligned store, so that a kill
 * between two instructions leaves it usable.
 */
struct pl_fuse_session {
	uint32_t initialised; /* INIT was answered, or is about to be */
	uint32_t minor; /* of the kernel's protocol */
	uint64_t flags; /* agreed on */
	uint64_t handles[PL_FUSE_HANDLES]; /* open files; 0 = free */
	uint64_t inflight[PL_FUSE_SLOTS]; /* `unique`s; 0 = free */
};

/* The functions that look at a fuse export or stop it accept NULL: none. */
struct pl_fuse_params {
	struct pl_loop *loop;
	struct pl_engine *engine;
	int fd; /* /dev/fuse, mounted, O_NONBLOCK; stays the caller's */
	struct pl_fuse_session *session;
	const char *name; /* of the file; "disk" works as well */
	size_t max_memory; /* bytes of request buffers */
	/* The file system is gone (unmounted, last user closed it). */
	void (*gone)(void *arg);
	/* Something worth a line in the log. */
	void (*note)(void *arg, const char *text);
	void *arg;
};

/*
 * Starts to serve. With a session that was initialised before, asks the kernel
 * to hand out again what the last server did not answer.
 */
int pl_fuse_new(struct pl_fuse **ret, const struct pl_fuse_params *params,
		struct pl_err *err);

/* Somebody (the loop device) has the file open. */
bool pl_fuse_in_use(const struct pl_fuse *fuse);

/* Requests taken and not yet answered. */
unsigned pl_fuse_inflight(const struct pl_fuse *fuse);

/*
 * The disk has grown: tells the kernel, which keeps the size it knew. 0, or
 * -ENOENT while nobody has the file open.
 */
int pl_fuse_grown(struct pl_fuse *fuse);

/* Takes no more requests; those in flight are still answered. */
void pl_fuse_stop(struct pl_fuse *fuse);

/* After pl_fuse_stop() and with nothing in flight. Accepts NULL. */
void pl_fuse_free(struct pl_fuse *fuse);

#endif
