/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The image's lock after a kill: the kernel takes a dead worker's ring apart
 * in its own time, and until its last I/O has ended the ring holds the lock
 * (worker.c), although the processes are gone.
 */
#ifndef PLOOP_PLOOPD_IMAGELOCK_H
#define PLOOP_PLOOPD_IMAGELOCK_H

#include "ploopd/attachment.h"

/*
 * For a dead attachment, whose folder nobody else removes meanwhile: returns
 * when what that attachment left does not hold the image's lock any more, so
 * that the next command gets it. Whoever else has the lock is not waited for:
 * an attachment that lives and shares it, or one who took it since. TIMEOUT,
 * naming the image, when it is still held at end_ms.
 */
int pl_imagelock_wait(const char *id, const char *folder, uint64_t end_ms,
		      struct pl_failure *f);

#endif
