/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors of ublk requests: what they become, and what is refused. */
#include <errno.h>

#include "export/ublk/ublk_parse.h"
#include "tap.h"

#define MAX (512u << 10) /* bytes of the buffer */

static struct pl_req req;
static uint8_t buf[16];

static int parse(uint32_t op_flags, uint64_t start, uint32_t sectors)
{
	struct pl_ublk_io_desc desc = {
		.op_flags = op_flags,
		.nr_sectors = sectors,
		.start_sector = start,
		.addr = UINT64_MAX, /* nobody looks at it */
	};

	memset(&req, 0xa5, sizeof(req));
	return pl_ublk_parse(&desc, buf, MAX, &req);
}

pl_test("turns a read into a request with the tag's buffer")
{
	is_int(parse(PL_UBLK_OP_READ, 8, 16), 0);
	is_int(req.op, PL_REQ_READ);
	is_int(req.off, 4096);
	is_int(req.len, 8192);
	is_int(req.flags, 0);
	ok(req.buf == buf);
}

pl_test("makes a write durable when the kernel asks for that")
{
	is_int(parse(PL_UBLK_OP_WRITE | PL_UBLK_IO_F_FUA, 1, 1), 0);
	is_int(req.op, PL_REQ_WRITE);
	is_int(req.off, 512);
	is_int(req.len, 512);
	is_int(req.flags, PL_REQ_FUA);
	ok(req.buf == buf);
	is_int(parse(PL_UBLK_OP_WRITE, 1, 1), 0);
	is_int(req.flags, 0);
}

pl_test("gives discards and zeros no buffer, and lets them be large")
{
	is_int(parse(PL_UBLK_OP_DISCARD, 0, UINT32_MAX), 0);
	is_int(req.op, PL_REQ_DISCARD);
	is_int(req.len, (uint64_t)UINT32_MAX * 512);
	ok(req.buf == NULL);
	/* 1 << 15 asks to keep the space: an image is thin all the same. */
	is_int(parse(PL_UBLK_OP_WRITE_ZEROES | 1u << 15, 8, 8), 0);
	is_int(req.op, PL_REQ_WRITE_ZEROES);
	is_int(req.flags, 0);
	ok(req.buf == NULL);
}

pl_test("takes a flush for the whole disk, whatever place it names")
{
	is_int(parse(PL_UBLK_OP_FLUSH, UINT64_MAX, 77), 0);
	is_int(req.op, PL_REQ_FLUSH);
	is_int(req.off, 0);
	is_int(req.len, 0);
	ok(req.buf == NULL);
}

pl_test("ignores flags that only say how hard to try")
{
	is_int(parse(PL_UBLK_OP_READ | 0x00011f00u, 0, 8), 0);
	is_int(req.op, PL_REQ_READ);
	is_int(req.flags, 0);
}

pl_test("refuses operations that it does not know")
{
	static const uint32_t unknown[] = { 4, 6, 9, 10, 15, 128, 255 };

	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
		is_int(parse(unknown[i], 0, 8), -EOPNOTSUPP);
		ok(req.buf == NULL && req.len == 0);
	}
}

pl_test("refuses data that is larger than the buffer")
{
	is_int(parse(PL_UBLK_OP_READ, 0, MAX / 512), 0);
	is_int(parse(PL_UBLK_OP_READ, 0, MAX / 512 + 1), -EINVAL);
	ok(req.buf == NULL);
	is_int(parse(PL_UBLK_OP_WRITE, 0, UINT32_MAX), -EINVAL);
	ok(req.buf == NULL);
}

pl_test("refuses places that no disk has, without overflow")
{
	const uint64_t last = INT64_MAX / 512;

	is_int(parse(PL_UBLK_OP_READ, last - 1, 1), 0);
	is_int(parse(PL_UBLK_OP_READ, last + 1, 1), -EINVAL);
	is_int(parse(PL_UBLK_OP_READ, UINT64_MAX, 1), -EINVAL);
	is_int(parse(PL_UBLK_OP_WRITE, UINT64_MAX / 512, 1), -EINVAL);
	is_int(parse(PL_UBLK_OP_DISCARD, last, UINT32_MAX), -EINVAL);
	is_int(parse(PL_UBLK_OP_WRITE_ZEROES, UINT64_MAX, UINT32_MAX), -EINVAL);
}

pl_test("answers data with its length, the rest with nothing, errors as such")
{
	is_int(parse(PL_UBLK_OP_READ, 0, 8), 0);
	is_int(pl_ublk_result(&req, 0), 4096);
	is_int(pl_ublk_result(&req, -EIO), -EIO);
	is_int(parse(PL_UBLK_OP_WRITE, 0, 1), 0);
	is_int(pl_ublk_result(&req, 0), 512);
	is_int(parse(PL_UBLK_OP_DISCARD, 0, UINT32_MAX), 0);
	is_int(pl_ublk_result(&req, 0), 0);
	is_int(parse(PL_UBLK_OP_FLUSH, 0, 0), 0);
	is_int(pl_ublk_result(&req, 0), 0);
	is_int(pl_ublk_result(&req, -ENOSPC), -ENOSPC);
}

pl_test("speaks the numbers and sizes of the kernel's interface")
{
	is_int(sizeof(struct pl_ublk_ctl_cmd), 32);
	is_int(sizeof(struct pl_ublk_dev_info), 64);
	is_int(sizeof(struct pl_ublk_io_cmd), 16);
	is_int(sizeof(struct pl_ublk_io_desc), 24);
	is_int(sizeof(struct pl_ublk_dev_params), 64);
	ok(PL_UBLK_ADD_DEV == 0xc0207504u);
	ok(PL_UBLK_GET_FEATURES == 0x80207513u);
	ok(PL_UBLK_UPDATE_SIZE == 0xc0207515u);
	ok(PL_UBLK_IO_FETCH == 0xc0107520u);
	ok(PL_UBLK_IO_COMMIT_AND_FETCH == 0xc0107521u);
}

int main(void)
{
	return pl_tap_main();
}
