/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stopping ublk devices. The kernel stops one at once, mounted or not, and
 * fails what comes after; until Linux 7.0 nobody but us asks whether somebody
 * uses it. So it is opened exclusively, which keeps mounts out, looked for
 * among the open files of all processes, and flushed, before it is stopped.
 * From then on TRY_STOP_DEV has the last word.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ploopd/clock.h"
#include "ploopd/device/blockdev.h"
#include "ploopd/device/ublkdev_int.h"

#define ATTEMPTS 20 /* udev and blkid open a device for a moment */

/* ---- who has it open ---- */

/* By name: to stat() a file may wait for whoever serves it. */
static bool names_device(const char *link, const char *name)
{
	const char *slash = strrchr(link, '/');
	size_t len = strlen(name);

	return slash && !strncmp(slash + 1, name, len) &&
	       (slash[1 + len] == '\0' || slash[1 + len] == ' ');
}

static bool process_has(const char *pid, const char *name)
{
	char path[300], link[300];
	struct dirent *de;
	bool found = false;
	ssize_t n;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%.20s/fd", pid);
	d = opendir(path);
	if (!d)
		return false;
	while (!found && (de = readdir(d)) != NULL) {
		n = readlinkat(dirfd(d), de->d_name, link, sizeof(link) - 1);
		link[n > 0 ? n : 0] = '\0';
		found = names_device(link, name);
	}
	closedir(d);
	return found;
}

static bool open_elsewhere(const char *path)
{
	const char *name = path + strlen("/dev/");
	DIR *d = opendir("/proc");
	struct dirent *de;
	bool found = false;

	while (d && !found && (de = readdir(d)) != NULL)
		found = isdigit((unsigned char)de->d_name[0]) &&
			atoi(de->d_name) != getpid() &&
			process_has(de->d_name, name);
	if (d)
		closedir(d);
	return found;
}

/* Ours alone: the descriptor, or -EBUSY. */
static int open_alone(const struct pl_blockdev *dev)
{
	int fd = open(dev->path, O_RDONLY | O_EXCL | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (!open_elsewhere(dev->path))
		return fd;
	close(fd);
	return -EBUSY;
}

static int claim(const struct pl_blockdev *dev)
{
	int fd;

	for (unsigned i = 0; (fd = open_alone(dev)) == -EBUSY && i < ATTEMPTS;
	     i++)
		pl_sleep_ms(10);
	return fd;
}

/* ---- commands ---- */

static int call(struct pl_ublkdev_control *c, uint32_t op, uint32_t id,
		unsigned timeout_ms)
{
	struct pl_ublk_call one = {
		.op = op,
		.dev_id = id,
		.timeout_ms = timeout_ms ? timeout_ms : 1,
	};
	int rc = pl_ublk_ctl_call(c->ctl, &one);

	/* Somebody was faster. */
	return rc == -ENODEV ? 0 : rc;
}

/*
 * Asynchronously where that exists (Linux 6.9): the server has the queue open
 * until it has seen that the device is stopped.
 */
static int delete (struct pl_ublkdev_control *c, uint32_t id,
		   unsigned timeout_ms)
{
	int rc = call(c, PL_UBLK_DEL_DEV_ASYNC, id, timeout_ms);

	return rc == -EOPNOTSUPP ? call(c, PL_UBLK_DEL_DEV, id, timeout_ms) :
				   rc;
}

/* *fd holds the device: let go where the kernel itself sees other users. */
static uint32_t how_to_stop(struct pl_ublkdev_control *c, uint32_t id, int *fd)
{
	struct pl_ublk_dev_info info;

	if (*fd < 0 || pl_ublkdev_get_info(c, id, &info) < 0 ||
	    !(info.flags & PL_UBLK_F_SAFE_STOP_DEV))
		return PL_UBLK_STOP_DEV;
	close(*fd);
	*fd = -1;
	return PL_UBLK_TRY_STOP_DEV;
}

/* held: a descriptor of ours of the device, or -1. -EBUSY: it is in use. */
static int stop_and_delete(uint32_t id, int *held, unsigned timeout_ms,
			   struct pl_failure *f)
{
	struct pl_ublkdev_control c;
	int rc = pl_ublkdev_control(&c, f);
	uint32_t op;

	if (rc < 0)
		return rc;
	op = how_to_stop(&c, id, held);
	rc = call(&c, op, id, timeout_ms);
	if (rc == 0) {
		op = PL_UBLK_DEL_DEV;
		rc = delete (&c, id, timeout_ms);
	}
	if (rc < 0)
		pl_ublkdev_error(f, op, id, rc);
	pl_ublkdev_done(&c);
	return rc;
}

/* ---- all of it ---- */

/* Nobody answers: reading or flushing it would wait for ever. */
static int remove_unserved(uint32_t id, const struct pl_blockdev *dev,
			   unsigned timeout_ms, struct pl_failure *f)
{
	int fd = open(dev->path, O_RDONLY | O_EXCL | O_CLOEXEC | O_NONBLOCK);
	bool used = fd < 0 && errno == EBUSY;
	int none = -1, rc = stop_and_delete(id, &none, timeout_ms, f);

	if (fd >= 0)
		close(fd);
	if (rc == 0 && used)
		return pl_hint(f,
			       pl_err_set(&f->err, PL_E_MOUNTED, EBUSY,
					  "%s is mounted or open, and nobody "
					  "serves it: from now on its requests "
					  "fail",
					  dev->path),
			       "Unmount it and try again; find its users with: "
			       "grep %s /proc/*/mountinfo",
			       dev->devno);
	return rc;
}

static int remove_served(uint32_t id, const struct pl_blockdev *dev,
			 unsigned timeout_ms, struct pl_failure *f)
{
	int fd = claim(dev), rc = 0;

	if (fd == -EBUSY)
		return pl_blockdev_in_use(dev, f);
	if (fd < 0 && fd != -ENXIO && fd != -ENOENT)
		return pl_err_sys(&f->err, fd, "cannot open %s", dev->path);
	/* What the page cache of the device itself still has. */
	if (fd >= 0 && fsync(fd) < 0)
		rc = pl_err_sys(&f->err, -errno, "cannot flush %s", dev->path);
	else
		rc = stop_and_delete(id, &fd, timeout_ms, f);
	if (fd >= 0)
		close(fd);
	return rc == -EBUSY ? pl_blockdev_in_use(dev, f) : rc;
}

int pl_ublkdev_remove(uint32_t id, const struct pl_blockdev *dev, bool served,
		      unsigned timeout_ms, struct pl_failure *f)
{
	int none = -1;

	if (dev->path[0] == '\0')
		return stop_and_delete(id, &none, timeout_ms, f);
	return served ? remove_served(id, dev, timeout_ms, f) :
			remove_unserved(id, dev, timeout_ms, f);
}
