/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots of an attached image: two operations of the control socket. */
#ifndef PLOOP_PLOOPD_SNAPSHOT_H
#define PLOOP_PLOOPD_SNAPSHOT_H

#include "ploopd/control/control_ops.h"

pl_op_fn pl_op_snapshot_prepare, pl_op_snapshot;

/* What an operation answers while requests wait for room on the host. */
int pl_worker_no_room(const struct pl_worker *w, const char *op,
		      struct pl_err *err);

#endif
