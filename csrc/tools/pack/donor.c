/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See donor.h. One file serves all groups: mballoc keeps its place by inode.
 *
 * While a group is taken, mb_max_linear_groups of the file system is raised,
 * so that the next group follows, as on a rotating disk; otherwise mballoc
 * jumps to and fro between the most fragmented ones. A value left by a killed
 * packer is recognised and put right.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "donor.h"

/* mballoc's stream allocation is for blocks behind the 16th of a file. */
#define FIRST_LBLK 1024u
#define LAST_LBLK 0xf0000000u
/* Pieces from this order of two on are taken whole, others block by block. */
#define BIG_ORDER 5
#define MAX_ORDER 13
#define CHECK_EVERY 128u
#define LINEAR_OURS 999983u
#define LINEAR_DEFAULT 4u
#define EXTENTS 512
/* Groups met a second time before it is given up. */
#define MAX_AGAIN 8

/* ---- where mballoc looks next ---- */

static unsigned swap_linear_groups(const struct pack *p, unsigned value)
{
	char path[96], text[24] = "";
	unsigned old = LINEAR_DEFAULT;

	snprintf(path, sizeof(path), "/sys/fs/ext4/%s/mb_max_linear_groups",
		 p->device);
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return old; /* before Linux 5.13: always linear */
	if (pread(fd, text, sizeof(text) - 1, 0) > 0)
		old = (unsigned)strtoul(text, NULL, 10);
	int n = snprintf(text, sizeof(text), "%u", value);

	if (pwrite(fd, text, (size_t)n, 0) < 0)
		old = LINEAR_DEFAULT; /* then it may jump */
	close(fd);
	return old == LINEAR_OURS ? LINEAR_DEFAULT : old;
}

/* ---- life ---- */

int pack_donor_open(struct pack *p, struct pack_donor *d)
{
	memset(d, 0, sizeof(*d));
	d->lblk = FIRST_LBLK;
	d->groups = (p->blocks + p->group_blocks - 1) / p->group_blocks;
	d->visited = calloc(d->groups / 8 + 1, 1);
	d->fd = openat(p->root, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (d->fd < 0)
		return -errno;
	if (!d->visited)
		return -ENOMEM;
	/* The exchange is for blocks within a file's length only. */
	return ftruncate(d->fd, (off_t)LAST_LBLK * p->block_size) < 0 ? -errno :
									0;
}

void pack_donor_close(struct pack_donor *d)
{
	if (d->fd >= 0)
		close(d->fd);
	free(d->visited);
	free(d->hole);
	memset(d, 0, sizeof(*d));
	d->fd = -1;
}

int pack_donor_punch(const struct pack *p, struct pack_donor *d, uint32_t lblk,
		     uint32_t len)
{
	int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

	return fallocate(d->fd, mode, (off_t)lblk * p->block_size,
			 (off_t)len * p->block_size) < 0 ?
		       -errno :
		       0;
}

/* ---- holes ---- */

static int add_hole(struct pack_donor *d, struct pack_hole hole)
{
	size_t at = d->holes;

	if (d->holes == d->cap) {
		size_t cap = d->cap ? d->cap * 2 : 256;
		struct pack_hole *grown = realloc(d->hole, cap * sizeof(hole));

		if (!grown)
			return -ENOMEM;
		d->hole = grown;
		d->cap = cap;
	}
	while (at > 0 && d->hole[at - 1].len > hole.len)
		at--;
	memmove(d->hole + at + 1, d->hole + at, (d->holes - at) * sizeof(hole));
	d->hole[at] = hole;
	d->holes++;
	return 0;
}

struct pack_hole pack_donor_take(struct pack_donor *d, uint32_t len)
{
	struct pack_hole none = { 0 };
	size_t at = 0;

	if (d->holes == 0)
		return none;
	while (at + 1 < d->holes && d->hole[at].len < len)
		at++;
	struct pack_hole got = d->hole[at];
	struct pack_hole rest = got;

	d->holes--;
	memmove(d->hole + at, d->hole + at + 1, (d->holes - at) * sizeof(got));
	if (got.len > len) {
		got.len = len;
		rest.block += len;
		rest.lblk += len;
		rest.len -= len;
		add_hole(d, rest); /* there is room: one was taken out */
	}
	return got;
}

/* ---- taking a group ---- */

/* Free pieces of a group, as mballoc's buddies see them. */
struct layout {
	const struct pack *p;
	uint64_t start; /* the group's first block */
	uint64_t small, large; /* blocks in pieces below BIG_ORDER; the rest */
	uint32_t big[MAX_ORDER + 1];
};

static int count_buddies(void *arg, uint64_t block, uint64_t len)
{
	struct layout *l = arg;
	uint64_t at = block - l->start;

	while (len > 0) {
		int order = at ? __builtin_ctzll(at) : MAX_ORDER;

		if (order > MAX_ORDER)
			order = MAX_ORDER;
		while ((1ull << order) > len)
			order--;
		if (order < BIG_ORDER)
			l->small += 1ull << order;
		else
			l->big[order]++, l->large += 1ull << order;
		at += 1ull << order;
		len -= 1ull << order;
	}
	return 0;
}

static uint64_t group_of(const struct pack *p, uint64_t block)
{
	return block / p->group_blocks;
}

/* Extents of the donor from lblk on; at most cap. */
static int donor_extents(const struct pack *p, struct pack_donor *d,
			 uint32_t lblk, struct fiemap *fm, uint32_t cap)
{
	memset(fm, 0, sizeof(*fm));
	fm->fm_start = (uint64_t)lblk * p->block_size;
	fm->fm_length = (uint64_t)(d->lblk - lblk) * p->block_size;
	fm->fm_extent_count = cap;
	return ioctl(d->fd, FS_IOC_FIEMAP, fm) < 0 ? -errno : 0;
}

/* The group in which the last block taken is. */
static int last_group(const struct pack *p, struct pack_donor *d,
		      uint64_t *ret_group)
{
	struct {
		struct fiemap fm;
		struct fiemap_extent extent;
	} buf;
	int ret = donor_extents(p, d, d->lblk - 1, &buf.fm, 1);

	if (ret < 0 || buf.fm.fm_mapped_extents == 0)
		return ret < 0 ? ret : -EIO;
	uint64_t behind =
		(uint64_t)(d->lblk - 1) * p->block_size - buf.extent.fe_logical;

	*ret_group =
		group_of(p, (buf.extent.fe_physical + behind) / p->block_size);
	return 0;
}

static int take(const struct pack *p, struct pack_donor *d, uint32_t len)
{
	if (d->lblk > LAST_LBLK - len ||
	    fallocate(d->fd, FALLOC_FL_KEEP_SIZE,
		      (off_t)d->lblk * p->block_size,
		      (off_t)len * p->block_size) < 0)
		return d->lblk > LAST_LBLK - len ? -ENOSPC : -errno;
	d->lblk += len;
	return 0;
}

/* Takes blocks one by one; *ret_left: it came to another group. */
static int take_small(struct pack *p, struct pack_donor *d, uint64_t group,
		      uint64_t n, bool *ret_left)
{
	int ret = 0;

	for (uint64_t i = 1; ret == 0 && i <= n && !*ret_left; i++) {
		uint64_t now = group;

		ret = take(p, d, 1);
		if (ret == 0 && (i == n || i % CHECK_EVERY == 0)) {
			load_breathe(&p->load);
			ret = last_group(p, d, &now);
		}
		*ret_left = now != group;
	}
	return ret;
}

static int take_big(struct pack *p, struct pack_donor *d,
		    const struct layout *l, uint64_t group, bool *ret_left)
{
	int ret = 0;

	for (int order = MAX_ORDER; order >= BIG_ORDER; order--)
		for (uint32_t i = 0; i < l->big[order]; i++) {
			uint64_t now = group;

			if (*ret_left || *p->stop)
				return 0;
			ret = take(p, d, 1u << order);
			if (ret == 0)
				ret = last_group(p, d, &now);
			if (ret < 0)
				return ret;
			load_breathe(&p->load);
			*ret_left = now != group;
		}
	return 0;
}

/* Takes what is free in the group where mballoc is, until it goes on. */
static int take_group(struct pack *p, struct pack_donor *d)
{
	uint64_t limit = pack_hold_limit(p), group = 0;
	struct layout l = { .p = p };
	bool left = false;
	int ret = limit > 1 ? take(p, d, 1) : -ENOSPC;

	if (ret == 0)
		ret = last_group(p, d, &group);
	if (ret < 0)
		return ret;
	if (group >= d->groups)
		return -EIO;
	if (d->visited[group / 8] >> (group % 8) & 1) {
		/* Others freed or took blocks, and it went the wrong way. */
		d->done = ++d->again > MAX_AGAIN || d->visits >= d->groups;
		if (d->done)
			return 0;
	} else {
		d->visits++;
	}
	d->visited[group / 8] =
		(uint8_t)(d->visited[group / 8] | 1u << (group % 8));
	l.start = group * p->group_blocks;
	uint64_t len = p->blocks - l.start;

	ret = pack_each_free(p, l.start,
			     len < p->group_blocks ? len : p->group_blocks,
			     count_buddies, &l);
	/*
	 * The large pieces first, each by a request of just its order, so that
	 * none is split: of many pieces mballoc looks at the first 200 only.
	 */
	if (p->flex_groups > 1 && group % p->flex_groups == 0) {
		/* Large requests avoid the group that has the inode tables. */
		l.small += l.large;
		l.large = limit;
	}
	if (ret == 0 && l.small + l.large <= limit)
		ret = take_big(p, d, &l, group, &left);
	else
		l.small = l.small < limit ? l.small : limit;
	if (ret == 0)
		ret = take_small(p, d, group, l.small, &left);
	/* What others freed meanwhile, and the first of the next group. */
	for (uint64_t i = 0; ret == 0 && !left && i < CHECK_EVERY; i++)
		ret = take_small(p, d, group, CHECK_EVERY, &left);
	if (ret == -ENOSPC)
		ret = 0; /* the last group there is */
	d->done = !left;
	return ret;
}

/* Keeps what lies in holes of units that stay, gives back the rest. */
static int sort_out(struct pack *p, struct pack_donor *d,
		    const struct fiemap_extent *fe)
{
	uint64_t block = fe->fe_physical / p->block_size;
	uint32_t lblk = (uint32_t)(fe->fe_logical / p->block_size);
	uint64_t left = fe->fe_length / p->block_size;
	int ret = 0;

	while (ret == 0 && left > 0) {
		const struct pack_unit *u = &p->unit[block / p->unit_blocks];
		uint64_t room = p->unit_blocks - block % p->unit_blocks;
		uint32_t n = (uint32_t)(left < room ? left : room);
		struct pack_hole hole = { block, lblk, n };

		ret = u->used > 0 && !u->victim ?
			      add_hole(d, hole) :
			      pack_donor_punch(p, d, lblk, n);
		load_rest(&p->load);
		block += n;
		lblk += n;
		left -= n;
	}
	return ret;
}

int pack_donor_grab(struct pack *p, struct pack_donor *d)
{
	struct fiemap *fm =
		malloc(sizeof(*fm) + EXTENTS * sizeof(struct fiemap_extent));
	uint32_t from = d->lblk;

	if (!fm)
		return -ENOMEM;
	unsigned linear = swap_linear_groups(p, LINEAR_OURS);
	int ret = take_group(p, d);

	swap_linear_groups(p, linear);
	while (ret == 0 && from < d->lblk) {
		ret = donor_extents(p, d, from, fm, EXTENTS);
		if (ret < 0 || fm->fm_mapped_extents == 0)
			break;
		for (uint32_t i = 0; ret == 0 && i < fm->fm_mapped_extents; i++)
			ret = sort_out(p, d, &fm->fm_extents[i]);
		const struct fiemap_extent *last =
			&fm->fm_extents[fm->fm_mapped_extents - 1];

		from = (uint32_t)((last->fe_logical + last->fe_length) /
				  p->block_size);
	}
	free(fm);
	return ret;
}
