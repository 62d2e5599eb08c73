/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper: holds what must outlive the worker (the device's descriptor,
 * the control socket, shared memory, the locks), starts a new worker when one
 * dies, and does nothing else. It reaches nothing but its run directory and the
 * image's (confine.h), and executes no program: a worker is a fork of it.
 *
 * LAUNCH SOCKET (SOCK_SEQPACKET between launcher and keeper), one byte and text:
 *   keeper -> launcher  'R' + the worker's ready line, 'A' = state.json written
 *   launcher -> keeper  'D' + "<device> <devno>" ("" without a device)
 * End of file before 'D': the launch failed, everything is taken down.
 */
#ifndef PLOOP_PLOOPD_KEEPER_H
#define PLOOP_PLOOPD_KEEPER_H

#include "ploopd/attachment.h"

/* What a keeper leaves to the next: descriptors, shared memory, state.json. */
#define PL_HANDOVER 3

struct pl_keeper_fds {
	int device, control, pending, session, image_lock, keeper_lock;
	int vault_in, vault_out, image_dir;
	int launch;
};

#define PL_READY_MAX 2048 /* bytes of a ready line */

/* Runs in a fresh child of the launcher; never returns. */
void pl_keeper_main(struct pl_attachment *att, const struct pl_keeper_fds *fds)
	__attribute__((noreturn));

/*
 * The next keeper, in a fresh child; never returns. Takes over from one that
 * was killed, or asks the one that serves to leave. With `renew` the worker is
 * replaced, too. It has taken over when state.json names it; it exits with an
 * errno when it can't, and then nothing has changed.
 */
void pl_keeper_adopt(struct pl_attachment *att, bool renew)
	__attribute__((noreturn));

#endif
