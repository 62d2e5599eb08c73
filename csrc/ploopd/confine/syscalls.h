/* SPDX-License-Identifier: Apache-2.0 */
/* The system calls that a keeper and a worker may make once they serve. */
#ifndef PLOOP_PLOOPD_SYSCALLS_H
#define PLOOP_PLOOPD_SYSCALLS_H

enum pl_syscalls {
	PL_SYSCALLS_KEEPER, /* and of the workers that it starts */
	PL_SYSCALLS_WORKER,
};

/*
 * For this process and its children, for ever: a call that is not on the list
 * of syscalls.c kills the process (SIGSYS). Needs no_new_privs. A second call
 * can only narrow. 0 or -errno.
 */
int pl_syscalls_limit(enum pl_syscalls whose);

#endif
