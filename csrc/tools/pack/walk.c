/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which blocks belong to files that can be moved: every directory is read, the
 * files' extents asked for (FIEMAP). Files are opened by number, relative to
 * the mount, so that what another mount hides is found, too. Deleted files
 * that are still open have no name and count as fixed, like metadata.
 *
 * Memory: a number per directory not read yet, a bit per inode, and
 * MAX_PIECES pieces; when those do not suffice, fewer units are candidates.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pack.h"

#define MAX_PIECES (2u << 20) /* 40 MiB or so */
#define EXTENTS 256
#define DENTS_SIZE 32768
#define ROOT_INO 2

/* Flags of files that are better left where they are, or have to be. */
#define FIXED_FLAGS                                                      \
	(FS_IMMUTABLE_FL | FS_APPEND_FL | FS_ENCRYPT_FL | FS_VERITY_FL | \
	 FS_JOURNAL_DATA_FL | FS_INLINE_DATA_FL | FS_NOCOW_FL | FS_DAX_FL)
#define FIXED_EXTENT                                            \
	(FIEMAP_EXTENT_UNKNOWN | FIEMAP_EXTENT_DELALLOC |       \
	 FIEMAP_EXTENT_ENCODED | FIEMAP_EXTENT_DATA_ENCRYPTED | \
	 FIEMAP_EXTENT_NOT_ALIGNED | FIEMAP_EXTENT_DATA_INLINE)

struct linux_dirent64 {
	uint64_t d_ino;
	int64_t d_off;
	uint16_t d_reclen;
	uint8_t d_type;
	char d_name[];
};

struct todo {
	uint32_t *ino;
	size_t n, cap;
};

static int push(struct todo *todo, uint32_t ino)
{
	if (todo->n == todo->cap) {
		size_t cap = todo->cap ? todo->cap * 2 : 256;
		uint32_t *grown = realloc(todo->ino, cap * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		todo->ino = grown;
		todo->cap = cap;
	}
	todo->ino[todo->n++] = ino;
	return 0;
}

/* ---- pieces ---- */

/* Halves what counts as sparse until enough pieces fall out. */
static void fewer_candidates(struct pack *p)
{
	while (p->pieces > MAX_PIECES / 2 && p->candidate_used > 0) {
		size_t kept = 0;

		p->candidate_used /= 2;
		for (size_t i = 0; i < p->pieces; i++) {
			uint64_t u = p->piece[i].block / p->unit_blocks;

			if (p->unit[u].used <= p->candidate_used)
				p->piece[kept++] = p->piece[i];
		}
		p->pieces = kept;
	}
}

static int add_piece(struct pack *p, struct pack_piece piece)
{
	if (p->pieces == MAX_PIECES)
		fewer_candidates(p);
	if (p->unit[piece.block / p->unit_blocks].used > p->candidate_used)
		return 0;
	if (p->pieces == p->pieces_cap) {
		size_t cap = p->pieces_cap ? p->pieces_cap * 2 : 4096;
		struct pack_piece *grown =
			realloc(p->piece, cap * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		p->piece = grown;
		p->pieces_cap = cap;
	}
	p->piece[p->pieces++] = piece;
	return 0;
}

/* ---- files ---- */

static int add_extent(struct pack *p, uint32_t ino,
		      const struct fiemap_extent *fe)
{
	uint64_t block = fe->fe_physical / p->block_size;
	uint64_t lblk = fe->fe_logical / p->block_size;
	uint64_t left = fe->fe_length / p->block_size;

	while (left > 0 && block + left <= p->blocks) {
		uint64_t room = p->unit_blocks - block % p->unit_blocks;
		uint32_t most = (uint32_t)(left < room ? left : room), n = 1;
		struct pack_unit *u = &p->unit[block / p->unit_blocks];
		bool below = pack_below(p, block);

		while (n < most && pack_below(p, block + n) == below)
			n++;
		u->movable += below ? 0 : n;
		if (!below && u->used <= p->candidate_used) {
			struct pack_piece piece = { .block = block,
						    .ino = ino,
						    .lblk = (uint32_t)lblk,
						    .len = n };
			int ret = add_piece(p, piece);

			if (ret < 0)
				return ret;
		}
		block += n;
		lblk += n;
		left -= n;
	}
	return 0;
}

/* Up to the file's end: what it holds beyond cannot be exchanged. */
static int add_extents(struct pack *p, int fd, uint32_t ino, uint64_t size,
		       struct fiemap *fm)
{
	uint64_t from = 0, end = size + p->block_size - 1;

	end -= end % p->block_size;

	while (from < end) {
		memset(fm, 0, sizeof(*fm));
		fm->fm_start = from;
		fm->fm_length = end - from;
		fm->fm_extent_count = EXTENTS;
		if (ioctl(fd, FS_IOC_FIEMAP, fm) < 0)
			return 0; /* its blocks count as fixed */
		if (fm->fm_mapped_extents == 0)
			return 0;
		struct fiemap_extent *fe = NULL;

		for (uint32_t i = 0; i < fm->fm_mapped_extents; i++) {
			fe = &fm->fm_extents[i];
			if (fe->fe_logical + fe->fe_length > end)
				fe->fe_length = end - fe->fe_logical;
			int ret = fe->fe_flags & FIXED_EXTENT ?
					  0 :
					  add_extent(p, ino, fe);

			if (ret < 0)
				return ret;
		}
		if (fe->fe_flags & FIEMAP_EXTENT_LAST)
			return 0;
		from = fe->fe_logical + fe->fe_length;
	}
	return 0;
}

static bool movable(const struct pack *p, int fd, uint32_t ino)
{
	int flags = 0;

	return !pack_inode_bit(p, p->stuck, ino) &&
	       ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0 &&
	       (flags & FS_EXTENT_FL) && !(flags & FIXED_FLAGS);
}

/*
 * An O_PATH descriptor keeps the inode what it is: so no device or pipe is
 * ever opened whose number was a file's a moment ago.
 */
static int look_at_file(struct pack *p, uint32_t ino, struct fiemap *fm)
{
	struct stat st;
	int path = pack_open_inode(p, ino, O_PATH);

	if (path < 0)
		return 0; /* gone meanwhile */
	int ret = fstat(path, &st);

	if (ret == 0 && S_ISREG(st.st_mode) && st.st_blocks > 0) {
		int fd = pack_open_inode(p, ino, O_RDONLY | O_NOATIME);

		p->files++;
		if (fd >= 0 && movable(p, fd, ino)) {
			ret = add_extents(p, fd, ino, (uint64_t)st.st_size, fm);
		} else {
			p->skipped.files++;
			p->skipped.blocks +=
				(uint64_t)st.st_blocks * 512 / p->block_size;
		}
		if (fd >= 0)
			close(fd);
	}
	close(path);
	return ret < 0 && ret != -1 ? ret : 0;
}

/* ---- directories ---- */

static int take_entry(struct pack *p, struct todo *todo,
		      const struct linux_dirent64 *d, struct fiemap *fm)
{
	uint32_t ino = (uint32_t)d->d_ino;

	if (d->d_ino > p->inodes || pack_inode_bit(p, p->seen, ino))
		return 0;
	if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
		return 0;
	if (d->d_type != DT_DIR && d->d_type != DT_REG &&
	    d->d_type != DT_UNKNOWN)
		return 0;
	pack_set_inode_bit(p, p->seen, ino);
	if (d->d_type == DT_DIR)
		return push(todo, ino);
	return look_at_file(p, ino, fm);
}

static int read_directory(struct pack *p, struct todo *todo, uint32_t ino,
			  char *dents, struct fiemap *fm)
{
	int fd = pack_open_inode(p, ino, O_RDONLY | O_DIRECTORY | O_NOATIME);
	int ret = 0;

	if (fd < 0)
		return 0; /* gone meanwhile */
	for (;;) {
		long n = syscall(SYS_getdents64, fd, dents, DENTS_SIZE);

		if (n <= 0)
			break;
		for (long at = 0; ret == 0 && at < n;) {
			struct linux_dirent64 *d = (void *)(dents + at);

			ret = take_entry(p, todo, d, fm);
			at += d->d_reclen;
		}
		if (ret < 0 || *p->stop)
			break;
	}
	close(fd);
	return ret;
}

int pack_walk(struct pack *p)
{
	struct todo todo = { 0 };
	char *dents = malloc(DENTS_SIZE);
	struct fiemap *fm =
		malloc(sizeof(*fm) + EXTENTS * sizeof(struct fiemap_extent));
	int ret = dents && fm ? push(&todo, ROOT_INO) : -ENOMEM;

	memset(p->seen, 0, p->inodes / 8 + 1);
	memset(&p->skipped, 0, sizeof(p->skipped));
	p->files = 0;
	p->pieces = 0;
	for (uint64_t i = 0; i < p->units; i++)
		p->unit[i].movable = 0;
	pack_set_inode_bit(p, p->seen, ROOT_INO);
	while (ret == 0 && todo.n > 0 && !*p->stop)
		ret = read_directory(p, &todo, todo.ino[--todo.n], dents, fm);
	free(todo.ino);
	free(dents);
	free(fm);
	return ret == 0 && *p->stop ? -EINTR : ret;
}
