/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper's own: what keeper.c and handover.c share. */
#ifndef PLOOP_PLOOPD_KEEPER_INT_H
#define PLOOP_PLOOPD_KEEPER_INT_H

#include "ploopd/keeper/keeper.h"
#include "ploopd/state.h"

struct pl_shared;

#define DEATHS 5
#define DEATHS_MS 10000

struct keeper {
	struct pl_attachment *att; /* folder: relative, once it is prepared */
	struct pl_keeper_fds fd;
	struct pl_state st;
	struct pl_shared *shared;
	int signal_fd, pidfd, ready_fd, drain_fd; /* -1 = none */
	int admin_fd; /* of the device: see via.h; -1 = none */
	bool was_ready; /* some worker was */
	bool told; /* this worker's first line was read */
	bool failed; /* it said why it can't start */
	bool announced; /* the launcher told us the device */
	bool adopted; /* this worker is not our child */
	bool leaving; /* SIGUSR2: the next keeper is waiting */
	bool replaced; /* the last worker ended for the next one */
	uint64_t handover_ms; /* when the hand-over began; 0 = none is on */
	uint64_t death_ms[DEATHS]; /* a ring */
	unsigned deaths;
	char ready[PL_READY_MAX];
	size_t ready_len;
};

/* ---- keeper.c ---- */

void keeper_save(struct keeper *k, const char *state);
int keeper_start_worker(struct keeper *k);
void keeper_serve(struct keeper *k) __attribute__((noreturn));
void keeper_finish(struct keeper *k, int status) __attribute__((noreturn));

/* ---- keeper_own.c ---- */

/* Session, descriptors, signals, memory, and giving up the rest; -errno. */
int keeper_prepare(struct keeper *k);

#endif
