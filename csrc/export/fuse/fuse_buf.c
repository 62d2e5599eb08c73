/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pool of 2 MiB chunks: see fuse_buf.h. Requests are laid one after the
 * other into the current chunk; a chunk is empty again when the last request
 * in it was answered.
 *
 * Long requests get chunks that are one huge page each: looking 256 pages up
 * costs a fifth of the time that moving them does. Others never do, so that
 * small requests cost no more memory than they need.
 *
 * INVARIANTS
 *  1. chunk.pos is a multiple of PAGE; the next request's head page starts
 *     there, its data one page later.
 *  2. [chunk, chunk + populated) has pages. pl_fuse_pool_next() returns a
 *     place only when all of it lies below `populated`, or when nothing is
 *     kept and the host has no memory.
 *  3. chunk.users counts kept requests; pos returns to 0 when it reaches 0.
 */
#include "export/fuse/fuse_buf.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
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
#define CHUNK_SIZE (2u << 20)
#define SPAN (PAGE + PL_FUSE_DATA_MAX) /* the largest request */
#define POPULATE_STEP (256u << 10)
#define IDLE_KEEP (64u << 10) /* most first requests find their pages */
#define LAP (256u << 10) /* of small requests, before another chunk's turn */
#define LONG (128u << 10) /* a request, from this on */
#define BULK (4u << 20) /* so much in long ones: they get huge pages */

struct chunk {
	uint32_t pos, populated; /* bytes */
	uint32_t users;
	bool huge;
};

struct pl_fuse_pool {
	uint8_t *base, *map; /* base: aligned to chunks */
	uint64_t long_bytes; /* since it was quiet */
	unsigned kept;
	unsigned n_chunks, current;
	struct chunk chunk[];
};

static size_t map_size(unsigned n_chunks)
{
	return ((size_t)n_chunks + 1) * CHUNK_SIZE;
}

int pl_fuse_pool_new(struct pl_fuse_pool **ret, size_t max_bytes,
		     struct pl_err *err)
{
	unsigned n = (unsigned)(max_bytes / CHUNK_SIZE);
	struct pl_fuse_pool *pool;
	uint8_t *map;

	if (n == 0)
		n = 1;
	pool = calloc(1, sizeof(*pool) + n * sizeof(pool->chunk[0]));
	if (!pool)
		return pl_err_sys(err, -ENOMEM, "request buffers");
	map = mmap(NULL, map_size(n), PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (map == MAP_FAILED) {
		free(pool);
		return pl_err_sys(err, -errno, "request buffers");
	}
	/* Only where asked for: see set_huge(). */
	madvise(map, map_size(n), MADV_NOHUGEPAGE);
	/* Best effort: without CAP_IPC_LOCK buffers can be swapped out. */
	mlock2(map, map_size(n), MLOCK_ONFAULT);
	pool->map = map;
	pool->base = map + (CHUNK_SIZE - (uintptr_t)map % CHUNK_SIZE);
	pool->n_chunks = n;
	*ret = pool;
	return 0;
}

void pl_fuse_pool_free(struct pl_fuse_pool *pool)
{
	if (!pool)
		return;
	munmap(pool->map, map_size(pool->n_chunks));
	free(pool);
}

static uint8_t *chunk_base(const struct pl_fuse_pool *pool, unsigned i)
{
	return pool->base + (size_t)i * CHUNK_SIZE;
}

static void set_huge(struct pl_fuse_pool *pool, unsigned i, bool huge)
{
	if (pool->chunk[i].huge == huge)
		return;
	madvise(chunk_base(pool, i), CHUNK_SIZE,
		huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	pool->chunk[i].huge = huge;
}

static int populate(struct pl_fuse_pool *pool, unsigned i, uint32_t need)
{
	struct chunk *c = &pool->chunk[i];
	uint8_t *at = chunk_base(pool, i);
	uint32_t end;

	if (c->populated >= need)
		return 0;
	/* In steps: not one system call per small request. */
	end = c->populated > IDLE_KEEP ? need + POPULATE_STEP : need;
	if (end > CHUNK_SIZE || c->huge)
		end = CHUNK_SIZE;
	if (madvise(at + c->populated, end - c->populated,
		    MADV_POPULATE_WRITE) < 0) {
		if (errno != EINVAL)
			return -errno;
		for (uint32_t off = c->populated; off < end; off += PAGE)
			*(volatile uint8_t *)(at + off) = 0;
	}
	c->populated = end;
	return 0;
}

static bool has_room(const struct chunk *c)
{
	return c->pos + SPAN <= CHUNK_SIZE;
}

static bool bulk(const struct pl_fuse_pool *pool)
{
	return pool->long_bytes >= BULK;
}

/*
 * The chunk whose turn it is when this one has taken a lap of small requests:
 * two that take turns need the pages of their laps alone, as each is empty when
 * its turn comes. Itself when others are not.
 */
static unsigned next_turn(const struct pl_fuse_pool *pool)
{
	unsigned begun = 0, fresh = pool->current;
	const struct chunk *c;

	for (unsigned i = 0; i < pool->n_chunks; i++) {
		c = &pool->chunk[i];
		if (c->populated && !c->users && !c->huge)
			return i;
		if (c->populated)
			begun++;
		else
			fresh = i;
	}
	return begun > 1 ? pool->current : fresh;
}

/* The chunk to fill: the current one, else the best that has room. */
static int pick(const struct pl_fuse_pool *pool)
{
	enum { NONE = -1, SMALL, FRESH, READY } rank, best_rank = NONE;
	const struct chunk *c = &pool->chunk[pool->current];
	int best = -1;

	if (has_room(c) && c->huge == bulk(pool))
		return c->huge || c->pos < LAP ? (int)pool->current :
						 (int)next_turn(pool);
	for (unsigned i = 0; i < pool->n_chunks; i++) {
		c = &pool->chunk[i];
		if (!has_room(c))
			continue;
		rank = !c->populated	     ? FRESH :
		       c->huge == bulk(pool) ? READY :
					       SMALL;
		if (rank > best_rank) {
			best_rank = rank;
			best = (int)i;
		}
	}
	return best;
}

uint8_t *pl_fuse_pool_next(struct pl_fuse_pool *pool)
{
	int i = pick(pool);
	struct chunk *c;

	if (i < 0)
		return NULL;
	c = &pool->chunk[i];
	if (!c->populated)
		set_huge(pool, (unsigned)i, bulk(pool));
	/* Without memory: the next answer tries again. When there will be none
	 * the kernel has to find the pages, while it copies a request. */
	if (populate(pool, (unsigned)i, c->pos + SPAN) < 0 && pool->kept)
		return NULL;
	pool->current = (unsigned)i;
	return chunk_base(pool, (unsigned)i) + c->pos + PAGE;
}

unsigned pl_fuse_pool_keep(struct pl_fuse_pool *pool, size_t len)
{
	struct chunk *c = &pool->chunk[pool->current];

	assert(len <= PL_FUSE_DATA_MAX && has_room(c));
	c->pos += PAGE + (uint32_t)((len + PAGE - 1) & ~(size_t)(PAGE - 1));
	c->users++;
	pool->kept++;
	if (len >= LONG && !bulk(pool))
		pool->long_bytes += len;
	return pool->current;
}

void pl_fuse_pool_release(struct pl_fuse_pool *pool, unsigned chunk)
{
	struct chunk *c = &pool->chunk[chunk];

	assert(chunk < pool->n_chunks && c->users > 0);
	pool->kept--;
	if (--c->users == 0)
		c->pos = 0;
}

static void give_back(void *at, size_t len)
{
	if (madvise(at, len, MADV_DONTNEED_LOCKED) == 0)
		return;
	munlock(at, len);
	madvise(at, len, MADV_DONTNEED);
	mlock2(at, len, MLOCK_ONFAULT);
}

void pl_fuse_pool_shrink(struct pl_fuse_pool *pool)
{
	uint32_t keep = IDLE_KEEP;

	pool->long_bytes = 0;
	for (unsigned i = 0; i < pool->n_chunks; i++, keep = 0) {
		struct chunk *c = &pool->chunk[i];

		if (c->users || c->populated <= keep)
			continue;
		give_back(chunk_base(pool, i) + keep, c->populated - keep);
		c->populated = keep;
		if (!keep)
			set_huge(pool, i, false);
	}
	if (pool->chunk[pool->current].users == 0)
		pool->current = 0;
}

size_t pl_fuse_pool_resident(const struct pl_fuse_pool *pool)
{
	size_t sum = 0;

	for (unsigned i = 0; i < pool->n_chunks; i++)
		sum += pool->chunk[i].populated;
	return sum;
}
