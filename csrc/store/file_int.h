/* SPDX-License-Identifier: Apache-2.0 */
/* Files and directories of the host: what file.c and dir.c share. */
#ifndef PLOOP_STORE_FILE_INT_H
#define PLOOP_STORE_FILE_INT_H

#include "store/store.h"

/*
 * Takes over fd (page cache) and direct_fd (O_DIRECT, or -1 to send data
 * through fd, too).
 */
int pl_file_new(struct pl_store **ret, int fd, int direct_fd,
		struct pl_loop *loop);

#endif
