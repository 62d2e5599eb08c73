/* SPDX-License-Identifier: Apache-2.0 */
/* Why requests fail: who uses the disk sees an I/O error and no reason. */
#ifndef PLOOP_PLOOPD_TROUBLE_H
#define PLOOP_PLOOPD_TROUBLE_H

#include "ploopd/worker/worker.h"

/*
 * From now on each cause is one line in the log, whatever asks for it and how
 * often: a damaged place of a layer, a layer that can't be made durable any
 * more, an error of the host by kind of request. After some of them one line
 * says that there are more.
 */
int pl_trouble_watch(struct pl_worker *w, struct pl_err *err);

#endif
