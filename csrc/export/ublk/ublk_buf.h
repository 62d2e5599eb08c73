/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory for the data of ublk requests: one place for each tag, since the
 * kernel is told the place before it has a request for it.
 *
 * The first block of each place always has its page. The kernel copies as far
 * as there are pages when it can not get more, and sends the rest again: so
 * writing back dirty pages of the host gets on when there is no memory left.
 */
#ifndef PLOOP_EXPORT_UBLK_UBLK_BUF_H
#define PLOOP_EXPORT_UBLK_UBLK_BUF_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct pl_ublk_bufs;

/* tag_bytes: a multiple of 4096. */
int pl_ublk_bufs_new(struct pl_ublk_bufs **ret, unsigned tags,
		     uint32_t tag_bytes, struct pl_err *err);
void pl_ublk_bufs_free(struct pl_ublk_bufs *bufs); /* accepts NULL */

uint8_t *pl_ublk_bufs_at(const struct pl_ublk_bufs *bufs, unsigned tag);

/* The first len bytes of the tag's place are used, or are about to be. */
void pl_ublk_bufs_use(struct pl_ublk_bufs *bufs, unsigned tag, uint64_t len);

/* Gives back what an idle tag does not need. */
void pl_ublk_bufs_shrink(struct pl_ublk_bufs *bufs, unsigned tag);

/* Bytes that may have pages now. */
size_t pl_ublk_bufs_resident(const struct pl_ublk_bufs *bufs);

#endif
