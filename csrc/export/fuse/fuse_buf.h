/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory for FUSE requests and their data, bounded and made ready beforehand.
 *
 * The kernel copies a request into our memory while it holds it; when that
 * copy must first fetch a page and a SIGKILL arrives, the copy fails and the
 * device sees an I/O error. So the place of the next request has all its
 * pages when it is read: that is this module's promise, and why memory is not
 * simply touched on demand. An idle pool keeps the first pages only; a host
 * without memory for the rest leaves it to the kernel, rather than stand still.
 *
 * A buffer is a page-aligned span with PL_FUSE_WRITE_HEAD bytes before it, so
 * that the data of a WRITE, read together with its header, is page-aligned.
 */
#ifndef PLOOP_EXPORT_FUSE_FUSE_BUF_H
#define PLOOP_EXPORT_FUSE_FUSE_BUF_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct pl_fuse_pool;

/* max_bytes: the most it ever takes; at least one chunk (2 MiB) is used. */
int pl_fuse_pool_new(struct pl_fuse_pool **ret, size_t max_bytes,
		     struct pl_err *err);
void pl_fuse_pool_free(struct pl_fuse_pool *pool); /* accepts NULL */

/*
 * Where the data of the next request goes: PL_FUSE_DATA_MAX bytes, with room
 * for its head before. The same place until it is kept. NULL: all is in use, or
 * there is no memory until something is released.
 */
uint8_t *pl_fuse_pool_next(struct pl_fuse_pool *pool);

/* Keeps the first len data bytes of the next place; returns its chunk. */
unsigned pl_fuse_pool_keep(struct pl_fuse_pool *pool, size_t len);
void pl_fuse_pool_release(struct pl_fuse_pool *pool, unsigned chunk);

/* Gives back what an idle export does not need. */
void pl_fuse_pool_shrink(struct pl_fuse_pool *pool);

/* Bytes that are populated now. */
size_t pl_fuse_pool_resident(const struct pl_fuse_pool *pool);

#endif
