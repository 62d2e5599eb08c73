/* SPDX-License-Identifier: Apache-2.0 */
/* Handing descriptors to the worker: see fds.h. */
#include "ploopd/keeper/fds.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
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
		if (dup2(aside[i], PL_FD_DEVICE + i) < 0)
			return -errno;
	return close_range(PL_FD_END, ~0U, 0) < 0 ? -errno : 0;
}

void pl_fds_pack(struct msghdr *msg, union pl_fds_control *control,
		 const int fds[PL_FDS_SENT])
{
	struct cmsghdr *c = &control->align;
	size_t n = 0, bytes;

	while (n < PL_FDS_SENT && fds[n] >= 0)
		n++;
	if (n == 0)
		return;
	bytes = n * sizeof(int);
	memset(control, 0, sizeof(*control));
	msg->msg_control = control->buf;
	msg->msg_controllen = CMSG_SPACE(bytes);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(bytes);
	memcpy(CMSG_DATA(c), fds, bytes);
}

bool pl_fds_unpack(struct msghdr *msg, int fds[PL_FDS_SENT])
{
	struct cmsghdr *c = CMSG_FIRSTHDR(msg);

	if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
		return false;
	for (unsigned i = 0; i < PL_FDS_SENT; i++)
		fds[i] = -1;
	memcpy(fds, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
	return true;
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
