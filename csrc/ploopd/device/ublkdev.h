/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ublk devices, from outside: adding, starting, finding, stopping. Ours carry a
 * tag made of the attachment's name, which the kernel keeps with the device: no
 * device is touched before its tag was compared, because numbers are reused.
 *
 * Everything here needs CAP_SYS_ADMIN.
 */
#ifndef PLOOP_PLOOPD_DEVICE_UBLKDEV_H
#define PLOOP_PLOOPD_DEVICE_UBLKDEV_H

#include "export/ublk/ublk_control.h"
#include "ploopd/attachment.h"

/* Names in the folder that keeper and workers have. */
#define PL_UBLK_NODE_CONTROL "control"
#define PL_UBLK_NODE_QUEUE "queue"

#define PL_UBLK_CALL_MS 10000u /* for a control command */

/* 0, or UNSUPPORTED and the way out. */
int pl_ublkdev_probe(struct pl_failure *f);

/* Adds a device, not started; its number in *ret_id. */
int pl_ublkdev_add(const char *attachment, uint32_t *ret_id,
		   struct pl_failure *f);

/*
 * A folder of a file system that nobody else sees, with the two device nodes
 * that a worker needs. The queue can be open only once at a time, so a
 * descriptor of it can't be handed from worker to worker.
 */
int pl_ublkdev_nodes(uint32_t id, int *ret_fd, struct pl_failure *f);

struct pl_ublkdev_shape {
	uint64_t size; /* bytes, as block_size and sector_size */
	uint32_t block_size, sector_size;
	bool read_only;
	int worker; /* process id: the server */
};

/* A server has asked for requests: the block device. */
int pl_ublkdev_start(uint32_t id, const struct pl_ublkdev_shape *shape,
		     struct pl_blockdev *ret, struct pl_failure *f);

/* The device of this attachment; its path is "" when it is not started. */
bool pl_ublkdev_find(const char *attachment, uint32_t *ret_id,
		     struct pl_blockdev *ret);

/*
 * Stops and deletes it. MOUNTED when it is in use; with `served` it is left as
 * it is then, without it is stopped all the same, so that what waits fails.
 */
int pl_ublkdev_remove(uint32_t id, const struct pl_blockdev *dev, bool served,
		      unsigned timeout_ms, struct pl_failure *f);

/* The device is to have this size now; UNSUPPORTED before Linux 6.16. */
int pl_ublkdev_resize(uint32_t id, uint64_t size, struct pl_failure *f);

/* What the kernel keeps for us with the device. */
uint64_t pl_ublkdev_tag(const char *attachment);

#endif
