/* SPDX-License-Identifier: Apache-2.0 */
/* The file system to pack: what it is, its files by number, its trim. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "pack.h"

#define EXT4_MAGIC 0xef53
#define SUPERBLOCK_OFF 1024
#define SUPERBLOCK_SIZE 1024
/* Of the superblock: where, and the bits that count here. */
#define SB_INODES 0x00
#define SB_BLOCKS_LO 0x04
#define SB_LOG_BLOCK_SIZE 0x18
#define SB_BLOCKS_PER_GROUP 0x20
#define SB_MAGIC 0x38
#define SB_COMPAT 0x5c
#define SB_INCOMPAT 0x60
#define SB_RO_COMPAT 0x64
#define SB_BLOCKS_HI 0x150
#define SB_LOG_FLEX 0x174
#define COMPAT_HAS_JOURNAL 0x4
#define INCOMPAT_EXTENTS 0x40
#define RO_COMPAT_BIGALLOC 0x200

#define FILEID_INO32_GEN 1
/* Of what others may still use, held by us at most. */
#define HOLD_DIVISOR 2
#define HOLD_MAX_BYTES (128u << 20)

char pack_why[256];

static int refuse(int error, const char *why)
{
	snprintf(pack_why, sizeof(pack_why), "%s", why);
	return error;
}

static uint32_t le32(const unsigned char *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
	       (uint32_t)p[3] << 24;
}

/* The kernel's name of the device, which is also that of its node. */
static int find_device(struct pack *p)
{
	char link[64], target[256];

	snprintf(link, sizeof(link), "/sys/dev/block/%u:%u", major(p->dev),
		 minor(p->dev));
	ssize_t n = readlink(link, target, sizeof(target) - 1);

	if (n < 0)
		return refuse(-ENODEV, "it is on no block device");
	target[n] = '\0';
	char *name = strrchr(target, '/');

	if (!name || strlen(name + 1) >= sizeof(p->device))
		return refuse(-ENODEV, "its device has no name");
	strcpy(p->device, name + 1);
	return 0;
}

static int read_superblock(const struct pack *p, unsigned char *sb)
{
	char node[64];

	snprintf(node, sizeof(node), "/dev/%s", p->device);
	int fd = open(node, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return refuse(-errno, "its device cannot be opened");
	struct stat st;
	ssize_t n = pread(fd, sb, SUPERBLOCK_SIZE, SUPERBLOCK_OFF);
	bool same = fstat(fd, &st) == 0 && S_ISBLK(st.st_mode) &&
		    st.st_rdev == p->dev;

	close(fd);
	if (n != SUPERBLOCK_SIZE || !same)
		return refuse(-EIO, "its superblock cannot be read");
	return 0;
}

static int check_features(const unsigned char *sb)
{
	if ((le32(sb + SB_MAGIC) & 0xffff) != EXT4_MAGIC)
		return refuse(-EOPNOTSUPP, "its device holds no ext4");
	if (!(le32(sb + SB_COMPAT) & COMPAT_HAS_JOURNAL))
		return refuse(-EOPNOTSUPP,
			      "it has no journal, so that a crash in the "
			      "middle of a move would damage it");
	if (!(le32(sb + SB_INCOMPAT) & INCOMPAT_EXTENTS))
		return refuse(-EOPNOTSUPP, "its files have no extents");
	if (le32(sb + SB_RO_COMPAT) & RO_COMPAT_BIGALLOC)
		return refuse(-EOPNOTSUPP,
			      "it allocates in clusters (bigalloc)");
	return 0;
}

static int open_root(struct pack *p, const char *path)
{
	struct statfs sf;
	struct stat st;

	p->root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (p->root < 0)
		return refuse(-errno, "it cannot be opened");
	if (fstatfs(p->root, &sf) < 0 || fstat(p->root, &st) < 0)
		return refuse(-errno, "it cannot be looked at");
	if (sf.f_type != EXT4_MAGIC)
		return refuse(-EOPNOTSUPP, "it is no ext4");
	if (sf.f_flags & 1 /* ST_RDONLY */)
		return refuse(-EROFS, "it is mounted read-only");
	p->dev = st.st_dev;
	return 0;
}

int pack_open(struct pack *p, const char *path, uint64_t unit_bytes)
{
	unsigned char sb[SUPERBLOCK_SIZE];
	int ret = open_root(p, path);

	if (ret == 0)
		ret = find_device(p);
	if (ret == 0)
		ret = read_superblock(p, sb);
	if (ret == 0)
		ret = check_features(sb);
	if (ret < 0)
		return ret;
	p->block_size = 1024u << (le32(sb + SB_LOG_BLOCK_SIZE) & 7);
	p->group_blocks = le32(sb + SB_BLOCKS_PER_GROUP);
	p->blocks = le32(sb + SB_BLOCKS_LO) | (uint64_t)le32(sb + SB_BLOCKS_HI)
						      << 32;
	if (p->block_size != (uint32_t)sysconf(_SC_PAGESIZE))
		return refuse(-EOPNOTSUPP,
			      "its blocks are smaller than a page");
	if (unit_bytes % p->block_size || unit_bytes > UINT32_MAX ||
	    p->group_blocks == 0)
		return refuse(-EINVAL,
			      "the unit is no multiple of its block size");
	p->unit_blocks = (uint32_t)(unit_bytes / p->block_size);
	p->units = (p->blocks + p->unit_blocks - 1) / p->unit_blocks;
	p->flex_groups = 1u << (sb[SB_LOG_FLEX] & 31);
	p->inodes = le32(sb + SB_INODES);
	p->unit = calloc(p->units, sizeof(*p->unit));
	p->seen = calloc(p->inodes / 8 + 1, 1);
	p->stuck = calloc(p->inodes / 8 + 1, 1);
	return p->unit && p->seen && p->stuck ? 0 :
						refuse(-ENOMEM, "no memory");
}

void pack_close(struct pack *p)
{
	free(p->unit);
	free(p->below);
	free(p->piece);
	free(p->seen);
	free(p->stuck);
	if (p->root >= 0)
		close(p->root);
}

/*
 * ext4 takes generation 0 for "any", so that the number in a directory entry
 * is enough, also below a mount that hides the file.
 */
int pack_open_inode(const struct pack *p, uint32_t ino, int flags)
{
	struct {
		struct file_handle h;
		uint32_t id[2];
	} handle = { .h = { .handle_bytes = sizeof(handle.id),
			    .handle_type = FILEID_INO32_GEN },
		     .id = { ino, 0 } };

	return open_by_handle_at(p->root, &handle.h,
				 flags | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
}

bool pack_inode_bit(const struct pack *p, const uint8_t *bits, uint32_t ino)
{
	return ino <= p->inodes && (bits[ino / 8] >> (ino % 8) & 1);
}

void pack_set_inode_bit(const struct pack *p, uint8_t *bits, uint32_t ino)
{
	if (ino <= p->inodes)
		bits[ino / 8] = (uint8_t)(bits[ino / 8] | 1u << (ino % 8));
}

uint64_t pack_hold_limit(const struct pack *p)
{
	struct statfs sf;

	if (fstatfs(p->root, &sf) < 0)
		return 0;
	uint64_t limit = (uint64_t)sf.f_bavail / HOLD_DIVISOR;
	uint64_t most = HOLD_MAX_BYTES / p->block_size;

	return limit < most ? limit : most;
}

int pack_trim(struct pack *p, uint64_t block, uint64_t len)
{
	struct fstrim_range range = { .start = block * p->block_size,
				      .len = len * p->block_size };

	if (ioctl(p->root, FITRIM, &range) < 0)
		return -errno;
	p->trimmed_bytes += range.len;
	return 0;
}

uint64_t pack_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}
