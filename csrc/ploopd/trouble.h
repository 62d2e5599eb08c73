/* SPDX-License-Identifier: Apache-2.0 */
/* Damage that requests meet: who uses the disk sees an I/O error and no reason. */
#ifndef PLOOP_PLOOPD_TROUBLE_H
#define PLOOP_PLOOPD_TROUBLE_H

#include "ploopd/worker.h"

/*
 * From now on each damaged place of a layer is one line in the log, whatever
 * asks for it and how often; after the first few of them one says that there
 * are more.
 */
int pl_trouble_watch(struct pl_worker *w, struct pl_err *err);

#endif
