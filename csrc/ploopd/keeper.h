/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper: holds what must outlive the worker (the /dev/fuse descriptor,
 * the control socket, shared memory, the locks), starts a new worker when one
 * dies, and does nothing else.
 *
 * LAUNCH SOCKET (SOCK_SEQPACKET between launcher and keeper), one byte and text:
 *   keeper -> launcher  'R' + the worker's ready line, 'A' = state.json written
 *   launcher -> keeper  'D' + "<device> <devno>" ("" without a loop device)
 * End of file before 'D': the launch failed, everything is taken down.
 */
#ifndef PLOOP_PLOOPD_KEEPER_H
#define PLOOP_PLOOPD_KEEPER_H

#include "ploopd/attachment.h"

/* What a running keeper hands to a newer program: descriptors, shared memory,
 * arguments of "ploopd keeper", state.json. */
#define PL_HANDOVER 2

struct pl_keeper_fds {
	int fuse, control, pending, session, image_lock, keeper_lock;
	int vault_in, vault_out;
	int launch;
};

#define PL_READY_MAX 2048 /* bytes of a ready line */

/* Runs in a fresh child of the launcher; never returns. */
void pl_keeper_main(const struct pl_attachment *att,
		    const struct pl_keeper_fds *fds) __attribute__((noreturn));

/* "ploopd keeper": a keeper goes on in this program. See handover.c. */
int pl_keeper_resume(int argc, char **argv);

/*
 * The keeper of a worker that lost its own, in a fresh child; never returns.
 * It has taken over when state.json names it; it exits when it can't.
 */
void pl_keeper_adopt(const struct pl_attachment *att) __attribute__((noreturn));

#endif
