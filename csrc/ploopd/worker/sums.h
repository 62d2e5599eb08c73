/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PLOOP_PLOOPD_SUMS_H
#define PLOOP_PLOOPD_SUMS_H

#include "ploopd/worker/worker.h"

/* After a snapshot: the sealed layer gets its block checksums, if wanted. */
void pl_worker_sum_sealed(struct pl_worker *w);

#endif
