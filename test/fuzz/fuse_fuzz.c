/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FUSE requests. Input: the bytes of one request; with the first byte odd, its
 * length field is made right. The copy that is parsed has nothing behind it.
 */
#include <errno.h>

#include "export/fuse/fuse_parse.h"
#include "fuzz.h"

static void require_inside(const void *at, size_t len, const uint8_t *buf,
			   size_t size)
{
	const uint8_t *p = at;

	fuzz_require(p >= buf && p <= buf + size &&
		     len <= (size_t)(buf + size - p));
}

static void look(const struct pl_fuse_msg *m, const uint8_t *buf, size_t size)
{
	const char *name;

	switch (m->opcode) {
	case FUSE_WRITE:
		require_inside(m->u.io.data, m->u.io.len, buf, size);
		fuzz_require(m->u.io.len <= PL_FUSE_DATA_MAX);
		break;
	case FUSE_READ:
		fuzz_require(m->u.io.len <= PL_FUSE_DATA_MAX);
		break;
	case FUSE_LOOKUP:
		name = m->u.name;
		require_inside(name, 1, buf, size);
		require_inside(name, strlen(name) + 1, buf, size);
		break;
	default:
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pl_fuse_msg msg, again;
	uint32_t len;
	uint8_t *buf;
	int rc;

	if (size == 0)
		return 0;
	len = (uint32_t)--size;
	buf = malloc(size ? size : 1);
	fuzz_require(buf);
	memcpy(buf, data + 1, size);
	if (data[0] & 1 && size >= 4)
		memcpy(buf, &len, 4);
	rc = pl_fuse_parse(buf, size, &msg);
	fuzz_require(rc == 0 || rc == -EINVAL || rc == -EBADMSG);
	fuzz_require((rc == -EBADMSG) ==
		     (size < sizeof(struct fuse_in_header)));
	if (rc == 0)
		look(&msg, buf, size);
	if (rc != -EBADMSG)
		fuzz_require(memcmp(&msg.unique, buf + 8, 8) == 0);
	fuzz_require(pl_fuse_parse(buf, size, &again) == rc);
	free(buf);
	return 0;
}
