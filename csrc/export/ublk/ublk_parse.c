/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors of the ublk driver: see ublk_parse.h.
 *
 * Zeros always give host space back, as they do through fuse: an image is
 * thin, content is what counts. So the flag NOUNMAP is not looked at, nor are
 * those that say how hard to try.
 */
#include "export/ublk/ublk_parse.h"

#include <errno.h>

#define SECTOR_SHIFT 9

static int operation(uint32_t op_flags, struct pl_req *req)
{
	switch (op_flags & 0xff) {
	case PL_UBLK_OP_READ:
		req->op = PL_REQ_READ;
		break;
	case PL_UBLK_OP_WRITE:
		req->op = PL_REQ_WRITE;
		break;
	case PL_UBLK_OP_FLUSH:
		req->op = PL_REQ_FLUSH;
		break;
	case PL_UBLK_OP_DISCARD:
		req->op = PL_REQ_DISCARD;
		break;
	case PL_UBLK_OP_WRITE_ZEROES:
		req->op = PL_REQ_WRITE_ZEROES;
		break;
	default:
		return -EOPNOTSUPP;
	}
	return 0;
}

static bool moves_data(enum pl_req_op op)
{
	return op == PL_REQ_READ || op == PL_REQ_WRITE;
}

int pl_ublk_parse(const volatile struct pl_ublk_io_desc *desc, void *buf,
		  uint32_t max_bytes, struct pl_req *req)
{
	/* Each member once: it is memory that somebody else writes. */
	uint32_t op_flags = desc->op_flags, sectors = desc->nr_sectors;
	uint64_t start = desc->start_sector;
	int rc = operation(op_flags, req);

	req->flags = 0;
	req->buf = NULL;
	req->off = req->len = 0;
	if (rc < 0 || req->op == PL_REQ_FLUSH)
		return rc;
	if (start > INT64_MAX >> SECTOR_SHIFT)
		return -EINVAL;
	req->off = start << SECTOR_SHIFT;
	req->len = (uint64_t)sectors << SECTOR_SHIFT;
	if (req->len > (uint64_t)INT64_MAX - req->off)
		return -EINVAL;
	if (moves_data(req->op)) {
		if (req->len > max_bytes)
			return -EINVAL;
		req->buf = buf;
	}
	if (op_flags & PL_UBLK_IO_F_FUA && req->op != PL_REQ_READ)
		req->flags |= PL_REQ_FUA;
	return 0;
}

int32_t pl_ublk_result(const struct pl_req *req, int res)
{
	if (res < 0)
		return res;
	return moves_data(req->op) ? (int32_t)req->len : 0;
}
