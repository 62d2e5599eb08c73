/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel says of block devices in sysfs: see blockdev.h. */
#include "ploopd/device/blockdev.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int pl_blockdev_read(const char *device, const char *what, char *buf,
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

void pl_blockdev_describe(const char *device, struct pl_blockdev *ret)
{
	snprintf(ret->path, sizeof(ret->path), "/dev/%.20s", device);
	if (pl_blockdev_read(device, "dev", ret->devno, sizeof(ret->devno)) < 0)
		ret->devno[0] = '\0';
}

bool pl_blockdev_find(const char *kind, const char *name,
		      bool (*is_ours)(const char *device, const char *name),
		      struct pl_blockdev *ret)
{
	struct dirent *de;
	bool found = false;
	DIR *d = opendir("/sys/block");

	if (!d)
		return false;
	while (!found && (de = readdir(d)) != NULL) {
		if (strncmp(de->d_name, kind, strlen(kind)) != 0 ||
		    !is_ours(de->d_name, name))
			continue;
		pl_blockdev_describe(de->d_name, ret);
		found = true;
	}
	closedir(d);
	return found;
}

int pl_blockdev_in_use(const struct pl_blockdev *dev, struct pl_failure *f)
{
	return pl_hint(f,
		       pl_err_set(&f->err, PL_E_MOUNTED, EBUSY,
				  "%s is mounted or open", dev->path),
		       "Unmount it (or end what uses it) first; find its users "
		       "with: grep %s /proc/*/mountinfo; fuser -v %s",
		       dev->devno, dev->path);
}
