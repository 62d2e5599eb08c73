/* SPDX-License-Identifier: Apache-2.0 */
/* Commands on an attachment that go through its keeper. */
#ifndef PLOOP_PLOOPD_MANAGE_H
#define PLOOP_PLOOPD_MANAGE_H

#include <stdbool.h>

struct pl_state;

/* "recover" or "upgrade"; prints one line of JSON; the exit status. */
int pl_manage_main(const char *command, const char *id, const char *run_dir,
		   unsigned timeout_ms);

/* The keeper that state.json names is there. */
bool pl_keeper_alive(const struct pl_state *st);

#endif
