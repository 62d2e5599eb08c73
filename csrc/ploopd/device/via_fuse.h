/* SPDX-License-Identifier: Apache-2.0 */
/* What via_fuse.c and via_fuse_ring.c have in common: see via.h for each. */
#ifndef PLOOP_PLOOPD_DEVICE_VIA_FUSE_H
#define PLOOP_PLOOPD_DEVICE_VIA_FUSE_H

#include "ploopd/device/via.h"

int pl_fuse_front_probe(struct pl_failure *f);
int pl_fuse_front_prepare(struct pl_making *m, struct pl_failure *f);
int pl_fuse_front_make(struct pl_making *m, struct pl_blockdev *ret,
		       struct pl_failure *f);
int pl_fuse_front_remove(const struct pl_blockdev *dev, const char *id,
			 bool served, unsigned timeout_ms,
			 struct pl_failure *f);
int pl_fuse_front_show_size(const struct pl_blockdev *dev, const char *id,
			    uint64_t size, struct pl_failure *f);
bool pl_fuse_front_gone(int device_fd);
/* ring_queues: see fuse_export.h. */
int pl_fuse_front_serve(struct pl_worker *w, unsigned ring_queues, void **ret,
			struct pl_err *err);
bool pl_fuse_front_in_use(const void *front);
unsigned pl_fuse_front_inflight(const void *front);
void pl_fuse_front_grown(void *front);
void pl_fuse_front_stop(void *front);

#endif
