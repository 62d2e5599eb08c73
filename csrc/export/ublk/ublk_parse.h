/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a descriptor of the kernel to a request of the engine. No system calls,
 * no allocation. What comes out is bounded by the buffer and by 2^63, whatever
 * is in there; whether it lies inside the disk is the engine's to say.
 */
#ifndef PLOOP_EXPORT_UBLK_UBLK_PARSE_H
#define PLOOP_EXPORT_UBLK_UBLK_PARSE_H

#include "engine/engine.h"
#include "export/ublk/ublk_wire.h"

/*
 * Fills op, flags, off, len and buf of req; buf holds max_bytes. 0, or what the
 * request is to be answered with: -EOPNOTSUPP (no such operation), -EINVAL (it
 * does not fit the buffer, or no disk has such a place).
 */
int pl_ublk_parse(const volatile struct pl_ublk_io_desc *desc, void *buf,
		  uint32_t max_bytes, struct pl_req *req);

/* What the kernel is told: bytes for what moves data, 0 otherwise, -errno. */
int32_t pl_ublk_result(const struct pl_req *req, int res);

#endif
