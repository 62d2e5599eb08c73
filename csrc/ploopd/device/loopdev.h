/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loop devices. Ours carry the attachment's name; a device is never touched
 * before its name was compared, because numbers are reused.
 */
#ifndef PLOOP_PLOOPD_DEVICE_LOOPDEV_H
#define PLOOP_PLOOPD_DEVICE_LOOPDEV_H

#include "ploopd/attachment.h"

/* Puts file_fd under a free loop device. */
int pl_loopdev_attach(struct pl_blockdev *ret, int file_fd,
		      const struct pl_attachment *att, struct pl_failure *f);

/* The device that has this attachment's file, by name. false: there is none. */
bool pl_loopdev_find(const char *id, struct pl_blockdev *ret);

/*
 * Frees the device: MOUNTED when it is in use, TIMEOUT when it does not go
 * away. It is all the same to this whether somebody serves the file.
 */
int pl_loopdev_detach(const struct pl_blockdev *dev, const char *id,
		      unsigned timeout_ms, struct pl_failure *f);

/* Makes the device look at the size of its file again. */
int pl_loopdev_show_size(const struct pl_blockdev *dev, const char *id,
			 struct pl_failure *f);

#endif
