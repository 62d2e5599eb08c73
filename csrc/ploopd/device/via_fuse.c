/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A loop device over the one file of a FUSE file system: see via.h. The kept
 * descriptor is /dev/fuse, with the file system mounted on it nowhere; what a
 * dead worker had taken is handed out again when the next one asks for it
 * (FUSE_NOTIFY_RESEND), so the keeper has nothing to do.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "export/fuse/fuse_export.h"
#include "ploopd/device/fusemount.h"
#include "ploopd/device/loopdev.h"
#include "ploopd/device/via.h"
#include "ploopd/keeper/fds.h"
#include "ploopd/keeper/shared.h"
#include "ploopd/log.h"
#include "ploopd/worker/worker.h"

#define FUSE_MEMORY (64u << 20) /* bytes of request buffers at most */

/* ---- is it there ---- */

static int probe(struct pl_failure *f)
{
	int fd, rc = pl_fuse_device_open(&fd, f);

	if (rc == 0)
		close(fd);
	return rc;
}

static bool survives(void)
{
	struct utsname u;
	unsigned major, minor;

	return uname(&u) == 0 &&
	       sscanf(u.release, "%u.%u", &major, &minor) == 2 &&
	       (major > 6 || (major == 6 && minor >= 9));
}

/* ---- the launcher ---- */

static int prepare(struct pl_making *m, struct pl_failure *f)
{
	char name[PL_LOOP_NAME];
	int rc = pl_fuse_device_open(&m->device_fd, f);

	pl_attachment_name(m->att->id, name);
	return rc < 0 ? rc : pl_fuse_mount(m->device_fd, name, &m->own_fd, f);
}

static int make(struct pl_making *m, struct pl_blockdev *ret,
		struct pl_failure *f)
{
	bool read_only = m->att->read_only;
	char name[PL_LOOP_NAME];
	int fd, rc;

	pl_attachment_name(m->att->id, name);
	fd = openat(m->own_fd, name,
		    (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	if (fd < 0)
		return pl_err_sys(&f->err, -errno,
				  "cannot open the disk's file");
	rc = pl_loopdev_attach(ret, fd, m->att, f);
	close(fd);
	return rc;
}

/* ---- commands ---- */

static int remove_device(const struct pl_blockdev *dev, const char *id,
			 bool served, unsigned timeout_ms, struct pl_failure *f)
{
	/* An unserved file answers EIO: nothing waits. */
	(void)served;
	return pl_loopdev_detach(dev, id, timeout_ms, f);
}

static int show_size(const struct pl_blockdev *dev, const char *id,
		     uint64_t size, struct pl_failure *f)
{
	(void)size; /* the file says it */
	return pl_loopdev_show_size(dev, id, f);
}

/* ---- the keeper ---- */

/* Without its file system there is nobody to wait for. */
static bool gone(int device_fd)
{
	struct pollfd p = { device_fd, POLLIN, 0 };

	return poll(&p, 1, 0) > 0 && p.revents & POLLERR;
}

/* ---- the worker ---- */

static void on_gone(void *arg)
{
	pl_worker_device_gone(arg);
}

static void note(void *arg, const char *text)
{
	(void)arg;
	pl_log("%s", text);
}

static int serve(struct pl_worker *w, void **ret, struct pl_err *err)
{
	struct pl_fuse_params p = {
		.loop = w->loop,
		.engine = w->engine,
		.fd = PL_FD_DEVICE,
		.session = &w->shared->fuse,
		.name = w->name,
		.max_memory = FUSE_MEMORY,
		.gone = on_gone,
		.note = note,
		.arg = w,
	};
	struct pl_fuse *fuse = NULL;
	int rc = pl_fuse_new(&fuse, &p, err);

	*ret = fuse;
	return rc;
}

static bool in_use(const void *front)
{
	return pl_fuse_in_use(front);
}

static unsigned inflight(const void *front)
{
	return pl_fuse_inflight(front);
}

static void grown(void *front)
{
	pl_fuse_grown(front);
}

static void stop(void *front)
{
	pl_fuse_stop(front);
}

const struct pl_via pl_via_fuse = {
	.name = "fuse",
	.probe = probe,
	.survives = survives,
	.prepare = prepare,
	.make = make,
	.find = pl_loopdev_find,
	.remove = remove_device,
	.show_size = show_size,
	.gone = gone,
	.serve = serve,
	.in_use = in_use,
	.inflight = inflight,
	.grown = grown,
	.stop = stop,
};
