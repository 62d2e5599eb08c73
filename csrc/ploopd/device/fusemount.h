/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mount of the fuse file system. It is never put anywhere in the file
 * tree (fsmount): whoever has a file of it open, the loop device, keeps it.
 */
#ifndef PLOOP_PLOOPD_DEVICE_FUSEMOUNT_H
#define PLOOP_PLOOPD_DEVICE_FUSEMOUNT_H

#include "ploopd/attachment.h"

/* Opens /dev/fuse, O_NONBLOCK and close-on-exec. */
int pl_fuse_device_open(int *ret_fd, struct pl_failure *f);

/* A detached mount served by fuse_fd; its descriptor in *ret_fd. */
int pl_fuse_mount(int fuse_fd, const char *source, int *ret_fd,
		  struct pl_failure *f);

/* Makes the mount visible at path. */
int pl_fuse_mount_show(int mount_fd, const char *path, struct pl_failure *f);

#endif
