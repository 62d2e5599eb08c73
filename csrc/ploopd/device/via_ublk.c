/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ublk device: see via.h and export/ublk. The kept descriptor is a folder
 * with the nodes of the driver's control device and of the device's queue: the
 * queue can be open only once, and by the server itself, so each worker opens
 * it. Recovery needs CAP_SYS_ADMIN, which the keeper keeps and the worker gives
 * up when it has the device, before it reads anything of the image.
 *
 * STATES of the device, as a new worker finds them
 *   DEAD, never announced: it is the first; the launcher starts the device
 *   LIVE: the kernel has not seen yet that the last worker is gone: wait
 *   QUIESCED: recover it
 *   DEAD or unknown, announced: somebody stopped it; close the image
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "engine/engine.h"
#include "export/ublk/ublk_export.h"
#include "ploopd/clock.h"
#include "ploopd/confine/confine.h"
#include "ploopd/device/ublkdev.h"
#include "ploopd/device/via.h"
#include "ploopd/keeper/fds.h"
#include "ploopd/keeper/shared.h"
#include "ploopd/log.h"
#include "ploopd/worker/worker.h"

#define RECOVER_MS 30000u /* for the kernel to let go of the last worker */
#define REMOVE_MS 5000u

struct front {
	struct pl_ublk *ublk;
	const struct pl_shared *shared;
	uint64_t flags; /* of the device */
	bool gone;
};

/* ---- the launcher ---- */

static bool survives(void)
{
	return true; /* or probe() refuses */
}

/* The driver has no sign of it but an answer, and the keeper asks nobody. */
static bool gone(int device_fd)
{
	(void)device_fd;
	return false;
}

/* The device's number, which is the minor of its queue. */
static int number_of(int device_fd, uint32_t *ret)
{
	struct stat sb;

	if (fstatat(device_fd, PL_UBLK_NODE_QUEUE, &sb, 0) < 0)
		return -errno;
	*ret = minor(sb.st_rdev);
	return 0;
}

static int prepare(struct pl_making *m, struct pl_failure *f)
{
	struct pl_blockdev none = { .path = "" };
	struct pl_failure ignored = { 0 };
	uint32_t id;
	int rc = pl_ublkdev_add(m->att->id, &id, f);

	if (rc < 0)
		return rc;
	rc = pl_ublkdev_nodes(id, &m->device_fd, f);
	if (rc < 0)
		pl_ublkdev_remove(id, &none, false, REMOVE_MS, &ignored);
	return rc;
}

static int make(struct pl_making *m, struct pl_blockdev *ret,
		struct pl_failure *f)
{
	struct pl_ublkdev_shape shape = {
		.size = m->size,
		.block_size = m->block_size,
		.sector_size = m->att->sector_size,
		.read_only = m->att->read_only,
		.worker = m->worker,
	};
	uint32_t id;
	int rc = number_of(m->device_fd, &id);

	if (rc < 0)
		return pl_err_sys(&f->err, rc, "the nodes of a ublk device");
	return pl_ublkdev_start(id, &shape, ret, f);
}

static bool find(const char *id, struct pl_blockdev *ret)
{
	uint32_t number;

	return pl_ublkdev_find(id, &number, ret);
}

static int remove_device(const struct pl_blockdev *dev, const char *id,
			 bool served, unsigned timeout_ms, struct pl_failure *f)
{
	struct pl_blockdev now;
	uint32_t number;

	(void)dev;
	if (!pl_ublkdev_find(id, &number, &now))
		return 0;
	return pl_ublkdev_remove(number, &now, served, timeout_ms, f);
}

static void discard(const char *id)
{
	struct pl_failure ignored = { 0 };

	remove_device(NULL, id, false, REMOVE_MS, &ignored);
}

static int show_size(const struct pl_blockdev *dev, const char *id,
		     uint64_t size, struct pl_failure *f)
{
	struct pl_blockdev now;
	uint32_t number;

	(void)dev;
	if (!pl_ublkdev_find(id, &number, &now))
		return pl_err_set(&f->err, PL_E_NOT_ATTACHED, ENODEV,
				  "the device of %s is gone", id);
	return pl_ublkdev_resize(number, size, f);
}

/* ---- the worker: becoming the server ---- */

static void on_gone(void *arg)
{
	struct pl_worker *w = arg;
	struct front *front = w->front.of;

	front->gone = true;
	pl_worker_device_gone(w);
}

static void note(void *arg, const char *text)
{
	(void)arg;
	pl_log("%s", text);
}

struct claim {
	struct pl_worker *w;
	struct front *front;
	struct pl_ublk_ctl *ctl;
	struct pl_ublk_dev_info info;
	uint32_t id;
	int queue; /* open as long as we live */
};

static int control(struct claim *c, uint32_t op, uint64_t data)
{
	struct pl_ublk_call call = {
		.op = op,
		.dev_id = c->id,
		.data = data,
		.timeout_ms = PL_UBLK_CALL_MS,
	};

	return pl_ublk_ctl_call(c->ctl, &call);
}

static int get_info(struct claim *c)
{
	struct pl_ublk_call call = {
		.op = PL_UBLK_GET_DEV_INFO,
		.dev_id = c->id,
		.buf = &c->info,
		.len = sizeof(c->info),
		.timeout_ms = PL_UBLK_CALL_MS,
	};

	return pl_ublk_ctl_call(c->ctl, &call);
}

/* Asks for requests, with as few rights as we will have. */
static int ask(struct claim *c, struct pl_err *err)
{
	struct pl_ublk_params p = {
		.loop = c->w->loop,
		.depth = c->info.queue_depth,
		.max_bytes = c->info.max_io_buf_bytes,
		.gone = on_gone,
		.note = note,
		.arg = c->w,
	};

	c->queue = openat(PL_FD_DEVICE, PL_UBLK_NODE_QUEUE, O_RDWR | O_CLOEXEC);
	if (c->queue < 0)
		return pl_err_sys(err, -errno, "the queue of ublk device %u",
				  c->id);
	p.fd = c->queue;
	return pl_ublk_new(&c->front->ublk, &p, err);
}

/*
 * A server without CAP_SYS_ADMIN keeps the kernel from looking for partitions,
 * which are nobody's business on the host.
 */
static int claim_new(struct claim *c, struct pl_err *err)
{
	int rc = pl_confine_give_up_admin();

	return rc < 0 ? pl_err_sys(err, rc, "giving up a capability") :
			ask(c, err);
}

/* -EBUSY: the kernel is not through with the last worker yet. */
static int start_recovery(struct claim *c)
{
	uint64_t end = pl_now_ms() + RECOVER_MS;
	int rc;

	while ((rc = control(c, PL_UBLK_START_USER_RECOVERY, 0)) == -EBUSY &&
	       pl_now_ms() < end)
		pl_sleep_ms(2);
	return rc;
}

static int claim_again(struct claim *c, struct pl_err *err)
{
	int rc = start_recovery(c);

	if (rc < 0)
		return pl_err_sys(err, rc, "ublk device %u: taking it over",
				  c->id);
	rc = ask(c, err);
	if (rc < 0)
		return rc;
	rc = control(c, PL_UBLK_END_USER_RECOVERY, (uint64_t)getpid());
	return rc < 0 ? pl_err_sys(err, rc, "ublk device %u: going on with it",
				   c->id) :
			0;
}

static int claim_known(struct claim *c, struct pl_err *err)
{
	int rc = number_of(PL_FD_DEVICE, &c->id);

	if (rc == 0)
		rc = get_info(c);
	if (rc < 0 && rc != -ENODEV)
		return pl_err_sys(err, rc, "ublk device %u", c->id);
	if (rc == 0 && c->info.ublksrv_flags != pl_ublkdev_tag(c->w->att.id))
		rc = -ENODEV; /* the number is another's now */
	c->front->gone = rc == -ENODEV || (c->info.state == PL_UBLK_S_DEAD &&
					   c->w->shared->announced);
	c->front->flags = c->info.flags;
	if (c->front->gone)
		return 0;
	return c->info.state == PL_UBLK_S_DEAD ? claim_new(c, err) :
						 claim_again(c, err);
}

static int claim(struct pl_worker *w, void **ret, struct pl_err *err)
{
	static struct front front;
	struct claim c = { .w = w, .front = &front };
	int fd = openat(PL_FD_DEVICE, PL_UBLK_NODE_CONTROL, O_RDWR | O_CLOEXEC);
	int rc = fd < 0 ? pl_err_sys(err, -errno, "/dev/ublk-control") :
			  pl_ublk_ctl_new(&c.ctl, fd, err);

	front.shared = w->shared;
	if (rc == 0)
		rc = claim_known(&c, err);
	pl_ublk_ctl_free(c.ctl);
	if (fd >= 0)
		close(fd);
	*ret = &front;
	return rc;
}

/* ---- the worker: serving ---- */

static int serve(struct pl_worker *w, void **ret, struct pl_err *err)
{
	struct front *front = *ret;

	(void)err;
	if (front->gone)
		pl_worker_device_gone(w);
	else
		pl_ublk_serve(front->ublk, w->engine);
	return 0;
}

static bool in_use(const void *of)
{
	const struct front *front = of;

	return front->shared->announced && !front->gone;
}

static unsigned inflight(const void *of)
{
	const struct front *front = of;

	return pl_ublk_inflight(front->ublk);
}

static int may_grow(const void *of, struct pl_err *err)
{
	const struct front *front = of;

	if (front->flags & PL_UBLK_F_UPDATE_SIZE)
		return 0;
	return pl_err_set(
		err, PL_E_UNSUPPORTED, EOPNOTSUPP,
		"this kernel can't change the size of a ublk device "
		"that is in use (Linux 6.16 can): detach it first, or "
		"attach it with --via fuse");
}

static void stop(void *of)
{
	struct front *front = of;

	pl_ublk_stop(front->ublk);
}

const struct pl_via pl_via_ublk = {
	.name = "ublk",
	.probe = pl_ublkdev_probe,
	.survives = survives,
	.prepare = prepare,
	.make = make,
	.discard = discard,
	.find = find,
	.remove = remove_device,
	.show_size = show_size,
	.keeps_admin = true,
	.gone = gone,
	.commands = true,
	.claim = claim,
	.serve = serve,
	.in_use = in_use,
	.inflight = inflight,
	.may_grow = may_grow,
	.stop = stop,
};
