/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loop devices: see loopdev.h.
 *
 * The kernel clears a device when its last opener goes. So after LOOP_CLR_FD
 * the device is watched from outside (sysfs), without opening it again; when
 * somebody else turns out to have it open, the clearing is taken back.
 */
#include "ploopd/device/loopdev.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "ploopd/clock.h"
#include "ploopd/device/blockdev.h"

#define ATTEMPTS 100 /* free devices that others took before us */

/* ---- looking, without opening ---- */

/* Is the file under it ours? Its name ends with the attachment's. */
static bool backed_by(const char *device, const char *name)
{
	char file[PATH_MAX];
	const char *slash;

	if (pl_blockdev_read(device, "loop/backing_file", file, sizeof(file)) <
	    0)
		return false;
	slash = strrchr(file, '/');
	return !strcmp(slash ? slash + 1 : file, name);
}

bool pl_loopdev_find(const char *id, struct pl_blockdev *ret)
{
	char name[PL_LOOP_NAME];

	pl_attachment_name(id, name);
	return pl_blockdev_find("loop", name, backed_by, ret);
}

/* ---- attaching ---- */

static int open_control(struct pl_failure *f)
{
	int fd = open("/dev/loop-control", O_RDWR | O_CLOEXEC), rc;

	if (fd >= 0)
		return fd;
	rc = -errno;
	if (rc == -ENOENT || rc == -ENODEV || rc == -ENXIO)
		return pl_hint(f,
			       pl_err_set(&f->err, PL_E_UNSUPPORTED, -rc,
					  "the kernel offers no "
					  "/dev/loop-control"),
			       "Load it with: modprobe loop; in a container, "
			       "hand in /dev/loop-control (10:237)");
	return pl_hint(f,
		       pl_err_sys(&f->err, rc, "cannot open /dev/loop-control"),
		       "Run as root; in a container, allow the devices 10:237 "
		       "and 7:*");
}

/* Opens /dev/loopN; makes the node where no udev or devtmpfs does. */
static int open_number(int number, int flags, char path[32])
{
	int fd;

	snprintf(path, 32, "/dev/loop%d", number);
	fd = open(path, flags | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT &&
	    (mknod(path, S_IFBLK | 0660, makedev(7, (unsigned)number)) == 0 ||
	     errno == EEXIST))
		fd = open(path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int configure(int fd, int file_fd, const struct pl_attachment *att)
{
	struct loop_config config = {
		.fd = (unsigned)file_fd,
		.block_size = att->sector_size,
	};
	char name[PL_LOOP_NAME];

	config.info.lo_flags = LO_FLAGS_DIRECT_IO;
	if (att->read_only)
		config.info.lo_flags |= LO_FLAGS_READ_ONLY;
	pl_attachment_name(att->id, name);
	memcpy(config.info.lo_file_name, name, sizeof(name));
	if (ioctl(fd, LOOP_CONFIGURE, &config) < 0)
		return -errno;
	/* Ignored above when the kernel found a reason to; say so again. */
	ioctl(fd, LOOP_SET_DIRECT_IO, 1UL);
	return 0;
}

int pl_loopdev_attach(struct pl_blockdev *ret, int file_fd,
		      const struct pl_attachment *att, struct pl_failure *f)
{
	int control = open_control(f), rc = -EBUSY, number = -1, fd;
	char device[20];

	if (control < 0)
		return control;
	memset(ret, 0, sizeof(*ret));
	for (int i = 0; i < ATTEMPTS && rc == -EBUSY; i++) {
		number = ioctl(control, LOOP_CTL_GET_FREE);
		if (number < 0) {
			rc = -errno;
			break;
		}
		fd = open_number(number, att->read_only ? O_RDONLY : O_RDWR,
				 ret->path);
		rc = fd < 0 ? fd : configure(fd, file_fd, att);
		if (fd >= 0)
			close(fd);
		/* Taken by somebody else, or still going away. */
		if (rc == -ENXIO || rc == -ENODEV)
			rc = -EBUSY;
		if (rc == -EBUSY)
			pl_sleep_ms(1 + (unsigned)i / 4);
	}
	close(control);
	if (rc < 0)
		return pl_err_sys(&f->err, rc,
				  "cannot set up a loop device%s%s",
				  number < 0 ? "" : ": ", ret->path);
	snprintf(device, sizeof(device), "loop%d", number);
	pl_blockdev_describe(device, ret);
	return 0;
}

/* ---- detaching ---- */

static bool still_ours(const struct pl_blockdev *dev, const char *name)
{
	return backed_by(dev->path + strlen("/dev/"), name);
}

/* Somebody has it open: do not pull it away under them some day. */
static void take_back(const struct pl_blockdev *dev, const char *name)
{
	struct loop_info64 info;
	int fd = open(dev->path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (ioctl(fd, LOOP_GET_STATUS64, &info) == 0 &&
	    !strncmp((const char *)info.lo_file_name, name, PL_LOOP_NAME)) {
		info.lo_flags &= ~(uint32_t)LO_FLAGS_AUTOCLEAR;
		ioctl(fd, LOOP_SET_STATUS64, &info);
	}
	close(fd);
}

/*
 * One attempt: 0 = asked to clear, -EBUSY = in use, -ENXIO = gone. Compares
 * the name again through sysfs, now that nobody can free the number:
 * LOOP_GET_STATUS64 fails when nobody serves the file.
 */
static int clear(const struct pl_blockdev *dev, const char *name)
{
	int fd = open(dev->path, O_RDONLY | O_EXCL | O_CLOEXEC), rc = 0;

	if (fd < 0)
		return errno == ENOENT || errno == ENODEV ? -ENXIO : -errno;
	if (!still_ours(dev, name))
		rc = -ENXIO;
	else if (ioctl(fd, LOOP_CLR_FD) < 0)
		rc = -errno;
	close(fd);
	return rc;
}

int pl_loopdev_detach(const struct pl_blockdev *dev, const char *id,
		      unsigned timeout_ms, struct pl_failure *f)
{
	uint64_t end = pl_now_ms() + timeout_ms;
	char name[PL_LOOP_NAME];
	int rc;

	pl_attachment_name(id, name);
	if (!still_ours(dev, name))
		return 0;
	/* udev and blkid open a device for a moment: do not give up at once. */
	for (unsigned i = 0; (rc = clear(dev, name)) == -EBUSY && i < 20; i++)
		pl_sleep_ms(10);
	if (rc == -EBUSY)
		return pl_blockdev_in_use(dev, f);
	if (rc < 0 && rc != -ENXIO)
		return pl_err_sys(&f->err, rc, "cannot clear %s", dev->path);
	for (unsigned wait = 1; still_ours(dev, name); wait += wait < 20) {
		if (pl_now_ms() > end) {
			take_back(dev, name);
			return pl_blockdev_in_use(dev, f);
		}
		pl_sleep_ms(wait);
	}
	return 0;
}

/* ---- another size ---- */

int pl_loopdev_show_size(const struct pl_blockdev *dev, const char *id,
			 struct pl_failure *f)
{
	char name[PL_LOOP_NAME];
	struct loop_info64 info;
	int fd = open(dev->path, O_RDONLY | O_CLOEXEC), rc = 0;

	pl_attachment_name(id, name);
	if (fd < 0)
		return pl_err_sys(&f->err, -errno, "cannot open %s", dev->path);
	/* Asked first: some kernels take the size from the inode, which only
	 * the file system's answer to that brings up to date. */
	ioctl(fd, LOOP_GET_STATUS64, &info);
	if (!still_ours(dev, name))
		rc = -ENXIO;
	else if (ioctl(fd, LOOP_SET_CAPACITY, 0) < 0)
		rc = -errno;
	close(fd);
	return rc < 0 ? pl_err_sys(&f->err, rc, "cannot change the size of %s",
				   dev->path) :
			0;
}
