/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's NBD exports: made by the control socket's `export`, kept in the
 * vault with their listening sockets, and so served again by the next worker.
 */
#ifndef PLOOP_PLOOPD_EXPORTS_H
#define PLOOP_PLOOPD_EXPORTS_H

#include "ploopd/control/control_ops.h"

#define PL_EXPORTS_MAX 16u
#define PL_EXPORT_NAME 255u /* bytes of a name */

/* What the vault holds from the last worker. What can't be served any more is
 * in the log. */
int pl_exports_new(struct pl_worker *w, struct pl_err *err);

/* Clients that are connected to any of them. */
unsigned pl_exports_clients(const struct pl_worker *w);

/* Takes no more clients and requests; those under way are answered, then the
 * connections end. They stay in the vault. */
void pl_exports_stop(struct pl_worker *w);

/* exports_changed.c: changed blocks as metadata contexts. */
struct pl_nbd_contexts;
void pl_exports_changed(struct pl_worker *w, struct pl_nbd_contexts *ret);

/* The operations of the control socket. */
pl_op_fn pl_op_export, pl_op_exports, pl_op_unexport;

#endif
