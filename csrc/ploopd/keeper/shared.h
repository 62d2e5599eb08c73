/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that keeper and all workers of an attachment share: what one worker
 * leaves to the next. The layout is part of the hand-over between versions
 * (PL_HANDOVER in keeper.h). Every update is one aligned store.
 */
#ifndef PLOOP_PLOOPD_SHARED_H
#define PLOOP_PLOOPD_SHARED_H

#include "export/fuse/fuse_export.h"

/* A keeper that is not the worker's parent learns it from here. */
#define PL_ENDED_CLEAN 1u /* the image is closed, nothing is left to serve */
#define PL_ENDED_REPLACED 2u

struct pl_shared {
	struct pl_fuse_session fuse;
	uint32_t on_full; /* enum pl_on_full; `set` changes it */
	uint32_t full_told; /* the log has that the host is too full to open */
	uint32_t ended; /* PL_ENDED_...: how the last worker went */
	uint32_t tidy_rate_kib; /* of merges, KiB a second; 0 = no limit */
	uint64_t bps; /* limits of the device; 0 = none; `set` changes them */
	uint32_t iops;
	uint32_t announced; /* the device was there once */
	uint32_t device_clean; /* the front's: see via_nbd_front.c */
	uint32_t device_gone; /* it went while no worker was there to see it */
	uint32_t reserved[6]; /* zero */
};

#endif
