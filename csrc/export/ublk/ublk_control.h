/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands to /dev/ublk-control, one at a time, each with a time limit. They
 * need CAP_SYS_ADMIN; the kernel runs them in a thread of its own, so one that
 * hangs can be given up (and what it may still write to is left to it).
 */
#ifndef PLOOP_EXPORT_UBLK_UBLK_CONTROL_H
#define PLOOP_EXPORT_UBLK_UBLK_CONTROL_H

#include "base/err.h"
#include "export/ublk/ublk_wire.h"

struct pl_ublk_ctl;

#define PL_UBLK_NO_DEV UINT32_MAX /* the command is about none, or a new one */

/* fd: /dev/ublk-control, which stays the caller's. */
int pl_ublk_ctl_new(struct pl_ublk_ctl **ret, int fd, struct pl_err *err);
void pl_ublk_ctl_free(struct pl_ublk_ctl *ctl); /* accepts NULL */

struct pl_ublk_call {
	uint32_t op; /* PL_UBLK_ADD_DEV ... */
	uint32_t dev_id;
	void *buf; /* goes there and comes back; NULL = none */
	uint16_t len;
	uint64_t data;
	unsigned timeout_ms;
};

/* 0, -errno of the driver, or -ETIMEDOUT: then ctl can only be freed. */
int pl_ublk_ctl_call(struct pl_ublk_ctl *ctl, const struct pl_ublk_call *call);

/* "START_DEV" for PL_UBLK_START_DEV. */
const char *pl_ublk_ctl_name(uint32_t op);

#endif
