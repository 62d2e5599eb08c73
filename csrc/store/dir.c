/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An image directory of the host.
 *
 * Names are resolved beneath the directory and without symbolic links
 * (openat2), so that nothing in an image can lead out of it. New files are
 * 0600. The lock is a flock on the file "lock", which works across processes
 * and, on network file systems that emulate it, across hosts.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/co.h"
#include "store/file_int.h"

/* Ten seconds, for the last writes of a process that was killed. */
#define DRAIN_TRIES 5000u
#define DRAIN_PAUSE_NS 2000000

struct host_dir {
	struct pl_dir dir;
	int fd, lock_fd;
	struct pl_loop *loop;
};

static const struct pl_dir_ops host_dir_ops;

static struct host_dir *host_of(struct pl_dir *dir)
{
	return (struct host_dir *)dir;
}

static int open_beneath(int dir_fd, const char *name, uint64_t flags)
{
	struct open_how how = {
		.flags = flags | O_CLOEXEC | O_NOFOLLOW,
		.mode = flags & O_CREAT ? 0600 : 0,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
			   RESOLVE_NO_MAGICLINKS,
	};
	long fd;

	do {
		fd = syscall(SYS_openat2, dir_fd, name, &how, sizeof(how));
	} while (fd < 0 && (errno == EINTR || errno == EAGAIN));
	return fd < 0 ? -errno : (int)fd;
}

static int open_error(const struct pl_dir *dir, const char *name, int rc,
		      struct pl_err *err)
{
	if (rc == -ENOENT)
		return pl_err_set(err, PL_E_NOT_FOUND, ENOENT,
				  "%s/%s does not exist", dir->path, name);
	if (rc == -EEXIST)
		return pl_err_set(err, PL_E_EXISTS, EEXIST,
				  "%s/%s exists already", dir->path, name);
	if (rc == -ELOOP)
		return pl_err_set(err, PL_E_CORRUPT, ELOOP,
				  "%s/%s: symbolic links are not followed "
				  "inside an image",
				  dir->path, name);
	return pl_err_sys(err, rc, "%s/%s", dir->path, name);
}

/* -EWOULDBLOCK: not in time. */
static int lock_patiently(int fd)
{
	const struct timespec pause = { .tv_nsec = DRAIN_PAUSE_NS };
	int rc = flock(fd, LOCK_EX | LOCK_NB);

	for (unsigned i = 0; rc < 0 && i < DRAIN_TRIES; i++) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return -errno;
		nanosleep(&pause, NULL);
		rc = flock(fd, LOCK_EX | LOCK_NB);
	}
	return rc < 0 ? -errno : 0;
}

/*
 * Waits until every I/O of a process that died with this file open has ended:
 * writers hold a shared flock on each of their descriptions, which is released
 * only with the last reference, and operations in flight are references. Those
 * are direct writes; what a thread of the ring does (anything else that waits)
 * keeps the process itself from ending.
 */
static int drain(int fd, int direct_fd, bool beside)
{
	int rc = beside ? 0 : lock_patiently(fd);

	if (rc < 0)
		return rc;
	rc = flock(fd, LOCK_SH);
	if (rc == 0 && direct_fd >= 0)
		rc = flock(direct_fd, LOCK_SH);
	return rc < 0 ? -errno : 0;
}

static int too_late(const struct pl_dir *dir, const char *name,
		    struct pl_err *err)
{
	return pl_err_set(err, PL_E_TIMEOUT, ETIMEDOUT,
			  "%s/%s: a write of a process that was killed has not "
			  "ended; the storage below holds it back",
			  dir->path, name);
}

static int host_open(struct pl_dir *dir, const char *name, unsigned flags,
		     struct pl_store **ret, struct pl_err *err)
{
	struct host_dir *h = host_of(dir);
	uint64_t how = flags & PL_OPEN_WRITE ? O_RDWR : O_RDONLY;
	int direct_fd = -1, fd, rc;
	struct stat sb;

	/* Not to wait in front of a pipe that somebody put there. */
	fd = open_beneath(h->fd, name,
			  how | O_NONBLOCK |
				  (flags & PL_OPEN_CREATE ? O_CREAT | O_EXCL :
							    0));
	if (fd < 0)
		return open_error(dir, name, fd, err);
	if (fstat(fd, &sb) < 0 || !S_ISREG(sb.st_mode)) {
		close(fd);
		return pl_err_set(err, PL_E_CORRUPT, EINVAL,
				  "%s/%s is not a regular file", dir->path,
				  name);
	}
	fcntl(fd, F_SETFL, 0);
	if (flags & PL_OPEN_DIRECT) {
		direct_fd = open_beneath(h->fd, name, how | O_DIRECT);
		if (direct_fd < 0 && direct_fd != -EINVAL) {
			close(fd);
			return open_error(dir, name, direct_fd, err);
		}
	}
	rc = flags & PL_OPEN_WRITE ?
		     drain(fd, direct_fd, flags & PL_OPEN_BESIDE) :
		     0;
	if (rc == 0)
		rc = pl_file_new(ret, fd, direct_fd < 0 ? -1 : direct_fd,
				 h->loop);
	if (rc < 0) {
		close(fd);
		if (direct_fd >= 0)
			close(direct_fd);
		return rc == -EWOULDBLOCK ?
			       too_late(dir, name, err) :
			       pl_err_sys(err, rc, "%s/%s", dir->path, name);
	}
	return 0;
}

struct renaming {
	int fd;
	const char *from, *to;
};

static void prep_rename(struct io_uring_sqe *sqe, void *arg)
{
	const struct renaming *r = arg;

	io_uring_prep_renameat(sqe, r->fd, r->from, r->fd, r->to, 0);
}

/* It may wait for a commit of the host's journal, and requests must not. */
static int host_rename(struct pl_dir *dir, const char *from, const char *to)
{
	struct renaming r = { host_of(dir)->fd, from, to };
	struct pl_loop *loop = host_of(dir)->loop;
	int rc = -EINVAL; /* also what kernels before 5.11 say */

	if (loop && pl_co_self())
		rc = pl_loop_call(loop, prep_rename, &r);
	if (rc == -EINVAL)
		rc = renameat(r.fd, from, r.fd, to) < 0 ? -errno : 0;
	return rc;
}

static int host_unlink(struct pl_dir *dir, const char *name)
{
	return unlinkat(host_of(dir)->fd, name, 0) < 0 ? -errno : 0;
}

static int host_mkdir(struct pl_dir *dir, const char *name)
{
	return mkdirat(host_of(dir)->fd, name, 0700) < 0 ? -errno : 0;
}

static int open_sub(struct pl_dir *dir, const char *sub)
{
	return open_beneath(host_of(dir)->fd, *sub ? sub : ".",
			    O_RDONLY | O_DIRECTORY);
}

/* name: in one folder ("layers/x.plp"), the same in both. */
static int host_link(struct pl_dir *dir, struct pl_dir *from, const char *name)
{
	const char *base = strrchr(name, '/');
	char sub[64];
	int a, b, rc = 0;

	if (dir->ops != from->ops)
		return -EOPNOTSUPP;
	if (!base || (size_t)(base - name) >= sizeof(sub))
		return -EINVAL;
	snprintf(sub, sizeof(sub), "%.*s", (int)(base - name), name);
	a = open_sub(from, sub);
	b = open_sub(dir, sub);
	if (a < 0 || b < 0)
		rc = a < 0 ? a : b;
	else if (linkat(a, base + 1, b, base + 1, 0) < 0)
		rc = -errno;
	if (a >= 0)
		close(a);
	if (b >= 0)
		close(b);
	return rc;
}

static void prep_sync(struct io_uring_sqe *sqe, void *arg)
{
	io_uring_prep_fsync(sqe, *(int *)arg, 0);
}

static int host_sync(struct pl_dir *dir, const char *sub)
{
	struct pl_loop *loop = host_of(dir)->loop;
	int fd = open_sub(dir, sub), rc;

	if (fd < 0)
		return fd;
	if (loop && pl_co_self())
		rc = pl_loop_call(loop, prep_sync, &fd);
	else
		rc = fsync(fd) < 0 ? -errno : 0;
	close(fd);
	return rc;
}

static int host_list(struct pl_dir *dir, const char *sub,
		     int (*each)(void *arg, const char *name), void *arg)
{
	int fd = open_sub(dir, sub), rc = 0;
	struct dirent *de;
	DIR *d;

	if (fd < 0)
		return fd;
	d = fdopendir(fd);
	if (!d) {
		rc = -errno;
		close(fd);
		return rc;
	}
	while (rc == 0 && (de = readdir(d)) != NULL)
		if (strcmp(de->d_name, ".") != 0 &&
		    strcmp(de->d_name, "..") != 0)
			rc = each(arg, de->d_name);
	closedir(d);
	return rc;
}

/* Who holds the lock, as its taker wrote it. */
static void read_holder(int fd, char *buf, size_t size)
{
	ssize_t n = pread(fd, buf, size - 1, 0);

	buf[n > 0 ? n : 0] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
	if (!buf[0])
		snprintf(buf, size, "another process");
}

static int host_lock(struct pl_dir *dir, bool exclusive, const char *who,
		     struct pl_err *err)
{
	struct host_dir *h = host_of(dir);
	char holder[200];
	int fd, rc;

	fd = open_beneath(h->fd, "lock", O_RDWR | O_CREAT);
	if (fd == -EROFS || fd == -EACCES)
		fd = open_beneath(h->fd, "lock", O_RDONLY);
	if (fd < 0)
		return open_error(dir, "lock", fd, err);
	if (flock(fd, (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB) < 0) {
		rc = errno == EWOULDBLOCK ? -EBUSY : -errno;
		read_holder(fd, holder, sizeof(holder));
		close(fd);
		if (rc != -EBUSY)
			return pl_err_sys(err, rc, "%s/lock", dir->path);
		return pl_err_set(err, PL_E_BUSY, EBUSY, "%s is in use by %s",
				  dir->path, holder);
	}
	if (exclusive && who && ftruncate(fd, 0) == 0)
		dprintf(fd, "%s\n", who);
	h->lock_fd = fd;
	return 0;
}

static void host_unlock(struct pl_dir *dir)
{
	struct host_dir *h = host_of(dir);

	if (h->lock_fd >= 0)
		close(h->lock_fd);
	h->lock_fd = -1;
}

static void host_close(struct pl_dir *dir)
{
	host_unlock(dir);
	close(host_of(dir)->fd);
	free(dir);
}

static const struct pl_dir_ops host_dir_ops = {
	.name = "host",
	.open = host_open,
	.rename = host_rename,
	.unlink = host_unlink,
	.mkdir = host_mkdir,
	.link = host_link,
	.sync = host_sync,
	.list = host_list,
	.lock = host_lock,
	.unlock = host_unlock,
	.close = host_close,
};

void pl_dir_set_loop(struct pl_dir *dir, struct pl_loop *loop)
{
	if (dir->ops == &host_dir_ops)
		host_of(dir)->loop = loop;
}

int pl_dir_lock_fd(const struct pl_dir *dir)
{
	return dir->ops == &host_dir_ops ?
		       ((const struct host_dir *)dir)->lock_fd :
		       -1;
}

int pl_dir_open(struct pl_dir **ret, const char *path, unsigned flags,
		struct pl_loop *loop, struct pl_err *err)
{
	struct host_dir *h;
	int fd;

	if (flags & PL_OPEN_CREATE && mkdir(path, 0700) < 0 && errno != EEXIST)
		return pl_err_sys(err, -errno, "cannot create %s", path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return pl_err_set(err, PL_E_NOT_FOUND, ENOENT,
				  "%s does not exist", path);
	if (fd < 0 && errno == ENOTDIR)
		return pl_err_set(err, PL_E_NOT_AN_IMAGE, ENOTDIR,
				  "%s is not an image: an image is a directory",
				  path);
	if (fd < 0)
		return pl_err_sys(err, -errno, "%s", path);
	h = calloc(1, sizeof(*h));
	if (!h) {
		close(fd);
		return pl_err_sys(err, -ENOMEM, "%s", path);
	}
	h->dir.ops = &host_dir_ops;
	h->fd = fd;
	h->lock_fd = -1;
	h->loop = loop;
	snprintf(h->dir.path, sizeof(h->dir.path), "%s", path);
	*ret = &h->dir;
	return 0;
}
