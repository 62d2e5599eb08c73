/* SPDX-License-Identifier: Apache-2.0 */
/* What the file system's bitmaps say, through FS_IOC_GETFSMAP. */
#include <errno.h>
#include <linux/fsmap.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#include "pack.h"

#define RECORDS 1024

typedef int record_fn(void *arg, const struct fsmap *record);

static bool is_free(const struct fsmap *record)
{
	return (record->fmr_flags & FMR_OF_SPECIAL_OWNER) &&
	       record->fmr_owner == FMR_OWN_FREE;
}

/* A device number as the kernel writes it into records. */
static uint32_t encoded(dev_t dev)
{
	return (minor(dev) & 0xff) | major(dev) << 8 |
	       (minor(dev) & ~0xffu) << 12;
}

/* What of the record is not before `from`: nothing is told twice. */
static int behind(const struct fsmap *record, uint64_t from, record_fn *fn,
		  void *arg)
{
	struct fsmap rest = *record;
	uint64_t end = rest.fmr_physical + rest.fmr_length;

	if (end <= from)
		return 0;
	if (rest.fmr_physical < from) {
		rest.fmr_physical = from;
		rest.fmr_length = end - from;
	}
	return fn(arg, &rest);
}

/* Every record between two places, in bytes; the last may reach beyond. */
static int each_record(struct pack *p, uint64_t from, uint64_t to,
		       record_fn *fn, void *arg)
{
	struct fsmap_head *head =
		calloc(1, sizeof(*head) + RECORDS * sizeof(struct fsmap));
	int ret = 0;

	if (!head)
		return -ENOMEM;
	head->fmh_count = RECORDS;
	/* Without the device, a start behind the first group is not heeded. */
	head->fmh_keys[0].fmr_device = encoded(p->dev);
	head->fmh_keys[0].fmr_physical = from;
	head->fmh_keys[1].fmr_device = encoded(p->dev);
	head->fmh_keys[1].fmr_physical = to - 1;
	head->fmh_keys[1].fmr_owner = UINT64_MAX;
	head->fmh_keys[1].fmr_offset = UINT64_MAX;
	head->fmh_keys[1].fmr_flags = UINT32_MAX;
	while (ret == 0 && from < to && !*p->stop) {
		if (ioctl(p->root, FS_IOC_GETFSMAP, head) < 0)
			ret = -errno;
		if (ret < 0 || head->fmh_entries == 0)
			break;
		const struct fsmap *last =
			&head->fmh_recs[head->fmh_entries - 1];

		for (uint32_t i = 0; ret == 0 && i < head->fmh_entries; i++)
			ret = behind(&head->fmh_recs[i], from, fn, arg);
		if (last->fmr_physical + last->fmr_length <= from)
			break; /* the same again */
		from = last->fmr_physical + last->fmr_length;
		if (last->fmr_flags & FMR_OF_LAST)
			break;
		head->fmh_keys[0] = *last; /* goes on behind it */
	}
	free(head);
	return ret == 0 && *p->stop ? -EINTR : ret;
}

static int count_free(void *arg, const struct fsmap *record)
{
	struct pack *p = arg;
	uint64_t block = record->fmr_physical / p->block_size;
	uint64_t left = record->fmr_length / p->block_size;

	if (!is_free(record))
		return 0;
	while (left > 0 && block < p->blocks) {
		uint64_t room = p->unit_blocks - block % p->unit_blocks;
		uint64_t n = left < room ? left : room;

		struct pack_unit *u = &p->unit[block / p->unit_blocks];
		uint32_t below = pack_count_below(p, block, (uint32_t)n);

		u->used -= (uint32_t)n - below;
		u->below -= below;
		block += n;
		left -= n;
	}
	return 0;
}

int pack_read_space(struct pack *p)
{
	uint32_t tail = (uint32_t)(p->blocks % p->unit_blocks);
	struct pack_unit *last = &p->unit[p->units - 1];
	int ret;

	for (uint64_t i = 0; i < p->units; i++) {
		struct pack_unit *u = &p->unit[i];
		uint32_t n = tail > 0 && u == last ? tail : p->unit_blocks;

		*u = (struct pack_unit){ 0 };
		u->below = pack_count_below(p, i * p->unit_blocks, n);
		u->used = n - u->below;
	}
	/* What is free is complete; what is not, 6.18 leaves out in places. */
	ret = each_record(p, 0, p->blocks * p->block_size, count_free, p);
	/* What is behind the end of the device is no room. */
	if (tail > 0 && last->used > 0)
		last->used += p->unit_blocks - tail;
	return ret;
}

struct free_walk {
	const struct pack *p;
	uint64_t from, to; /* blocks */
	pack_free_fn *fn;
	void *arg;
};

static int tell_free(void *arg, const struct fsmap *record)
{
	struct free_walk *w = arg;
	uint64_t from = record->fmr_physical / w->p->block_size;
	uint64_t to = from + record->fmr_length / w->p->block_size;

	if (from < w->from)
		from = w->from;
	if (to > w->to)
		to = w->to;
	if (!is_free(record) || from >= to)
		return 0;
	return w->fn(w->arg, from, to - from);
}

int pack_each_free(struct pack *p, uint64_t block, uint64_t len,
		   pack_free_fn *fn, void *arg)
{
	struct free_walk w = { p, block, block + len, fn, arg };

	return each_record(p, block * p->block_size,
			   (block + len) * p->block_size, tell_free, &w);
}
