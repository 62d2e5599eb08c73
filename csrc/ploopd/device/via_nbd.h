/* SPDX-License-Identifier: Apache-2.0 */
/* The worker's half of via_nbd.c: see via.h for what each does. */
#ifndef PLOOP_PLOOPD_DEVICE_VIA_NBD_H
#define PLOOP_PLOOPD_DEVICE_VIA_NBD_H

#include "ploopd/device/via.h"

int pl_nbd_front_serve(struct pl_worker *w, void **ret, struct pl_err *err);
bool pl_nbd_front_in_use(const void *front);
unsigned pl_nbd_front_inflight(const void *front);
void pl_nbd_front_stop(void *front);

#endif
