/* SPDX-License-Identifier: Apache-2.0 */
/* One operation of the control socket, inside a coroutine of its own. */
#ifndef PLOOP_PLOOPD_CONTROL_OPS_H
#define PLOOP_PLOOPD_CONTROL_OPS_H

#include "ploopd/control/control.h"
#include "ploopd/worker/worker.h"

/* 0 with the result in *ret (NULL = {}), or negative with err set. */
typedef int pl_op_fn(struct pl_worker *w, struct pl_call *call, json_t **ret,
		     struct pl_err *err);

/* control_look.c */
pl_op_fn pl_op_ping, pl_op_info, pl_op_stats, pl_op_map;
/* control_space.c */
pl_op_fn pl_op_space;
/* control_compact.c */
pl_op_fn pl_op_compact, pl_op_reclaim;
/* control_diff.c */
pl_op_fn pl_op_diff;

/* Members of the request; absent or null gives the fallback or NULL. */
int pl_call_get_number(struct pl_call *call, const char *name,
		       uint64_t fallback, uint64_t *ret, struct pl_err *err);
int pl_call_get_text(struct pl_call *call, const char *name, size_t max_bytes,
		     const char **ret, struct pl_err *err);
/* Members of the result; an empty text is null. */
void pl_call_set_number(json_t *object, const char *name, uint64_t value);
void pl_call_set_limits(json_t *object, struct pl_limits limits);
void pl_call_set_text(json_t *object, const char *name, const char *value);

#endif
