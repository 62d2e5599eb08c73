/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moves the pieces of the victims, sparsest unit first, into the holes that
 * the donor holds, and gives the emptied units back.
 *
 * The exchange is the kernel's (EXT4_IOC_MOVE_EXT): under the inode's lock,
 * data before journal commit, so that a file is whole at every moment, also
 * for those who write it meanwhile and after a crash.
 *
 * A file that can be executed is moved only under a write lease: execve()
 * would fail (ETXTBSY) while it is open for writing; with the lease it waits
 * for the few milliseconds until it is closed.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "donor.h"

/* Of fs/ext4/ext4.h; no header of the system carries them. */
struct move_extent {
	uint32_t reserved, donor_fd;
	uint64_t orig_start, donor_start, len, moved_len;
};
#define EXT4_IOC_MOVE_EXT _IOWR('f', 15, struct move_extent)

/*
 * What one exchange moves: the file stays locked for so long, and the next
 * commit of anybody's writes it out first.
 */
#define MAX_MOVE_BYTES (256u << 10)
#define MAX_FOLIO_BYTES (2 << 20)
#define SEC_NS 1000000000u

struct mover {
	struct pack *p;
	struct pack_donor donor;
	size_t next; /* piece */
	uint64_t start_ns, start_blocks;
	/* donor blocks that hold what was in victims, to be given back */
	struct pack_hole *old;
	size_t olds, old_cap;
};

/* ---- order ---- */

static const struct pack *order_of;

static int by_victim(const void *a, const void *b)
{
	const struct pack_piece *x = a, *y = b;
	const struct pack *p = order_of;
	uint64_t ux = x->block / p->unit_blocks, uy = y->block / p->unit_blocks;
	uint32_t fx = p->unit[ux].used, fy = p->unit[uy].used;

	if (fx != fy)
		return fx < fy ? -1 : 1;
	if (x->block != y->block)
		return x->block < y->block ? -1 : 1;
	return 0;
}

static void order_pieces(struct pack *p)
{
	size_t kept = 0;

	for (size_t i = 0; i < p->pieces; i++)
		if (p->unit[p->piece[i].block / p->unit_blocks].victim)
			p->piece[kept++] = p->piece[i];
	p->pieces = kept;
	order_of = p;
	qsort(p->piece, p->pieces, sizeof(*p->piece), by_victim);
}

/* ---- limits ---- */

static int check_stop(const struct pack *p)
{
	if (*p->stop)
		return -EINTR;
	return p->deadline_ns && pack_now_ns() >= p->deadline_ns ? -ETIME : 0;
}

/* With no file open: none must wait for us that long. */
static int check_limits(struct mover *m)
{
	struct pack *p = m->p;
	uint64_t now_ns = pack_now_ns();
	int ret = check_stop(p);

	if (ret < 0)
		return ret;
	if (p->progress)
		p->progress(p);
	load_rest(&p->load);
	if (p->rate == 0)
		return *p->stop ? -EINTR : 0;
	uint64_t bytes = (p->moved_blocks - m->start_blocks) * p->block_size;
	double due_s = (double)bytes / (double)p->rate;
	double ahead_s = due_s - (double)(now_ns - m->start_ns) / SEC_NS;

	if (ahead_s > 0) {
		struct timespec ts = { .tv_sec = (time_t)ahead_s };

		ts.tv_nsec = (long)((ahead_s - (double)ts.tv_sec) * SEC_NS);
		nanosleep(&ts, NULL);
	}
	return *p->stop ? -EINTR : 0;
}

/* ---- one file ---- */

/* Where a run of the file is, if it is in one piece; 0 = it is not. */
static uint64_t place_of(const struct pack *p, int fd, uint32_t lblk,
			 uint32_t len)
{
	struct {
		struct fiemap fm;
		struct fiemap_extent extent;
	} buf;
	uint64_t start = (uint64_t)lblk * p->block_size;
	uint64_t bytes = (uint64_t)len * p->block_size;

	memset(&buf, 0, sizeof(buf));
	buf.fm.fm_start = start;
	buf.fm.fm_length = bytes;
	buf.fm.fm_extent_count = 1;
	if (ioctl(fd, FS_IOC_FIEMAP, &buf.fm) < 0 ||
	    buf.fm.fm_mapped_extents != 1)
		return 0;
	const struct fiemap_extent *fe = &buf.extent;

	if (fe->fe_logical > start ||
	    fe->fe_logical + fe->fe_length < start + bytes ||
	    (fe->fe_flags & (FIEMAP_EXTENT_DELALLOC | FIEMAP_EXTENT_UNKNOWN)))
		return 0;
	return (fe->fe_physical + (start - fe->fe_logical)) / p->block_size;
}

/* Opens a file so that its blocks can be exchanged. -1 and errno. */
static int open_to_move(const struct pack *p, uint32_t ino)
{
	struct stat st;
	int path = pack_open_inode(p, ino, O_PATH), fd = -1;

	if (path < 0)
		return -1;
	/* It stays what it is while path is open. */
	if (fstat(path, &st) == 0 && S_ISREG(st.st_mode))
		fd = pack_open_inode(p, ino, O_RDWR | O_NOATIME);
	if (fd >= 0 && (st.st_mode & 0111) &&
	    fcntl(fd, F_SETLEASE, F_WRLCK) < 0) {
		close(fd);
		fd = -1;
		errno = ETXTBSY;
	}
	close(path);
	return fd;
}

/* Blocks of it that are in memory; at most MAX_MOVE_BYTES long. */
static uint32_t cached(const struct pack *p, int fd, uint32_t lblk,
		       uint32_t len)
{
	size_t bytes = (size_t)len * p->block_size;
	unsigned char in_core[MAX_MOVE_BYTES / 4096];
	void *at = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd,
			(off_t)lblk * p->block_size);
	uint32_t n = 0;

	if (at == MAP_FAILED)
		return len;
	if (mincore(at, bytes, in_core) < 0)
		n = len;
	for (uint32_t i = 0; n < len && i < len; i++)
		n += in_core[i] & 1;
	munmap(at, bytes);
	return n;
}

/*
 * Reads what is to be moved into memory in single pages. Larger folios, which
 * reading ahead makes, the kernel exchanges page by page with a journal commit
 * for each (2.7 ms a page). Those that cannot be dropped, because a program
 * has them mapped or writes them, stay. *ret_was: some was in memory before.
 */
static bool load(const struct pack *p, int fd, uint32_t lblk, uint32_t len,
		 bool *ret_was)
{
	off_t off = (off_t)lblk * p->block_size;
	off_t bytes = (off_t)len * p->block_size;

	*ret_was = cached(p, fd, lblk, len) > 0;
	if (*ret_was) {
		sync_file_range(fd, off, bytes,
				SYNC_FILE_RANGE_WAIT_BEFORE |
					SYNC_FILE_RANGE_WRITE |
					SYNC_FILE_RANGE_WAIT_AFTER);
		/* A folio is dropped only if all of it is named. */
		off_t from = off - off % MAX_FOLIO_BYTES;
		off_t to = off + bytes + MAX_FOLIO_BYTES - 1;

		to -= to % MAX_FOLIO_BYTES;
		posix_fadvise(fd, from, to - from, POSIX_FADV_DONTNEED);
		if (cached(p, fd, lblk, len) > 0)
			return false;
	}
	posix_fadvise(fd, off, bytes, POSIX_FADV_WILLNEED);
	return true;
}

static int remember_old(struct mover *m, struct pack_hole hole)
{
	if (m->olds == m->old_cap) {
		size_t cap = m->old_cap ? m->old_cap * 2 : 256;
		struct pack_hole *grown = realloc(m->old, cap * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		m->old = grown;
		m->old_cap = cap;
	}
	m->old[m->olds++] = hole;
	return 0;
}

/* Exchanges; answers how many blocks went, from the start of the hole. */
static uint32_t exchange(struct mover *m, int fd, uint32_t lblk,
			 struct pack_hole hole)
{
	struct pack *p = m->p;
	struct move_extent me = { .donor_fd = (uint32_t)m->donor.fd,
				  .orig_start = lblk,
				  .donor_start = hole.lblk,
				  .len = hole.len };
	off_t off = (off_t)lblk * p->block_size;
	off_t bytes = (off_t)hole.len * p->block_size;
	bool was;

	if (!load(p, fd, lblk, hole.len, &was))
		return 0;
	int ret = ioctl(fd, EXT4_IOC_MOVE_EXT, &me);
	uint32_t n = me.moved_len < hole.len ? (uint32_t)me.moved_len :
					       hole.len;

	if (ret < 0 && n == 0)
		return 0;
	/* What the file system says now is what counts. */
	if (n == 0 || place_of(p, fd, lblk, n) != hole.block)
		return 0;
	if (!was) {
		sync_file_range(fd, off, (off_t)n * p->block_size,
				SYNC_FILE_RANGE_WRITE |
					SYNC_FILE_RANGE_WAIT_AFTER);
		posix_fadvise(fd, off, bytes, POSIX_FADV_DONTNEED);
	}
	return n;
}

/* ---- pieces ---- */

static void count_moved(struct mover *m, const struct pack_piece *piece,
			struct pack_hole hole, uint32_t n)
{
	struct pack *p = m->p;

	p->moved_blocks += n;
	p->moved_pieces++;
	p->unit[piece->block / p->unit_blocks].used -= n;
	p->unit[hole.block / p->unit_blocks].used += n;
	pack_written(p, hole.block, n);
}

/*
 * Moves as much of the piece as there is a hole for. What is left of it stays
 * in the list; a piece that cannot be moved is given up.
 */
static int move_piece(struct mover *m, int fd, struct pack_piece *piece)
{
	struct pack *p = m->p;
	uint32_t most = MAX_MOVE_BYTES / p->block_size;

	while (piece->len > 0) {
		uint32_t want = piece->len < most ? piece->len : most;
		int ret = check_stop(p);

		if (ret < 0)
			return ret;
		if (place_of(p, fd, piece->lblk, want) != piece->block)
			return -EAGAIN; /* it changed */
		struct pack_hole hole = pack_donor_take(&m->donor, want);

		if (hole.len == 0)
			return -ENOBUFS;
		uint32_t n = exchange(m, fd, piece->lblk, hole);

		ret = remember_old(m, hole);
		if (n == 0 || ret < 0)
			return ret < 0 ? ret : -EBUSY;
		count_moved(m, piece, hole, n);
		piece->lblk += n;
		piece->block += n;
		piece->len -= n;
	}
	return 0;
}

/* Until the holes are used up or nothing is left to move. */
static int move_pieces(struct mover *m)
{
	struct pack *p = m->p;

	while (m->next < p->pieces) {
		struct pack_piece *piece = &p->piece[m->next];
		int ret = check_limits(m);

		if (ret < 0)
			return ret;
		if (m->donor.holes == 0)
			return 0;
		ret = -ETXTBSY;
		if (!pack_inode_bit(p, p->stuck, piece->ino)) {
			int fd = open_to_move(p, piece->ino);

			ret = fd < 0 ? -errno : move_piece(m, fd, piece);
			if (fd >= 0)
				close(fd);
		}
		if (ret == -EINTR || ret == -ETIME || ret == -ENOMEM)
			return ret;
		if (ret == -ENOBUFS)
			return 0;
		if (ret < 0)
			p->busy_pieces++;
		if (ret < 0 && ret != -EAGAIN)
			pack_set_inode_bit(p, p->stuck, piece->ino);
		m->next++;
	}
	return 0;
}

/* ---- giving back ---- */

static int trim_emptied(struct pack *p)
{
	uint64_t from = 0, n = 0;
	int ret = 0;

	for (uint64_t i = 0; ret == 0 && i <= p->units; i++) {
		bool now = i < p->units && p->unit[i].victim &&
			   p->unit[i].used == 0;

		if (now) {
			p->unit[i].victim = false;
			p->emptied_units++;
			from = n++ ? from : i;
		} else if (n > 0) {
			ret = pack_trim(p, from * p->unit_blocks,
					n * p->unit_blocks);
			load_rest(&p->load);
			n = 0;
		}
	}
	return ret;
}

/*
 * Frees what was exchanged, waits until that is committed (before, ext4 trims
 * nothing of it), and trims the units that are empty now.
 */
static int give_back(struct mover *m)
{
	int ret = 0;

	for (size_t i = 0; i < m->olds; i++) {
		struct pack_hole *old = &m->old[i];
		int failed =
			pack_donor_punch(m->p, &m->donor, old->lblk, old->len);

		ret = ret == 0 ? failed : ret;
		load_rest(&m->p->load);
	}
	m->olds = 0;
	if (fsync(m->donor.fd) < 0 && ret == 0)
		ret = -errno;
	load_rest(&m->p->load);
	return ret == 0 ? trim_emptied(m->p) : ret;
}

int pack_move(struct pack *p)
{
	struct mover m = { .p = p,
			   .start_ns = pack_now_ns(),
			   .start_blocks = p->moved_blocks };
	int ret = pack_donor_open(p, &m.donor);

	order_pieces(p);
	while (ret == 0 && m.next < p->pieces && !m.donor.done) {
		ret = check_limits(&m);
		if (ret == 0)
			ret = pack_donor_grab(p, &m.donor);
		if (ret == 0 && m.donor.holes > 0)
			ret = move_pieces(&m);
		if (m.olds > 0) {
			int failed = give_back(&m);

			ret = ret == 0 ? failed : ret;
		}
	}
	pack_donor_close(&m.donor);
	free(m.old);
	return ret;
}
