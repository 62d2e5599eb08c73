/* SPDX-License-Identifier: Apache-2.0 */
/* What ublkdev.c and ublkstop.c share: control commands, and their errors. */
#ifndef PLOOP_PLOOPD_DEVICE_UBLKDEV_INT_H
#define PLOOP_PLOOPD_DEVICE_UBLKDEV_INT_H

#include "ploopd/device/ublkdev.h"

struct pl_ublkdev_control {
	int fd;
	struct pl_ublk_ctl *ctl;
};

int pl_ublkdev_control(struct pl_ublkdev_control *c, struct pl_failure *f);
void pl_ublkdev_done(struct pl_ublkdev_control *c);

int pl_ublkdev_get_info(struct pl_ublkdev_control *c, uint32_t id,
			struct pl_ublk_dev_info *ret);

/* "ublk device 3: STOP_DEV: EINVAL"; returns rc. */
int pl_ublkdev_error(struct pl_failure *f, uint32_t op, uint32_t id, int rc);

#endif
