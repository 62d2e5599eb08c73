/* SPDX-License-Identifier: Apache-2.0 */
/* Mounting by descriptor (Linux 5.2): see fusemount.h. */
#include "ploopd/device/fusemount.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

int pl_fuse_device_open(int *ret_fd, struct pl_failure *f)
{
	int fd = open("/dev/fuse", O_RDWR | O_NONBLOCK | O_CLOEXEC), rc;

	if (fd >= 0) {
		*ret_fd = fd;
		return 0;
	}
	rc = -errno;
	if (rc == -ENOENT || rc == -ENODEV || rc == -ENXIO)
		return pl_hint(f,
			       pl_err_set(&f->err, PL_E_UNSUPPORTED, -rc,
					  "the kernel offers no /dev/fuse"),
			       "Load it with: modprobe fuse; in a container, "
			       "hand in the device /dev/fuse (10:229)");
	return pl_hint(f, pl_err_sys(&f->err, rc, "cannot open /dev/fuse"),
		       "Run as root; in a container, allow the device "
		       "/dev/fuse (10:229)");
}

/* What the kernel says about a failed mount is on the context itself. */
static int mount_error(int context, int rc, struct pl_failure *f)
{
	char why[160] = "";
	ssize_t n = context >= 0 ? read(context, why, sizeof(why) - 1) : 0;

	why[n > 0 ? n : 0] = '\0';
	pl_err_sys(&f->err, rc, "cannot mount a fuse file system%s%s",
		   why[0] ? ": " : "", why);
	if (rc == -ENODEV || rc == -ENOSYS)
		f->err.code = PL_E_UNSUPPORTED;
	return pl_hint(f, rc, "ploopd needs CAP_SYS_ADMIN and Linux 5.2");
}

static int configure(int context, int fuse_fd, const char *source)
{
	char number[16];

	snprintf(number, sizeof(number), "%d", fuse_fd);
	if (fsconfig(context, FSCONFIG_SET_STRING, "source", source, 0) < 0 ||
	    fsconfig(context, FSCONFIG_SET_STRING, "fd", number, 0) < 0 ||
	    fsconfig(context, FSCONFIG_SET_STRING, "rootmode", "40000", 0) <
		    0 ||
	    fsconfig(context, FSCONFIG_SET_STRING, "user_id", "0", 0) < 0 ||
	    fsconfig(context, FSCONFIG_SET_STRING, "group_id", "0", 0) < 0 ||
	    fsconfig(context, FSCONFIG_SET_FLAG, "allow_other", NULL, 0) < 0 ||
	    fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	return 0;
}

int pl_fuse_mount(int fuse_fd, const char *source, int *ret_fd,
		  struct pl_failure *f)
{
	int context = fsopen("fuse", FSOPEN_CLOEXEC);
	int rc = context < 0 ? -errno : configure(context, fuse_fd, source);
	int fd = -1;

	if (rc == 0) {
		fd = fsmount(context, FSMOUNT_CLOEXEC,
			     MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
				     MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOATIME);
		rc = fd < 0 ? -errno : 0;
	}
	if (rc < 0)
		mount_error(context, rc, f);
	if (context >= 0)
		close(context);
	*ret_fd = fd;
	return rc;
}

int pl_fuse_mount_show(int mount_fd, const char *path, struct pl_failure *f)
{
	if (move_mount(mount_fd, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH) <
	    0)
		return pl_err_sys(&f->err, -errno, "cannot mount at %s", path);
	return 0;
}
