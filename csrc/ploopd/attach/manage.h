/* SPDX-License-Identifier: Apache-2.0 */
/* Commands on an attachment that go through its keeper. */
#ifndef PLOOP_PLOOPD_MANAGE_H
#define PLOOP_PLOOPD_MANAGE_H

#include <stdbool.h>

struct pl_attachment;
struct pl_failure;
struct pl_state;

/* "recover" or "upgrade"; prints one line of JSON; the exit status. */
int pl_manage_main(const char *command, const char *id, const char *run_dir,
		   unsigned timeout_ms);

/*
 * A worker that was started without TLS, and cannot load it where it is, hands
 * over to one that has it: as in upgrade. 0 or -errno, and *f says why.
 */
int pl_manage_add_tls(const struct pl_attachment *att, unsigned timeout_ms,
		      struct pl_failure *f);

/* The keeper that state.json names is there. */
bool pl_keeper_alive(const struct pl_state *st);

#endif
