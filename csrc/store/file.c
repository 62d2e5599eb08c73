/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file store: one file of the host.
 *
 * Data goes through an O_DIRECT descriptor where the caller asked for it and
 * the host can; metadata (PL_IO_META) goes through the page cache, where it
 * outlives this process. The two never touch the same 4 KiB page at a time:
 * that is the layer's promise.
 *
 * With a loop and inside a coroutine, operations go through io_uring, but for
 * short syncs; otherwise submit() does the work itself and is done when it
 * returns.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/co.h"
#include "store/file_int.h"
#include "store/quick.h"

/* The kernel moves at most this much per call (MAX_RW_COUNT), rounded. */
#define CALL_MAX (1u << 30)

/*
 * Large reads through the page cache: what is not in there is read by a thread
 * of the ring, which waits as an ordinary reader does. The kernel reads ahead
 * for that in large folios, and not for reads that may not wait.
 */
#define LARGE (64u << 10) /* bytes */
#define ASKED 0x100u /* in pl_io.flags: only what is in the cache */
#define COLD_READS 16u /* after a miss, before the cache is asked again */

#define LITTLE (256u << 10) /* bytes to sync that our own thread may wait for */

struct file {
	struct pl_store st;
	int fd, direct_fd;
	unsigned cold; /* large reads that go to a thread at once */
	unsigned busy; /* operations under way */
	uint64_t unsynced; /* bytes, since the last sync began */
	struct pl_quick syncs;
	struct pl_loop *loop;
};

static struct file *file_of(struct pl_store *st)
{
	return (struct file *)st;
}

static int fd_for(const struct file *f, const struct pl_io *io)
{
	return (io->flags & PL_IO_META) || f->direct_fd < 0 ? f->fd :
							      f->direct_fd;
}

static unsigned left_of(const struct pl_io *io)
{
	uint64_t left = io->len - io->progress;

	return left > CALL_MAX ? CALL_MAX : (unsigned)left;
}

static void done(struct file *f, struct pl_io *io)
{
	f->busy--;
	if (io->op == PL_IO_SYNC)
		pl_quick_note(&f->syncs, io->start_ns, io->res);
	io->done = true;
	io->fn(io);
}

/* Hosts without hole punching get zeros written instead. */
static int zero_instead(const struct file *f, const struct pl_io *io)
{
	static const char zeros[64 << 10];
	uint64_t done = 0, n;
	ssize_t rc;

	while (done < io->len) {
		n = io->len - done < sizeof(zeros) ? io->len - done :
						     sizeof(zeros);
		rc = pwrite(f->fd, zeros, n, (off_t)(io->off + done));
		if (rc < 0)
			return -errno;
		done += (uint64_t)rc;
	}
	return 0;
}

static int punch_mode(const struct pl_io *io)
{
	return FALLOC_FL_KEEP_SIZE |
	       (io->flags & PL_IO_KEEP ? FALLOC_FL_ZERO_RANGE :
					 FALLOC_FL_PUNCH_HOLE);
}

/* Space that can't be kept is given up: zeros are what was promised. */
static bool punch_instead(struct pl_io *io, int res)
{
	if (io->op != PL_IO_PUNCH || !(io->flags & PL_IO_KEEP) ||
	    (res != -EOPNOTSUPP && res != -ENOSPC))
		return false;
	io->flags &= ~PL_IO_KEEP;
	return true;
}

/* What the kernel did; true when the operation needs another call. */
static bool advance(const struct file *f, struct pl_io *io, int res)
{
	if (res == -EINTR || res == -EAGAIN)
		return true;
	if (punch_instead(io, res))
		return true;
	if (io->op == PL_IO_PUNCH && res == -EOPNOTSUPP)
		res = zero_instead(f, io);
	if (res < 0 || io->op == PL_IO_SYNC || io->op == PL_IO_PUNCH) {
		io->res = res < 0 ? res : 0;
		return false;
	}
	if (res == 0) {
		/* End of file: zeros to a reader, no room to a writer. */
		io->res = io->op == PL_IO_READ ? 0 : -ENOSPC;
		if (io->op == PL_IO_READ)
			memset((char *)io->buf + io->progress, 0,
			       io->len - io->progress);
		return false;
	}
	io->progress += (uint64_t)res;
	io->res = 0;
	return io->progress < io->len;
}

static int call(const struct file *f, const struct pl_io *io)
{
	char *p = (char *)io->buf + io->progress;
	off_t off = (off_t)(io->off + io->progress);
	ssize_t rc = -1;

	switch (io->op) {
	case PL_IO_READ:
		rc = pread(fd_for(f, io), p, left_of(io), off);
		break;
	case PL_IO_WRITE:
		rc = pwrite(fd_for(f, io), p, left_of(io), off);
		break;
	case PL_IO_SYNC:
		rc = fdatasync(f->fd);
		break;
	case PL_IO_PUNCH:
		rc = fallocate(f->fd, punch_mode(io), off, (off_t)io->len);
		break;
	}
	return rc < 0 ? -errno : (int)rc;
}

static void submit_ring(struct file *f, struct pl_io *io);

static bool large_read(const struct file *f, const struct pl_io *io)
{
	return io->op == PL_IO_READ && !(io->flags & PL_IO_META) &&
	       f->direct_fd < 0 && left_of(io) >= LARGE;
}

static void prep_read(struct file *f, struct pl_io *io,
		      struct io_uring_sqe *sqe, char *p, uint64_t off)
{
	io_uring_prep_read(sqe, fd_for(f, io), p, left_of(io), off);
	io->flags &= ~ASKED;
	if (!large_read(f, io))
		return;
	if (f->cold) {
		f->cold--;
		sqe->flags |= IOSQE_ASYNC;
	} else {
		sqe->rw_flags = RWF_NOWAIT;
		io->flags |= ASKED;
	}
}

/* Not in the cache, or a host that can't say so: true, to be read by a thread. */
static bool missed(struct file *f, const struct pl_io *io, int res)
{
	if (!(io->flags & ASKED) || (res != -EAGAIN && res != -EOPNOTSUPP))
		return false;
	f->cold = COLD_READS;
	return true;
}

static void ring_done(struct pl_ev *ev, int res, bool more)
{
	struct pl_io *io =
		(struct pl_io *)((char *)ev - offsetof(struct pl_io, ev));

	(void)more;
	if (missed(file_of(io->st), io, res) ||
	    advance(file_of(io->st), io, res))
		submit_ring(file_of(io->st), io);
	else
		done(file_of(io->st), io);
}

static void submit_ring(struct file *f, struct pl_io *io)
{
	struct io_uring_sqe *sqe = pl_loop_sqe(f->loop, &io->ev);
	char *p = (char *)io->buf + io->progress;
	uint64_t off = io->off + io->progress;

	switch (io->op) {
	case PL_IO_READ:
		prep_read(f, io, sqe, p, off);
		break;
	case PL_IO_WRITE:
		io_uring_prep_write(sqe, fd_for(f, io), p, left_of(io), off);
		/* Trying without blocking first would be in vain. */
		if (io->flags & PL_IO_ALLOCATES && f->direct_fd >= 0)
			sqe->flags |= IOSQE_ASYNC;
		break;
	case PL_IO_SYNC:
		io_uring_prep_fsync(sqe, f->fd, IORING_FSYNC_DATASYNC);
		break;
	case PL_IO_PUNCH:
		io_uring_prep_fallocate(sqe, f->fd, punch_mode(io), (off_t)off,
					(off_t)io->len);
		break;
	}
}

static void do_here(struct file *f, struct pl_io *io)
{
	while (advance(f, io, call(f, io)))
		;
	done(f, io);
}

/*
 * The ring always gives syncs to a thread. A short one is not worth that while
 * nobody but who waits for it counts on us.
 */
static bool short_sync(const struct file *f, const struct pl_io *io,
		       uint64_t unsynced)
{
	return io->op == PL_IO_SYNC && unsynced <= LITTLE && f->busy == 1 &&
	       pl_quick_enough(&f->syncs) && pl_loop_requests(f->loop) == 1;
}

static void file_submit(struct pl_store *st, struct pl_io *io)
{
	struct file *f = file_of(st);
	uint64_t unsynced = f->unsynced;

	io->st = st;
	io->progress = 0;
	io->ev.fn = ring_done;
	f->busy++;
	if (io->op == PL_IO_SYNC) {
		io->start_ns = pl_quick_now_ns();
		f->unsynced = 0;
	} else if (io->op != PL_IO_READ) {
		f->unsynced += io->len;
	}
	if (!f->loop || !pl_co_self()) {
		do_here(f, io);
	} else if (short_sync(f, io, unsynced)) {
		pl_loop_submit(f->loop);
		do_here(f, io);
	} else {
		submit_ring(f, io);
	}
}

static int file_size(struct pl_store *st, uint64_t *ret_bytes)
{
	struct stat sb;

	if (fstat(file_of(st)->fd, &sb) < 0)
		return -errno;
	*ret_bytes = (uint64_t)sb.st_size;
	return 0;
}

static int file_usage(struct pl_store *st, uint64_t *ret_host_bytes)
{
	struct stat sb;

	if (fstat(file_of(st)->fd, &sb) < 0)
		return -errno;
	*ret_host_bytes = (uint64_t)sb.st_blocks * 512;
	return 0;
}

static int file_truncate(struct pl_store *st, uint64_t size)
{
	return ftruncate(file_of(st)->fd, (off_t)size) < 0 ? -errno : 0;
}

static int file_seek_data(struct pl_store *st, uint64_t off,
			  uint64_t *ret_start, uint64_t *ret_end)
{
	int fd = file_of(st)->fd;
	off_t start = lseek(fd, (off_t)off, SEEK_DATA), end;

	if (start < 0 && errno == ENXIO) {
		*ret_start = *ret_end = UINT64_MAX;
		return 0;
	}
	if (start < 0)
		return -errno;
	end = lseek(fd, start, SEEK_HOLE);
	if (end < 0)
		return -errno;
	*ret_start = (uint64_t)start;
	*ret_end = (uint64_t)end;
	return 0;
}

static int file_seek_space(struct pl_store *st, uint64_t off,
			   uint64_t *ret_start, uint64_t *ret_end)
{
	union {
		struct fiemap map;
		char room[sizeof(struct fiemap) + sizeof(struct fiemap_extent)];
	} ask = { .map = { .fm_start = off,
			   .fm_length = FIEMAP_MAX_OFFSET - off,
			   .fm_extent_count = 1 } };
	const struct fiemap_extent *e = ask.map.fm_extents;

	if (ioctl(file_of(st)->fd, FS_IOC_FIEMAP, &ask) < 0)
		return errno == ENOTTY ? -EOPNOTSUPP : -errno;
	*ret_start = *ret_end = UINT64_MAX;
	if (ask.map.fm_mapped_extents) {
		*ret_start = e->fe_logical > off ? e->fe_logical : off;
		*ret_end = e->fe_logical + e->fe_length;
	}
	return 0;
}

static int file_clone(struct pl_store *st, uint64_t off, struct pl_store *from,
		      uint64_t from_off, uint64_t len)
{
	struct file_clone_range range = {
		.src_fd = file_of(from)->fd,
		.src_offset = from_off,
		.src_length = len,
		.dest_offset = off,
	};

	if (ioctl(file_of(st)->fd, FICLONERANGE, &range) == 0)
		return 0;
	return errno == ENOSPC || errno == EDQUOT || errno == EIO ? -errno :
								    -EOPNOTSUPP;
}

/* A lock of the open file description, on the first byte. */
static int file_lock(struct pl_store *st, enum pl_store_lock lock)
{
	static const short types[] = { F_UNLCK, F_RDLCK, F_WRLCK };
	struct flock fl = { .l_type = types[lock],
			    .l_whence = SEEK_SET,
			    .l_len = 1 };

	if (fcntl(file_of(st)->fd, F_OFD_SETLK, &fl) == 0)
		return 0;
	return errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
}

static int file_links(struct pl_store *st, uint64_t *ret)
{
	struct stat sb;

	if (fstat(file_of(st)->fd, &sb) < 0)
		return -errno;
	*ret = (uint64_t)sb.st_nlink;
	return 0;
}

static void file_close(struct pl_store *st)
{
	struct file *f = file_of(st);

	if (f->direct_fd >= 0)
		close(f->direct_fd);
	close(f->fd);
	free(f);
}

static const struct pl_store_ops file_ops = {
	.name = "file",
	.submit = file_submit,
	.size = file_size,
	.truncate = file_truncate,
	.seek_data = file_seek_data,
	.seek_space = file_seek_space,
	.usage = file_usage,
	.clone = file_clone,
	.lock = file_lock,
	.links = file_links,
	.close = file_close,
};

/* What O_DIRECT wants; 4096 suits every device when the kernel won't say. */
static uint32_t direct_align(int fd)
{
#ifdef STATX_DIOALIGN
	struct statx sx;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &sx) == 0 &&
	    (sx.stx_mask & STATX_DIOALIGN) && sx.stx_dio_offset_align &&
	    sx.stx_dio_mem_align <= 512)
		return sx.stx_dio_offset_align;
#else
	(void)fd;
#endif
	return 4096;
}

int pl_file_new(struct pl_store **ret, int fd, int direct_fd,
		struct pl_loop *loop)
{
	struct file *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	f->st.ops = &file_ops;
	f->st.align = direct_fd >= 0 ? direct_align(direct_fd) : 1;
	f->fd = fd;
	f->direct_fd = direct_fd;
	f->loop = loop;
	*ret = &f->st;
	return 0;
}
