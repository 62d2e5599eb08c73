/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The places of ring entries in one mapping, 2 MiB apart, so that each can be
 * a huge page: see fuse_places.h. Address space costs nothing.
 *
 * INVARIANTS
 *  1. Of a place, nothing beyond high[i] has pages; high[i] is a multiple of
 *     PAGE and at least one.
 *  2. huge[i]: high[i] is STRIDE, and MADV_HUGEPAGE is set for the place only.
 */
#include "export/fuse/fuse_places.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "export/fuse/fuse_wire.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24 /* Linux 5.18 */
#endif

#define PAGE 4096u
#define STRIDE (2u << 20) /* a huge page; at least PL_FUSE_DATA_MAX */
#define HUGE_MAX 8u /* so many places: 16 MiB */

struct place {
	uint32_t high;
	bool huge;
};

struct pl_fuse_places {
	uint8_t *map, *base; /* base: aligned to STRIDE */
	unsigned n, n_huge;
	size_t resident; /* the sum of high */
	struct place place[];
};

static size_t mapped(const struct pl_fuse_places *p)
{
	return ((size_t)p->n + 1) * STRIDE;
}

static void touch_first(struct pl_fuse_places *p, unsigned i)
{
	*(volatile uint8_t *)pl_fuse_places_at(p, i) = 0;
	p->place[i].high = PAGE;
	p->resident += PAGE;
}

int pl_fuse_places_new(struct pl_fuse_places **ret, unsigned n,
		       struct pl_err *err)
{
	struct pl_fuse_places *p =
		calloc(1, sizeof(*p) + n * sizeof(p->place[0]));

	assert(n > 0);
	if (!p)
		return pl_err_sys(err, -ENOMEM, "request buffers");
	p->n = n;
	p->map = mmap(NULL, mapped(p), PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p->map == MAP_FAILED) {
		free(p);
		return pl_err_sys(err, -errno, "request buffers");
	}
	p->base = p->map + (STRIDE - (uintptr_t)p->map % STRIDE);
	madvise(p->map, mapped(p), MADV_NOHUGEPAGE);
	/* Best effort: without CAP_IPC_LOCK buffers can be swapped out. */
	mlock2(p->map, mapped(p), MLOCK_ONFAULT);
	for (unsigned i = 0; i < n; i++)
		touch_first(p, i);
	*ret = p;
	return 0;
}

void pl_fuse_places_free(struct pl_fuse_places *p)
{
	if (!p)
		return;
	munmap(p->map, mapped(p));
	free(p);
}

uint8_t *pl_fuse_places_at(const struct pl_fuse_places *p, unsigned i)
{
	assert(i < p->n);
	return p->base + (size_t)i * STRIDE;
}

void pl_fuse_places_use(struct pl_fuse_places *p, unsigned i, size_t len)
{
	struct place *place = &p->place[i];
	uint32_t end;

	assert(i < p->n && len <= PL_FUSE_DATA_MAX);
	end = ((uint32_t)len + PAGE - 1) & ~(PAGE - 1);
	if (end <= place->high)
		return;
	p->resident += end - place->high;
	place->high = end;
}

static void give_back(uint8_t *at)
{
	if (madvise(at, STRIDE, MADV_DONTNEED_LOCKED) == 0)
		return;
	munlock(at, STRIDE);
	madvise(at, STRIDE, MADV_DONTNEED);
	mlock2(at, STRIDE, MLOCK_ONFAULT);
}

bool pl_fuse_places_enlarge(struct pl_fuse_places *p, unsigned i)
{
	struct place *place = &p->place[i];
	uint8_t *at = pl_fuse_places_at(p, i);

	if (place->huge || p->n_huge == HUGE_MAX)
		return false;
	give_back(at);
	madvise(at, STRIDE, MADV_HUGEPAGE);
	madvise(at, STRIDE, MADV_POPULATE_WRITE);
	p->resident += STRIDE - place->high;
	place->high = STRIDE;
	place->huge = true;
	p->n_huge++;
	return true;
}

void pl_fuse_places_shrink(struct pl_fuse_places *p, unsigned i)
{
	struct place *place = &p->place[i];
	uint8_t *at = pl_fuse_places_at(p, i);

	if (place->high == PAGE)
		return;
	give_back(at);
	if (place->huge) {
		madvise(at, STRIDE, MADV_NOHUGEPAGE);
		place->huge = false;
		p->n_huge--;
	}
	p->resident -= place->high;
	touch_first(p, i);
}

size_t pl_fuse_places_resident(const struct pl_fuse_places *p)
{
	return p->resident;
}
