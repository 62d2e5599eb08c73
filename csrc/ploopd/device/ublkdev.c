/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ublk devices: see ublkdev.h. How they are stopped is in ublkstop.c.
 *
 * STATES of a device (of the kernel)
 *   DEAD     --START_DEV, once a server asks for requests--> LIVE
 *   LIVE     --the server dies--> QUIESCED: requests wait
 *   QUIESCED --START_USER_RECOVERY, a new server, END_USER_RECOVERY--> LIVE
 *   LIVE, QUIESCED --STOP_DEV--> DEAD;   any --DEL_DEV--> (gone)
 */
#include "ploopd/device/ublkdev.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "export/ublk/ublk_export.h"
#include "ploopd/device/ublkdev_int.h"

#define CONTROL "/dev/ublk-control"
#define NEEDED (PL_UBLK_F_USER_RECOVERY | PL_UBLK_F_USER_RECOVERY_REISSUE)
#define WANTED                                                      \
	(NEEDED | PL_UBLK_F_UPDATE_SIZE | PL_UBLK_F_SAFE_STOP_DEV | \
	 PL_UBLK_F_NO_AUTO_PART_SCAN)
#define START_MS 50000u /* somebody may read the device at once */

/* ---- control ---- */

static int no_control(int rc, struct pl_failure *f)
{
	if (rc == -ENOENT || rc == -ENODEV || rc == -ENXIO)
		return pl_hint(f,
			       pl_err_set(&f->err, PL_E_UNSUPPORTED, -rc,
					  "the kernel offers no " CONTROL),
			       "Load it with: modprobe ublk_drv (Linux 6.5 or "
			       "later); or use --via fuse");
	return pl_hint(f, pl_err_sys(&f->err, rc, "cannot open " CONTROL),
		       "Run as root; in a container, allow the device and "
		       "CAP_SYS_ADMIN, or use --via fuse");
}

int pl_ublkdev_control(struct pl_ublkdev_control *c, struct pl_failure *f)
{
	int rc;

	c->ctl = NULL;
	c->fd = open(CONTROL, O_RDWR | O_CLOEXEC);
	if (c->fd < 0)
		return no_control(-errno, f);
	rc = pl_ublk_ctl_new(&c->ctl, c->fd, &f->err);
	if (rc < 0)
		pl_ublkdev_done(c);
	return rc;
}

void pl_ublkdev_done(struct pl_ublkdev_control *c)
{
	pl_ublk_ctl_free(c->ctl);
	if (c->fd >= 0)
		close(c->fd);
	c->ctl = NULL;
	c->fd = -1;
}

int pl_ublkdev_get_info(struct pl_ublkdev_control *c, uint32_t id,
			struct pl_ublk_dev_info *ret)
{
	struct pl_ublk_call call = {
		.op = PL_UBLK_GET_DEV_INFO,
		.dev_id = id,
		.buf = ret,
		.len = sizeof(*ret),
		.timeout_ms = PL_UBLK_CALL_MS,
	};

	memset(ret, 0, sizeof(*ret));
	return pl_ublk_ctl_call(c->ctl, &call);
}

int pl_ublkdev_error(struct pl_failure *f, uint32_t op, uint32_t id, int rc)
{
	pl_err_sys(&f->err, rc, "ublk device %d: %s", (int)id,
		   pl_ublk_ctl_name(op));
	if (rc == -ETIMEDOUT)
		f->err.code = PL_E_TIMEOUT;
	return rc;
}

/* ---- is it there ---- */

static int get_features(struct pl_ublkdev_control *c, uint64_t *ret)
{
	struct pl_ublk_call call = {
		.op = PL_UBLK_GET_FEATURES,
		.dev_id = PL_UBLK_NO_DEV,
		.buf = ret,
		.len = sizeof(*ret),
		.timeout_ms = PL_UBLK_CALL_MS,
	};

	*ret = 0;
	return pl_ublk_ctl_call(c->ctl, &call);
}

static int check_features(struct pl_ublkdev_control *c, uint64_t *ret,
			  struct pl_failure *f)
{
	int rc = get_features(c, ret);

	if (rc == 0 && (*ret & NEEDED) == NEEDED)
		return 0;
	if (rc == -EPERM || rc == -EACCES || rc == -ETIMEDOUT)
		return pl_ublkdev_error(f, PL_UBLK_GET_FEATURES, PL_UBLK_NO_DEV,
					rc);
	return pl_hint(f,
		       pl_err_set(&f->err, PL_E_UNSUPPORTED, EOPNOTSUPP,
				  "the kernel's ublk driver can't hand a "
				  "device to a new server"),
		       "That takes Linux 6.5 or later; use --via fuse");
}

int pl_ublkdev_probe(struct pl_failure *f)
{
	struct pl_ublkdev_control c;
	uint64_t features;
	int rc = pl_ublkdev_control(&c, f);

	if (rc < 0)
		return rc;
	rc = check_features(&c, &features, f);
	pl_ublkdev_done(&c);
	return rc;
}

/* ---- adding ---- */

/* FNV-1a: two attachments of a host having the same is one in 10^15. */
uint64_t pl_ublkdev_tag(const char *attachment)
{
	uint64_t tag = 0xcbf29ce484222325u;

	for (; *attachment; attachment++)
		tag = (tag ^ (uint8_t)*attachment) * 0x100000001b3u;
	return tag;
}

int pl_ublkdev_add(const char *attachment, uint32_t *ret_id,
		   struct pl_failure *f)
{
	struct pl_ublkdev_control c;
	struct pl_ublk_dev_info info = {
		.nr_hw_queues = 1,
		.queue_depth = PL_UBLK_DEPTH,
		.max_io_buf_bytes = PL_UBLK_DATA_MAX,
		.dev_id = PL_UBLK_NO_DEV,
		.ublksrv_flags = pl_ublkdev_tag(attachment),
	};
	struct pl_ublk_call call = {
		.op = PL_UBLK_ADD_DEV,
		.dev_id = PL_UBLK_NO_DEV,
		.buf = &info,
		.len = sizeof(info),
		.timeout_ms = PL_UBLK_CALL_MS,
	};
	uint64_t features;
	int rc = pl_ublkdev_control(&c, f);

	if (rc < 0)
		return rc;
	rc = check_features(&c, &features, f);
	if (rc == 0) {
		info.flags = WANTED & features;
		rc = pl_ublk_ctl_call(c.ctl, &call);
		if (rc < 0)
			pl_ublkdev_error(f, call.op, call.dev_id, rc);
	}
	pl_ublkdev_done(&c);
	*ret_id = info.dev_id;
	return rc;
}

/* ---- nodes for the worker ---- */

/* "10:122", from the kernel. */
static int read_devno(const char *path, dev_t *ret)
{
	unsigned major, minor;
	char text[32];
	ssize_t n;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	if (sscanf(text, "%u:%u", &major, &minor) != 2)
		return -EIO;
	*ret = makedev(major, minor);
	return 0;
}

static int make_node(int dir, const char *name, const char *sysfs)
{
	dev_t devno;
	int rc = read_devno(sysfs, &devno);

	if (rc == 0 && mknodat(dir, name, S_IFCHR | 0600, devno) < 0)
		rc = -errno;
	return rc;
}

static int make_folder(void)
{
	int context = fsopen("tmpfs", FSOPEN_CLOEXEC), fd = -1, rc;

	if (context >= 0 &&
	    fsconfig(context, FSCONFIG_SET_STRING, "size", "4k", 0) == 0 &&
	    fsconfig(context, FSCONFIG_SET_STRING, "nr_inodes", "4", 0) == 0 &&
	    fsconfig(context, FSCONFIG_SET_STRING, "mode", "0500", 0) == 0 &&
	    fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
		fd = fsmount(context, FSMOUNT_CLOEXEC,
			     MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
	rc = fd < 0 ? -errno : fd;
	if (context >= 0)
		close(context);
	return rc;
}

int pl_ublkdev_nodes(uint32_t id, int *ret_fd, struct pl_failure *f)
{
	char queue[64];
	int dir = make_folder(), rc = dir < 0 ? dir : 0;

	snprintf(queue, sizeof(queue), "/sys/class/ublk-char/ublkc%u/dev", id);
	if (rc == 0)
		rc = make_node(dir, PL_UBLK_NODE_CONTROL,
			       "/sys/class/misc/ublk-control/dev");
	if (rc == 0)
		rc = make_node(dir, PL_UBLK_NODE_QUEUE, queue);
	if (rc < 0) {
		if (dir >= 0)
			close(dir);
		return pl_err_sys(&f->err, rc,
				  "cannot make the device nodes of ublk "
				  "device %u",
				  id);
	}
	*ret_fd = dir;
	return 0;
}

/* ---- starting ---- */

static uint8_t shift_of(uint32_t size)
{
	return (uint8_t)__builtin_ctz(size);
}

static void fill_params(struct pl_ublk_dev_params *p,
			const struct pl_ublkdev_shape *shape)
{
	const uint32_t large = UINT32_MAX >>
			       9; /* a bio counts bytes in 32 bits */

	*p = (struct pl_ublk_dev_params){
		.len = sizeof(*p),
		.types = PL_UBLK_PARAM_BASIC | PL_UBLK_PARAM_DISCARD,
	};
	p->basic.attrs = PL_UBLK_ATTR_VOLATILE_CACHE | PL_UBLK_ATTR_FUA |
			 (shape->read_only ? PL_UBLK_ATTR_READ_ONLY : 0);
	p->basic.logical_bs_shift = shift_of(shape->sector_size);
	/* A block is what is owned and copied; a page is as much as can be told. */
	p->basic.physical_bs_shift = 12;
	p->basic.io_min_shift = 12;
	p->basic.io_opt_shift = shift_of(PL_UBLK_DATA_MAX);
	p->basic.max_sectors = PL_UBLK_DATA_MAX >> 9;
	p->basic.dev_sectors = shape->size >> 9;
	p->discard.discard_granularity = shape->block_size;
	p->discard.max_discard_sectors = large & ~7u;
	p->discard.max_write_zeroes_sectors = large & ~7u;
	p->discard.max_discard_segments = 1;
}

static void describe(uint32_t id, struct pl_blockdev *ret)
{
	char path[64];
	dev_t devno;

	snprintf(path, sizeof(path), "/sys/block/ublkb%u/dev", id);
	ret->path[0] = ret->devno[0] = '\0';
	if (read_devno(path, &devno) < 0)
		return;
	snprintf(ret->path, sizeof(ret->path), "/dev/ublkb%u", id);
	snprintf(ret->devno, sizeof(ret->devno), "%u:%u", major(devno),
		 minor(devno));
	/* Where no udev or devtmpfs does. */
	if (access(ret->path, F_OK) < 0)
		mknod(ret->path, S_IFBLK | 0660, devno);
}

/*
 * One tag less than there are: before Linux 6.16 the kernel sees at once that a
 * server died only by a command that asks for requests, and else by a timer.
 */
static void keep_one_asking(uint32_t id)
{
	char path[64], text[16];
	int fd, n = snprintf(text, sizeof(text), "%u", PL_UBLK_DEPTH - 1);

	snprintf(path, sizeof(path), "/sys/block/ublkb%u/queue/nr_requests",
		 id);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	/* Refused: then the timer it is. */
	if (fd >= 0 && write(fd, text, (size_t)n) == n)
		n = 0;
	if (fd >= 0)
		close(fd);
}

int pl_ublkdev_start(uint32_t id, const struct pl_ublkdev_shape *shape,
		     struct pl_blockdev *ret, struct pl_failure *f)
{
	struct pl_ublk_dev_params params;
	struct pl_ublk_call set = {
		.op = PL_UBLK_SET_PARAMS,
		.dev_id = id,
		.buf = &params,
		.len = sizeof(params),
		.timeout_ms = PL_UBLK_CALL_MS,
	};
	struct pl_ublk_call start = {
		.op = PL_UBLK_START_DEV,
		.dev_id = id,
		.data = (uint64_t)shape->worker,
		.timeout_ms = START_MS,
	};
	struct pl_ublkdev_control c;
	int rc = pl_ublkdev_control(&c, f);

	if (rc < 0)
		return rc;
	fill_params(&params, shape);
	rc = pl_ublk_ctl_call(c.ctl, &set);
	if (rc < 0)
		pl_ublkdev_error(f, set.op, id, rc);
	if (rc == 0) {
		rc = pl_ublk_ctl_call(c.ctl, &start);
		if (rc < 0)
			pl_ublkdev_error(f, start.op, id, rc);
	}
	pl_ublkdev_done(&c);
	if (rc == 0) {
		keep_one_asking(id);
		describe(id, ret);
	}
	return rc;
}

/* ---- finding ---- */

/* Opens the control device when there is something to ask about. */
static bool is_ours(struct pl_ublkdev_control *c, const char *name,
		    uint64_t tag, uint32_t *ret_id)
{
	struct pl_failure ignored = { 0 };
	struct pl_ublk_dev_info info;

	if (sscanf(name, "ublkc%u", ret_id) != 1)
		return false;
	if (!c->ctl && pl_ublkdev_control(c, &ignored) < 0)
		return false;
	return pl_ublkdev_get_info(c, *ret_id, &info) == 0 &&
	       info.ublksrv_flags == tag;
}

bool pl_ublkdev_find(const char *attachment, uint32_t *ret_id,
		     struct pl_blockdev *ret)
{
	uint64_t tag = pl_ublkdev_tag(attachment);
	DIR *d = opendir("/sys/class/ublk-char");
	struct pl_ublkdev_control c = { .fd = -1 };
	bool found = false;
	struct dirent *de;

	if (!d)
		return false;
	while (!found && (de = readdir(d)) != NULL)
		found = is_ours(&c, de->d_name, tag, ret_id);
	pl_ublkdev_done(&c);
	closedir(d);
	if (found)
		describe(*ret_id, ret);
	return found;
}

/* ---- growing ---- */

int pl_ublkdev_resize(uint32_t id, uint64_t size, struct pl_failure *f)
{
	struct pl_ublk_call call = {
		.op = PL_UBLK_UPDATE_SIZE,
		.dev_id = id,
		.data = size >> 9,
		.timeout_ms = PL_UBLK_CALL_MS,
	};
	struct pl_ublkdev_control c;
	int rc = pl_ublkdev_control(&c, f);

	if (rc < 0)
		return rc;
	rc = pl_ublk_ctl_call(c.ctl, &call);
	pl_ublkdev_done(&c);
	if (rc == -EOPNOTSUPP || rc == -EINVAL)
		return pl_hint(f,
			       pl_err_set(&f->err, PL_E_UNSUPPORTED, -rc,
					  "this kernel can't change the size "
					  "of a ublk device that is in use"),
			       "Linux 6.16 can. Unmount, detach and attach it "
			       "again: the device has the new size then");
	return rc < 0 ? pl_ublkdev_error(f, call.op, id, rc) : 0;
}
