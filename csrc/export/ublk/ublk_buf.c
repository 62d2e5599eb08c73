/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The places of tags, one after the other in one mapping: see ublk_buf.h.
 *
 * INVARIANT: of a tag's place, nothing beyond high[tag] has pages; high[tag] is
 * a multiple of PAGE and at least one.
 */
#include "export/ublk/ublk_buf.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24 /* Linux 5.18 */
#endif

#define PAGE 4096u

struct pl_ublk_bufs {
	uint8_t *base;
	uint32_t tag_bytes;
	unsigned tags;
	size_t resident; /* the sum of high */
	uint32_t high[];
};

static size_t mapped(const struct pl_ublk_bufs *b)
{
	return (size_t)b->tags * b->tag_bytes;
}

int pl_ublk_bufs_new(struct pl_ublk_bufs **ret, unsigned tags,
		     uint32_t tag_bytes, struct pl_err *err)
{
	struct pl_ublk_bufs *b =
		calloc(1, sizeof(*b) + tags * sizeof(b->high[0]));

	assert(tags && tag_bytes && tag_bytes % PAGE == 0);
	if (!b)
		return pl_err_sys(err, -ENOMEM, "request buffers");
	b->tags = tags;
	b->tag_bytes = tag_bytes;
	b->base = mmap(NULL, mapped(b), PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (b->base == MAP_FAILED) {
		free(b);
		return pl_err_sys(err, -errno, "request buffers");
	}
	madvise(b->base, mapped(b), MADV_NOHUGEPAGE);
	/* Best effort: without CAP_IPC_LOCK buffers can be swapped out. */
	mlock2(b->base, mapped(b), MLOCK_ONFAULT);
	for (unsigned tag = 0; tag < tags; tag++) {
		*(volatile uint8_t *)pl_ublk_bufs_at(b, tag) = 0;
		b->high[tag] = PAGE;
	}
	b->resident = (size_t)tags * PAGE;
	*ret = b;
	return 0;
}

void pl_ublk_bufs_free(struct pl_ublk_bufs *b)
{
	if (!b)
		return;
	munmap(b->base, mapped(b));
	free(b);
}

uint8_t *pl_ublk_bufs_at(const struct pl_ublk_bufs *b, unsigned tag)
{
	assert(tag < b->tags);
	return b->base + (size_t)tag * b->tag_bytes;
}

void pl_ublk_bufs_use(struct pl_ublk_bufs *b, unsigned tag, uint64_t len)
{
	uint32_t end;

	assert(tag < b->tags && len <= b->tag_bytes);
	end = ((uint32_t)len + PAGE - 1) & ~(PAGE - 1);
	if (end <= b->high[tag])
		return;
	b->resident += end - b->high[tag];
	b->high[tag] = end;
}

void pl_ublk_bufs_shrink(struct pl_ublk_bufs *b, unsigned tag)
{
	uint8_t *at = pl_ublk_bufs_at(b, tag) + PAGE;
	size_t len = b->high[tag] - PAGE;

	if (len == 0)
		return;
	if (madvise(at, len, MADV_DONTNEED_LOCKED) < 0) {
		munlock(at, len);
		madvise(at, len, MADV_DONTNEED);
		mlock2(at, len, MLOCK_ONFAULT);
	}
	b->high[tag] = PAGE;
	b->resident -= len;
}

size_t pl_ublk_bufs_resident(const struct pl_ublk_bufs *b)
{
	return b->resident;
}
