/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pool of 2 MiB chunks: see fuse_buf.h. Requests are laid one after the
 * other into the current chunk; a chunk is empty again when the last request
 * in it was answered.
 *
 * INVARIANTS
 *  1. chunk.pos is a multiple of PAGE; the next request's head page starts
 *     there, its data one page later.
 *  2. [chunk, chunk + populated) has pages. pl_fuse_pool_next() returns a
 *     place only when all of it lies below `populated`.
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

struct chunk {
	uint32_t pos, populated; /* bytes */
	uint32_t users;
};

struct pl_fuse_pool {
	uint8_t *base;
	unsigned n_chunks, current;
	struct chunk chunk[];
};

int pl_fuse_pool_new(struct pl_fuse_pool **ret, size_t max_bytes,
		     struct pl_err *err)
{
	unsigned n = (unsigned)(max_bytes / CHUNK_SIZE);
	struct pl_fuse_pool *pool;
	void *base;

	if (n == 0)
		n = 1;
	pool = calloc(1, sizeof(*pool) + n * sizeof(pool->chunk[0]));
	if (!pool)
		return pl_err_sys(err, -ENOMEM, "request buffers");
	base = mmap(NULL, (size_t)n * CHUNK_SIZE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (base == MAP_FAILED) {
		free(pool);
		return pl_err_sys(err, -errno, "request buffers");
	}
	/* Huge pages would make an idle image cost 2 MiB where 1 is enough. */
	madvise(base, (size_t)n * CHUNK_SIZE, MADV_NOHUGEPAGE);
	/* Best effort: without CAP_IPC_LOCK buffers can be swapped out. */
	mlock2(base, (size_t)n * CHUNK_SIZE, MLOCK_ONFAULT);
	pool->base = base;
	pool->n_chunks = n;
	*ret = pool;
	return 0;
}

void pl_fuse_pool_free(struct pl_fuse_pool *pool)
{
	if (!pool)
		return;
	munmap(pool->base, (size_t)pool->n_chunks * CHUNK_SIZE);
	free(pool);
}

static uint8_t *chunk_base(const struct pl_fuse_pool *pool, unsigned i)
{
	return pool->base + (size_t)i * CHUNK_SIZE;
}

static int populate(struct pl_fuse_pool *pool, unsigned i, uint32_t need)
{
	struct chunk *c = &pool->chunk[i];
	uint8_t *at = chunk_base(pool, i);
	uint32_t end;

	if (c->populated >= need)
		return 0;
	/* In steps: not one system call per small request. */
	end = c->populated ? need + POPULATE_STEP : need;
	if (end > CHUNK_SIZE)
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

/* The chunk to fill: the current one, else a used one, else a fresh one. */
static int pick(const struct pl_fuse_pool *pool)
{
	int fresh = -1;

	if (has_room(&pool->chunk[pool->current]))
		return (int)pool->current;
	for (unsigned i = 0; i < pool->n_chunks; i++) {
		if (!has_room(&pool->chunk[i]))
			continue;
		if (pool->chunk[i].populated)
			return (int)i;
		if (fresh < 0)
			fresh = (int)i;
	}
	return fresh;
}

uint8_t *pl_fuse_pool_next(struct pl_fuse_pool *pool)
{
	int i = pick(pool);
	struct chunk *c;

	if (i < 0)
		return NULL;
	c = &pool->chunk[i];
	if (populate(pool, (unsigned)i, c->pos + SPAN) < 0)
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
	return pool->current;
}

void pl_fuse_pool_release(struct pl_fuse_pool *pool, unsigned chunk)
{
	struct chunk *c = &pool->chunk[chunk];

	assert(chunk < pool->n_chunks && c->users > 0);
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
	for (unsigned i = 0; i < pool->n_chunks; i++) {
		struct chunk *c = &pool->chunk[i];
		uint32_t keep = i == 0 ? SPAN : 0;

		if (c->users || c->populated <= keep)
			continue;
		give_back(chunk_base(pool, i) + keep, c->populated - keep);
		c->populated = keep;
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
