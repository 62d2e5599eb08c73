/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The descriptors a worker is born with. The numbers are an interface between
 * program versions: a new keeper takes them from the one before or its worker.
 */
#ifndef PLOOP_PLOOPD_FDS_H
#define PLOOP_PLOOPD_FDS_H

#include <stdbool.h>
#include <sys/socket.h>

#include "base/err.h"

enum pl_fd {
	PL_FD_DEVICE = 3, /* of the device: see via.h; /dev/null = none */
	PL_FD_CONTROL, /* listening unix socket, O_NONBLOCK */
	PL_FD_PENDING, /* memfd of PL_PENDING_SIZE */
	PL_FD_SESSION, /* memfd of struct pl_fuse_session */
	PL_FD_IMAGE_LOCK, /* holds the image's lock */
	PL_FD_KEEPER_LOCK, /* keeper.pid: one of us lives */
	PL_FD_VAULT_IN, /* socket pair; what is sent into it ... */
	PL_FD_VAULT_OUT, /* ... waits here: see vault.h */
	PL_FD_IMAGE_DIR, /* the image's directory, and nothing above it */
	PL_FD_READY, /* the worker says here how its start went */
	PL_FD_DRAIN, /* closed when the worker's last I/O has ended */
	PL_FD_END
};
#define PL_FD_COUNT (PL_FD_END - PL_FD_DEVICE)
/* Those that outlive workers; a keeper has them under the same numbers, and the
 * next keeper duplicates them. */
#define PL_FD_KEPT (PL_FD_READY - PL_FD_DEVICE)

/* In a fresh child: puts from[i] at PL_FD_DEVICE + i, closes everything else
 * above stderr. -errno when a number can't be had. */
int pl_fds_install(const int from[PL_FD_COUNT]);

/* ---- descriptors that go with a message on a unix socket ---- */

#define PL_FDS_SENT 2u /* at most */

union pl_fds_control {
	struct cmsghdr align;
	char buf[CMSG_SPACE(sizeof(int) * PL_FDS_SENT)];
};

/* They go with msg, duplicated, up to the first that is -1. */
void pl_fds_pack(struct msghdr *msg, union pl_fds_control *control,
		 const int fds[PL_FDS_SENT]);

/*
 * What came with msg, -1 for what did not; the caller's from now on. False, and
 * fds untouched: nothing came.
 */
bool pl_fds_unpack(struct msghdr *msg, int fds[PL_FDS_SENT]);

/* A memfd of `size` zero bytes, close-on-exec. */
int pl_fds_memory(const char *name, unsigned long size, struct pl_err *err);

#endif
