/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors of ublk requests. Input: descriptors, one after the other; what
 * comes out must lie in the buffer and on a disk, and be answered in kind.
 */
#include <errno.h>

#include "export/ublk/ublk_parse.h"
#include "fuzz.h"

#define MAX (512u << 10) /* bytes of the buffer */

static void look(const struct pl_req *req, int rc, const uint8_t *buf)
{
	bool data = req->op == PL_REQ_READ || req->op == PL_REQ_WRITE;

	fuzz_require(rc == 0 || rc == -EINVAL || rc == -EOPNOTSUPP);
	if (rc < 0) {
		fuzz_require(!req->buf);
		return;
	}
	fuzz_require(req->buf == (data ? buf : NULL));
	fuzz_require(req->off <= INT64_MAX && req->len <= INT64_MAX - req->off);
	fuzz_require(req->off % 512 == 0 && req->len % 512 == 0);
	fuzz_require((req->flags & ~PL_REQ_FUA) == 0);
	if (data)
		fuzz_require(req->len <= MAX);
	fuzz_require(pl_ublk_result(req, 0) == (data ? (int32_t)req->len : 0));
	fuzz_require(pl_ublk_result(req, -EIO) == -EIO);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t buf[1];
	struct pl_ublk_io_desc desc;
	struct pl_req req;

	for (; size >= sizeof(desc); size -= sizeof(desc)) {
		memcpy(&desc, data, sizeof(desc));
		data += sizeof(desc);
		memset(&req, 0xa5, sizeof(req));
		look(&req, pl_ublk_parse(&desc, buf, MAX, &req), buf);
	}
	return 0;
}
