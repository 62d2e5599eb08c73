/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel says of a block device, without opening it. */
#ifndef PLOOP_PLOOPD_DEVICE_SYSFS_H
#define PLOOP_PLOOPD_DEVICE_SYSFS_H

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The first line of /sys/block/<device>/<what>: 0 or -errno. */
static inline int read_sysfs(const char *device, const char *what, char *buf,
			     size_t size)
{
	char path[320];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/sys/block/%s/%s", device, what);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, buf, size - 1);
	close(fd);
	buf[n > 0 ? n : 0] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
	return n < 0 ? -EIO : 0;
}

#endif
