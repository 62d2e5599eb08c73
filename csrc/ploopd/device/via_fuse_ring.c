/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A loop device over a FUSE file, as in via_fuse.c, with its requests over
 * io_uring (export/fuse/fuse_ring.c): faster, and bound to one worker. The
 * kernel repeats nothing of what a dead worker had taken, so the keeper lets
 * the descriptor go: everything on the device fails with EIO. The next worker
 * brings what was acknowledged into the image and closes it; folder and loop
 * device stay for detach or attach, as when keeper and worker are killed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "ploopd/device/loopdev.h"
#include "ploopd/device/via_fuse.h"
#include "ploopd/log.h"
#include "ploopd/shared.h"
#include "ploopd/worker.h"

#define SWITCH "/sys/module/fuse/parameters/enable_uring"
#define PROCESSORS "/sys/devices/system/cpu/possible"

/* Of the kernel's ring. Workers, being forks of the keeper, know it. */
static unsigned queues;

/* ---- is it there ---- */

static int read_line(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, buf, size - 1);
	close(fd);
	buf[n > 0 ? n : 0] = '\0';
	return n < 0 ? -EIO : 0;
}

static int probe(struct pl_failure *f)
{
	char word[8] = "";
	int rc = pl_fuse_front_probe(f);

	if (rc < 0)
		return rc;
	rc = read_line(SWITCH, word, sizeof(word));
	if (rc == 0 && (word[0] == 'Y' || word[0] == '1'))
		return 0;
	if (rc < 0)
		return pl_hint(
			f,
			pl_err_set(&f->err, PL_E_UNSUPPORTED, EOPNOTSUPP,
				   "this kernel's fuse takes no requests "
				   "over io_uring (Linux 6.14 does, "
				   "with CONFIG_FUSE_IO_URING)"),
			"Attach it with --via fuse");
	return pl_hint(f,
		       pl_err_set(&f->err, PL_E_UNSUPPORTED, EOPNOTSUPP,
				  "fuse over io_uring is switched off on this "
				  "host"),
		       "Switch it on with: echo Y > " SWITCH
		       " (for good: fuse.enable_uring=1 on the kernel's "
		       "command line), or attach with --via fuse");
}

static bool survives(void)
{
	return false;
}

/* ---- the keeper ---- */

/* "0-3,8": how many they are; 0 = not understood. */
static unsigned count(const char *list)
{
	unsigned long from, to, n = 0;
	char *end;

	for (;; list = end + 1) {
		from = to = strtoul(list, &end, 10);
		if (end == list)
			return 0;
		if (*end == '-') {
			list = end + 1;
			to = strtoul(list, &end, 10);
		}
		if (end == list || to < from || to > UINT16_MAX)
			return 0;
		n += to - from + 1;
		if (*end != ',')
			return (unsigned)n;
	}
}

/* What takes the place of the descriptor. */
static int keep(void)
{
	char list[256];
	int rc = read_line(PROCESSORS, list, sizeof(list)), fd;

	queues = rc == 0 ? count(list) : 0;
	if (queues == 0)
		return rc < 0 ? rc : -EINVAL;
	fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int renew(struct pl_kept *kept)
{
	if (dup3(kept->admin_fd, kept->device_fd, O_CLOEXEC) < 0)
		return -errno;
	pl_log("--via fuse-ring: %s went with its worker and fails from now "
	       "on; the image is being closed",
	       kept->device);
	return -ENODEV;
}

static bool gone(int device_fd)
{
	struct stat sb;

	return (fstat(device_fd, &sb) == 0 &&
		sb.st_rdev == makedev(1, 3)) || /* /dev/null */
	       pl_fuse_front_gone(device_fd);
}

/* ---- the worker ---- */

static int serve(struct pl_worker *w, void **ret, struct pl_err *err)
{
	if (!w->shared->device_gone)
		return pl_fuse_front_serve(w, queues, ret, err);
	*ret = NULL;
	pl_worker_device_gone(w);
	return 0;
}

const struct pl_via pl_via_fuse_ring = {
	.name = "fuse-ring",
	.probe = probe,
	.survives = survives,
	.one_worker = true,
	.prepare = pl_fuse_front_prepare,
	.make = pl_fuse_front_make,
	.find = pl_loopdev_find,
	.remove = pl_fuse_front_remove,
	.show_size = pl_fuse_front_show_size,
	.keep = keep,
	.renew = renew,
	.gone = gone,
	.commands = true,
	.wide_commands = true,
	.serve = serve,
	.in_use = pl_fuse_front_in_use,
	.inflight = pl_fuse_front_inflight,
	.grown = pl_fuse_front_grown,
	.stop = pl_fuse_front_stop,
};
