/* SPDX-License-Identifier: Apache-2.0 */
/* state.json of an attachment: written by the keeper, read by everybody. */
#ifndef PLOOP_PLOOPD_STATE_H
#define PLOOP_PLOOPD_STATE_H

#include "ploopd/attachment.h"

struct pl_state {
	const char *state; /* "starting", "running", ... */
	char since_state[32]; /* when it became so */
	int keeper, worker; /* process ids */
	unsigned restarts; /* after deaths */
	unsigned handovers; /* after which a new worker was asked for */
	unsigned handover_ms; /* how long the last one took */
	unsigned handover; /* PL_HANDOVER of the keeper */
	bool on_full_error;
	struct pl_limits limits;
	char device[32], devno[16]; /* "" = none (yet) */
	char since[32]; /* ISO 8601, UTC */
	char last_error[480]; /* "" = none */
	char directory[PATH_MAX]; /* when read */
	bool read_only; /* when read */
	char via[16]; /* when read: of its device; "" = none */
};

/*
 * Replaces <folder>/state.json atomically. Needs no memory but the stack:
 * the keeper calls it when memory is short.
 */
int pl_state_write(const struct pl_attachment *att, const struct pl_state *st);

/*
 * What a holder's state.json says; members it lacks are empty or 0. `state` is
 * one of the words above, or "".
 */
int pl_state_read(const char *folder, struct pl_state *ret);

/* The time now, as `since`. */
void pl_state_now(char since[32]);

#endif
