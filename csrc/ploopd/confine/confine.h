/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What keeper and worker give up before they serve (docs/guarantees.md, "What
 * a broken image can reach"): the host's files, capabilities, system calls.
 * Not in builds with sanitizers or coverage (PL_NO_CONFINEMENT), which need
 * files and calls of their own; there every function succeeds.
 */
#ifndef PLOOP_PLOOPD_CONFINE_H
#define PLOOP_PLOOPD_CONFINE_H

#include <stdbool.h>

#include "ploopd/confine/syscalls.h"

/*
 * A descriptor of a directory as the root of a mount of its own, so that ".."
 * does not lead out of it; of the plain one where the kernel refuses that.
 */
int pl_confine_directory(const char *path);

/*
 * A mount namespace of our own with nothing in it but an empty root, where we
 * are afterwards; `place` is any directory. -errno: nothing has changed.
 */
int pl_confine_root(const char *place);

/*
 * Capabilities but those that serving needs, the way back to them, and system
 * calls; 0 or -errno. admin: the keeper keeps CAP_SYS_ADMIN, and its workers
 * give it up.
 */
int pl_confine_keeper(bool admin);
int pl_confine_worker(void);

/* A worker of such a keeper gives it up before that. */
int pl_confine_give_up_admin(void);

#endif
