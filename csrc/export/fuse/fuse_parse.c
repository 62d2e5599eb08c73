/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading FUSE requests: see fuse_parse.h.
 *
 * Structures are copied out, never cast in place, so that a request may lie
 * at any address. A body longer than expected is accepted (newer kernels add
 * fields at the end), a shorter one is refused.
 */
#include "export/fuse/fuse_parse.h"

#include <errno.h>
#include <string.h>

struct body {
	const char *at;
	size_t len;
};

static int take(const struct body *body, void *ret, size_t size)
{
	if (body->len < size)
		return -EINVAL;
	memcpy(ret, body->at, size);
	return 0;
}

static int parse_init(const struct body *body, struct pl_fuse_msg *msg)
{
	struct fuse_init_in in = { 0 };
	/* Before 7.36 the request ends after the first four fields. */
	const size_t old = offsetof(struct fuse_init_in, flags2);

	if (take(body, &in, body->len < sizeof(in) ? old : sizeof(in)) < 0)
		return -EINVAL;
	msg->u.init.major = in.major;
	msg->u.init.minor = in.minor;
	msg->u.init.max_readahead = in.max_readahead;
	msg->u.init.flags = in.flags;
	if (in.flags & FUSE_INIT_EXT)
		msg->u.init.flags |= (uint64_t)in.flags2 << 32;
	return 0;
}

static int parse_read(const struct body *body, struct pl_fuse_msg *msg)
{
	struct fuse_read_in in;

	if (take(body, &in, sizeof(in)) < 0 || in.size > PL_FUSE_DATA_MAX)
		return -EINVAL;
	msg->u.io.fh = in.fh;
	msg->u.io.off = in.offset;
	msg->u.io.len = in.size;
	msg->u.io.flags = in.flags;
	return 0;
}

static int parse_write(const struct body *body, struct pl_fuse_msg *msg)
{
	struct fuse_write_in in;

	if (take(body, &in, sizeof(in)) < 0 || in.size > PL_FUSE_DATA_MAX ||
	    in.size > body->len - sizeof(in))
		return -EINVAL;
	msg->u.io.fh = in.fh;
	msg->u.io.off = in.offset;
	msg->u.io.len = in.size;
	msg->u.io.flags = in.flags;
	msg->u.io.data = body->at + sizeof(in);
	return 0;
}

static int parse_fallocate(const struct body *body, struct pl_fuse_msg *msg)
{
	struct fuse_fallocate_in in;

	if (take(body, &in, sizeof(in)) < 0)
		return -EINVAL;
	msg->u.fallocate.fh = in.fh;
	msg->u.fallocate.off = in.offset;
	msg->u.fallocate.len = in.length;
	msg->u.fallocate.mode = in.mode;
	return 0;
}

static int parse_lseek(const struct body *body, struct pl_fuse_msg *msg)
{
	struct fuse_lseek_in in;

	if (take(body, &in, sizeof(in)) < 0)
		return -EINVAL;
	msg->u.lseek.fh = in.fh;
	msg->u.lseek.off = in.offset;
	msg->u.lseek.whence = in.whence;
	return 0;
}

static int parse_setattr(const struct body *body, struct pl_fuse_msg *msg)
{
	struct fuse_setattr_in in;

	if (take(body, &in, sizeof(in)) < 0)
		return -EINVAL;
	msg->u.setattr.valid = in.valid;
	msg->u.setattr.size = in.size;
	return 0;
}

static int parse_open(const struct body *body, struct pl_fuse_msg *msg)
{
	struct fuse_open_in in;

	if (take(body, &in, sizeof(in)) < 0)
		return -EINVAL;
	msg->u.open.flags = in.flags;
	return 0;
}

/* RELEASE, FLUSH and FSYNC begin with the handle; that is all we need. */
static int parse_handle(const struct body *body, struct pl_fuse_msg *msg)
{
	return take(body, &msg->u.handle.fh, sizeof(msg->u.handle.fh));
}

static int parse_name(const struct body *body, struct pl_fuse_msg *msg)
{
	if (body->len == 0 || !memchr(body->at, '\0', body->len))
		return -EINVAL;
	msg->u.name = body->at;
	return 0;
}

static int parse_body(const struct body *body, struct pl_fuse_msg *msg)
{
	switch (msg->opcode) {
	case FUSE_INIT:
		return parse_init(body, msg);
	case FUSE_READ:
		return parse_read(body, msg);
	case FUSE_WRITE:
		return parse_write(body, msg);
	case FUSE_FALLOCATE:
		return parse_fallocate(body, msg);
	case FUSE_LSEEK:
		return parse_lseek(body, msg);
	case FUSE_SETATTR:
		return parse_setattr(body, msg);
	case FUSE_OPEN:
		return parse_open(body, msg);
	case FUSE_RELEASE:
	case FUSE_FLUSH:
	case FUSE_FSYNC:
		return parse_handle(body, msg);
	case FUSE_LOOKUP:
		return parse_name(body, msg);
	default:
		return 0;
	}
}

int pl_fuse_parse(const void *buf, size_t len, struct pl_fuse_msg *ret)
{
	struct fuse_in_header head;
	struct body body;

	if (len < sizeof(head))
		return -EBADMSG;
	memcpy(&head, buf, sizeof(head));
	memset(ret, 0, sizeof(*ret));
	ret->opcode = head.opcode;
	ret->unique = head.unique;
	ret->nodeid = head.nodeid;
	if (head.len != len)
		return -EINVAL;
	body.at = (const char *)buf + sizeof(head);
	body.len = len - sizeof(head);
	return parse_body(&body, ret);
}
