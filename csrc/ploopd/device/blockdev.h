/* SPDX-License-Identifier: Apache-2.0 */
/* Block devices of any kind, from outside: none of this opens one. */
#ifndef PLOOP_PLOOPD_DEVICE_BLOCKDEV_H
#define PLOOP_PLOOPD_DEVICE_BLOCKDEV_H

#include <stdbool.h>
#include <stddef.h>

#include "ploopd/attachment.h"

/* The first line of /sys/block/<device>/<what>: 0 or -errno. */
int pl_blockdev_read(const char *device, const char *what, char *buf,
		     size_t size);

/* Path and number of "loop3"; an empty number when there is no such device. */
void pl_blockdev_describe(const char *device, struct pl_blockdev *ret);

/*
 * The device whose name in /sys/block begins with `kind` and that is_ours()
 * takes for the one of this name (pl_attachment_name). false: there is none.
 */
bool pl_blockdev_find(const char *kind, const char *name,
		      bool (*is_ours)(const char *device, const char *name),
		      struct pl_blockdev *ret);

/* MOUNTED, and how to find its users; returns -EBUSY. */
int pl_blockdev_in_use(const struct pl_blockdev *dev, struct pl_failure *f);

#endif
