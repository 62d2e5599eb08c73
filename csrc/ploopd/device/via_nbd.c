/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's own NBD client, on a pair of sockets: see via.h. The kept
 * descriptor is the server's end; the worker serves it past the handshake
 * (via_nbd_front.c).
 *
 * One connection, without a time limit for requests: with more of them, or with
 * a limit, the kernel repeats a request that is merely slow while it is still
 * under way here, and the first one could then overwrite newer data.
 *
 * When a worker was killed nobody knows how much of the stream it had read, so
 * the keeper gives the device a new connection (renew). The kernel repeats what
 * was in flight on the old one when the request's timer runs out: the first
 * time that it finds another connection (REPEAT_MS; there is no other way to
 * make it, see docs/decisions.md). Each time that it runs out for a request
 * that is merely slow is a line in the kernel's log, so a device with limits,
 * where requests are slow every day, has a longer one. A worker that hands over
 * stops between two requests and leaves the connection as it is.
 *
 * A device is ours when its backend identifier is the attachment's name
 * (Linux 5.14); numbers are reused.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "export/nbd/nbd_wire.h"
#include "ploopd/clock.h"
#include "ploopd/device/blockdev.h"
#include "ploopd/device/nbdlink.h"
#include "ploopd/device/via_nbd.h"
#include "ploopd/keeper/shared.h"
#include "ploopd/log.h"

#define REPEAT_MS 2000u
#define REPEAT_LIMITED_MS 5000u /* also src/attach/nbd-timer.ts */
#define DEAD_S 60u /* for a new connection; then requests fail */
#define RENEW_MS 10000u /* for the kernel to see that one is dead */
#define SETTLE_MS 20u /* for it to have done with the old one */
#define SOCKET_ROOM (2 << 20) /* bytes that may be on their way */
#define MAJOR_NBD 43

/* ---- is it there ---- */

static int open_link(struct pl_failure *f)
{
	int link = pl_nbdlink_open(), rc;

	rc = link < 0 ? link : pl_nbdlink_probe(link);
	if (rc == 0)
		return link;
	if (link >= 0)
		close(link);
	return pl_hint(
		f,
		pl_err_set(&f->err, PL_E_UNSUPPORTED, -rc,
			   "the kernel's NBD client is not there (no "
			   "netlink family \"nbd\")"),
		"Load the module: modprobe nbd. It can be reached from the "
		"host's network namespace only. Or use --via fuse");
}

static int probe(struct pl_failure *f)
{
	int link = open_link(f);

	if (link < 0)
		return link;
	close(link);
	return 0;
}

static bool survives(void)
{
	return true;
}

/* ---- looking, without opening ---- */

static bool is_ours(const char *device, const char *name)
{
	char backend[PL_LOOP_NAME + 1];

	return pl_blockdev_read(device, "backend", backend, sizeof(backend)) ==
		       0 &&
	       !strcmp(backend, name);
}

static bool find(const char *id, struct pl_blockdev *ret)
{
	char name[PL_LOOP_NAME];

	pl_attachment_name(id, name);
	return pl_blockdev_find("nbd", name, is_ours, ret);
}

static const char *short_name(const struct pl_blockdev *dev)
{
	return dev->path + strlen("/dev/");
}

static bool index_of(const char *device, uint32_t *ret)
{
	return sscanf(device, "/dev/nbd%u", ret) == 1;
}

/* ---- making ---- */

static int new_pair(int pair[2])
{
	const int room = SOCKET_ROOM;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	for (int i = 0; i < 2; i++)
		setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	return 0;
}

static int prepare(struct pl_making *m, struct pl_failure *f)
{
	int pair[2], rc = new_pair(pair);

	if (rc < 0)
		return pl_err_sys(&f->err, rc, "sockets for the NBD client");
	m->device_fd = pair[0];
	m->own_fd = pair[1];
	return 0;
}

static int connect_device(struct pl_making *m, uint32_t *ret,
			  struct pl_failure *f)
{
	struct pl_nbdlink_disk disk = {
		.size = m->size,
		.sector_size = m->att->sector_size,
		.server_flags = NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH |
				NBD_FLAG_SEND_FUA | NBD_FLAG_SEND_TRIM |
				NBD_FLAG_SEND_WRITE_ZEROES |
				NBD_FLAG_CAN_MULTI_CONN,
		.dead_s = DEAD_S,
	};
	char name[PL_LOOP_NAME];
	int link = open_link(f), rc;

	if (link < 0)
		return link;
	pl_attachment_name(m->att->id, name);
	disk.backend = name;
	if (m->att->read_only)
		disk.server_flags |= NBD_FLAG_READ_ONLY;
	rc = pl_nbdlink_connect(link, &disk, m->own_fd, ret);
	close(link);
	close(m->own_fd); /* the kernel's now */
	m->own_fd = -1;
	return rc < 0 ? pl_err_sys(&f->err, rc, "cannot set up an NBD device") :
			0;
}

static void set_repeat(const char *device, struct pl_limits limits)
{
	char path[64], text[16];
	int fd, n;

	snprintf(path, sizeof(path), "/sys/block/%.20s/queue/io_timeout",
		 device);
	n = snprintf(text, sizeof(text), "%u",
		     limits.iops || limits.bps ? REPEAT_LIMITED_MS : REPEAT_MS);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	/* Without it the kernel waits for half a minute. */
	if (fd < 0 || write(fd, text, (size_t)n) != n)
		pl_log("%s stays: %s", path, strerrorname_np(errno));
	if (fd >= 0)
		close(fd);
}

/* Makes the node where no udev or devtmpfs does, and reads the partition table
 * (as the kernel does at the first open), while it is sure that we serve. */
static int open_once(const struct pl_blockdev *dev, uint32_t index)
{
	unsigned major = MAJOR_NBD, minor = index << 5;
	int fd = open(dev->path, O_RDONLY | O_CLOEXEC);

	sscanf(dev->devno, "%u:%u", &major, &minor);
	if (fd < 0 && errno == ENOENT &&
	    (mknod(dev->path, S_IFBLK | 0660, makedev(major, minor)) == 0 ||
	     errno == EEXIST))
		fd = open(dev->path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

static void disconnect(uint32_t index)
{
	int link = pl_nbdlink_open();

	if (link >= 0) {
		pl_nbdlink_disconnect(link, index);
		close(link);
	}
}

static int make(struct pl_making *m, struct pl_blockdev *ret,
		struct pl_failure *f)
{
	char device[20], name[PL_LOOP_NAME];
	uint32_t index;
	int rc = connect_device(m, &index, f);

	if (rc < 0)
		return rc;
	snprintf(device, sizeof(device), "nbd%u", index);
	pl_blockdev_describe(device, ret);
	pl_attachment_name(m->att->id, name);
	if (!is_ours(device, name)) {
		disconnect(index);
		return pl_hint(
			f,
			pl_err_set(&f->err, PL_E_UNSUPPORTED, ENOTSUP,
				   "the kernel's NBD client does not say "
				   "whose a device is"),
			"It needs Linux 5.14. Use --via fuse");
	}
	set_repeat(device, m->att->limits);
	rc = open_once(ret, index);
	if (rc == 0)
		return 0;
	disconnect(index);
	return pl_err_sys(&f->err, rc, "cannot open %s", ret->path);
}

static void discard(const char *id)
{
	struct pl_blockdev dev;
	uint32_t index;

	if (find(id, &dev) && index_of(dev.path, &index))
		disconnect(index);
}

/* ---- removing ---- */

struct removal {
	const struct pl_blockdev *dev;
	char name[PL_LOOP_NAME];
	uint32_t index;
	int link;
};

static bool is_there(const struct removal *r)
{
	return is_ours(short_name(r->dev), r->name);
}

/* As a loop device does it: the last one who closes it ends it. -EBUSY: it is
 * claimed, by a mount say. */
static int end_when_closed(const struct removal *r)
{
	int fd = open(r->dev->path, O_RDONLY | O_EXCL | O_CLOEXEC), rc = 0;

	if (fd < 0)
		return errno == ENOENT || errno == ENXIO ? -ENODEV : -errno;
	if (is_there(r))
		rc = pl_nbdlink_end_on_close(r->link, r->index, r->name, true);
	close(fd);
	return rc;
}

static int remove_served(const struct removal *r, uint64_t end_ms,
			 struct pl_failure *f)
{
	int rc;

	/* udev and blkid open a device for a moment: do not give up at once. */
	for (unsigned i = 0; (rc = end_when_closed(r)) == -EBUSY && i < 20; i++)
		pl_sleep_ms(10);
	if (rc == -EBUSY)
		return pl_blockdev_in_use(r->dev, f);
	if (rc < 0 && rc != -ENODEV)
		return pl_err_sys(&f->err, rc, "cannot end %s", r->dev->path);
	for (unsigned wait = 1; is_there(r); wait += wait < 20) {
		if (pl_now_ms() > end_ms) {
			/* Do not pull it away under them some day. */
			pl_nbdlink_end_on_close(r->link, r->index, r->name,
						false);
			return pl_blockdev_in_use(r->dev, f);
		}
		pl_sleep_ms(wait);
	}
	return 0;
}

static bool claimed(const struct removal *r)
{
	int fd = open(r->dev->path, O_RDONLY | O_EXCL | O_CLOEXEC);
	bool busy = fd < 0 && errno == EBUSY;

	if (fd >= 0)
		close(fd);
	return busy;
}

/* Nobody will ever answer what waits for it: let it fail, so that it can be
 * unmounted. */
static int remove_dead(const struct removal *r, struct pl_failure *f)
{
	int rc = pl_nbdlink_disconnect(r->link, r->index);

	if (rc < 0 && rc != -ENODEV)
		return pl_err_sys(&f->err, rc, "cannot end %s", r->dev->path);
	return claimed(r) ? pl_blockdev_in_use(r->dev, f) : 0;
}

static int remove_device(const struct pl_blockdev *dev, const char *id,
			 bool served, unsigned timeout_ms, struct pl_failure *f)
{
	struct removal r = { .dev = dev };
	int rc;

	pl_attachment_name(id, r.name);
	if (!index_of(dev->path, &r.index) || !is_there(&r))
		return 0;
	r.link = open_link(f);
	if (r.link < 0)
		return r.link;
	rc = served ? remove_served(&r, pl_now_ms() + timeout_ms, f) :
		      remove_dead(&r, f);
	close(r.link);
	return rc;
}

/* ---- another size ---- */

static int show_size(const struct pl_blockdev *dev, const char *id,
		     uint64_t size, struct pl_failure *f)
{
	int link = open_link(f), rc = -ENODEV;
	char name[PL_LOOP_NAME];
	uint32_t index;

	if (link < 0)
		return link;
	pl_attachment_name(id, name);
	if (index_of(dev->path, &index))
		rc = pl_nbdlink_resize(link, index, name, size);
	close(link);
	return rc < 0 ? pl_err_sys(&f->err, rc, "cannot change the size of %s",
				   dev->path) :
			0;
}

/* ---- the keeper ---- */

static bool gone(int device_fd)
{
	struct pollfd p = { device_fd, POLLRDHUP, 0 };

	return poll(&p, 1, 0) > 0 && p.revents & (POLLRDHUP | POLLHUP);
}

/* One more connection; -EAGAIN: the kernel still believes in the old one, and
 * has let go of the new one. */
static int offer(const struct pl_kept *kept, uint32_t index, const char *name)
{
	int pair[2], rc = new_pair(pair);

	if (rc < 0)
		return rc;
	rc = pl_nbdlink_reconnect(kept->admin_fd, index, name, pair[1]);
	close(pair[1]);
	if (rc == 0 && gone(pair[0]))
		rc = -EAGAIN;
	if (rc == 0 && dup3(pair[0], kept->device_fd, O_CLOEXEC) < 0)
		rc = -errno;
	close(pair[0]);
	return rc;
}

static int renew(struct pl_kept *kept)
{
	uint64_t end = pl_now_ms() + RENEW_MS;
	char name[PL_LOOP_NAME];
	uint32_t index;
	int rc;

	if (kept->shared->device_clean)
		return 0;
	if (kept->admin_fd < 0 || !index_of(kept->device, &index))
		return -ENODEV;
	pl_attachment_name(kept->att->id, name);
	/*
	 * This is how the kernel knows that nothing more comes from there. Its
	 * sender and its receiver both find out, and each declares dead what is
	 * then in that place (Linux 6.12, recv_work): the second to come must
	 * not find the new connection there. If it does, the worker asks for
	 * one more (PL_EXIT_DROPPED).
	 */
	shutdown(kept->device_fd, SHUT_RDWR);
	pl_sleep_ms(SETTLE_MS);
	while ((rc = offer(kept, index, name)) == -EAGAIN && pl_now_ms() < end)
		pl_sleep_ms(1);
	if (rc == 0)
		kept->shared->device_clean = 1; /* nothing was read yet */
	return rc == -EAGAIN ? -ETIMEDOUT : rc;
}

const struct pl_via pl_via_nbd = {
	.name = "nbd",
	.probe = probe,
	.survives = survives,
	.prepare = prepare,
	.make = make,
	.discard = discard,
	.find = find,
	.remove = remove_device,
	.show_size = show_size,
	.keeps_admin = true,
	.keep = pl_nbdlink_open,
	.renew = renew,
	.gone = gone,
	.serve = pl_nbd_front_serve,
	.in_use = pl_nbd_front_in_use,
	.inflight = pl_nbd_front_inflight,
	.stop = pl_nbd_front_stop,
};
