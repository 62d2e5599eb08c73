/* SPDX-License-Identifier: Apache-2.0 */
/* Handing descriptors to the worker: see fds.h. */
#include "ploopd/fds.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#define ASIDE 64 /* above every number we assign */

int pl_fds_install(const int from[PL_FD_COUNT])
{
	int aside[PL_FD_COUNT];

	for (int i = 0; i < PL_FD_COUNT; i++) {
		aside[i] = fcntl(from[i], F_DUPFD, ASIDE);
		if (aside[i] < 0)
			return -errno;
	}
	for (int i = 0; i < PL_FD_COUNT; i++)
		if (dup2(aside[i], PL_FD_FUSE + i) < 0)
			return -errno;
	return close_range(PL_FD_END, ~0U, 0) < 0 ? -errno : 0;
}

int pl_fds_memory(const char *name, unsigned long size, struct pl_err *err)
{
	int fd = memfd_create(name, MFD_CLOEXEC);

	if (fd < 0)
		return pl_err_sys(err, -errno, "memory for %s", name);
	if (ftruncate(fd, (off_t)size) < 0) {
		int rc = -errno;

		close(fd);
		return pl_err_sys(err, rc, "memory for %s", name);
	}
	return fd;
}
