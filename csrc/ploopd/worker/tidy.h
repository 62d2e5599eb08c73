/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jobs of the worker: layers of deleted snapshots are merged and dropped in the
 * background, beside requests. One run serves all deletions. What is left to do
 * is in the descriptor (hidden snapshots), so that the next worker goes on.
 *
 * STATES
 *   idle --pl_tidy_start()--> running --nothing is left--> idle
 *   running --pl_tidy_hold()--> held --pl_tidy_release()--> running
 *   running --a layer is in use--> waiting --some time--> running
 *   running --error--> idle, with the error
 */
#ifndef PLOOP_PLOOPD_TIDY_H
#define PLOOP_PLOOPD_TIDY_H

#include "ploopd/control/control_ops.h"

struct pl_tidy;

int pl_tidy_new(struct pl_tidy **ret, struct pl_worker *w, struct pl_err *err);
/* Does nothing while a run is under way; it looks again before it ends. */
void pl_tidy_start(struct pl_tidy *t);
/* Stops merging at the next cluster and waits for that; nestable. */
void pl_tidy_hold(struct pl_tidy *t);
void pl_tidy_release(struct pl_tidy *t);

pl_op_fn pl_op_delete, pl_op_jobs, pl_op_job_wait, pl_op_job_cancel;

#endif
