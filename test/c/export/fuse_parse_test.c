/* SPDX-License-Identifier: Apache-2.0 */
/* FUSE requests as bytes: good ones, short ones, lying ones. */
#include <errno.h>

#include "export/fuse/fuse_parse.h"
#include "tap.h"

struct request {
	union {
		struct fuse_in_header head;
		uint8_t bytes[sizeof(struct fuse_in_header) + 256];
	};
	size_t len;
};

static struct request make(uint32_t opcode, const void *body, size_t len)
{
	struct request r = { .len = sizeof(r.head) + len };

	r.head.opcode = opcode;
	r.head.unique = 42;
	r.head.nodeid = 2;
	r.head.len = (uint32_t)r.len;
	if (len)
		memcpy(r.bytes + sizeof(r.head), body, len);
	return r;
}

static int parse(const struct request *r, struct pl_fuse_msg *msg)
{
	return pl_fuse_parse(r->bytes, r->len, msg);
}

pl_test("takes a read apart")
{
	struct fuse_read_in in = { .fh = 7, .offset = 4096, .size = 8192 };
	struct request r = make(FUSE_READ, &in, sizeof(in));
	struct pl_fuse_msg msg;

	is_int(parse(&r, &msg), 0);
	is_int(msg.unique, 42);
	is_int(msg.nodeid, 2);
	is_int(msg.u.io.off, 4096);
	is_int(msg.u.io.len, 8192);
}

pl_test("finds the data of a write right behind its head")
{
	struct {
		struct fuse_write_in in;
		char data[16];
	} body = { .in = { .offset = 512, .size = 16 }, .data = "0123456789" };
	struct request r = make(FUSE_WRITE, &body, sizeof(body));
	struct pl_fuse_msg msg;

	is_int(parse(&r, &msg), 0);
	ok(msg.u.io.data == r.bytes + PL_FUSE_WRITE_HEAD);
	is_int(msg.u.io.len, 16);
}

pl_test("refuses a write that promises more data than it brings")
{
	struct fuse_write_in in = { .size = 17 };
	uint8_t body[sizeof(in) + 16] = { 0 };
	struct request r;
	struct pl_fuse_msg msg;

	memcpy(body, &in, sizeof(in));
	r = make(FUSE_WRITE, body, sizeof(body));
	is_int(parse(&r, &msg), -EINVAL);
	is_int(msg.unique, 42);
}

pl_test("refuses reads and writes larger than was agreed on")
{
	struct fuse_read_in in = { .size = PL_FUSE_DATA_MAX + 1 };
	struct request r = make(FUSE_READ, &in, sizeof(in));
	struct pl_fuse_msg msg;

	is_int(parse(&r, &msg), -EINVAL);
	r.head.opcode = FUSE_WRITE;
	is_int(parse(&r, &msg), -EINVAL);
	in.size = UINT32_MAX;
	r = make(FUSE_READ, &in, sizeof(in));
	is_int(parse(&r, &msg), -EINVAL);
}

pl_test("refuses every truncation of every request, without reading beyond")
{
	static const struct {
		uint32_t opcode;
		size_t body;
	} all[] = {
		{ FUSE_INIT, offsetof(struct fuse_init_in, flags2) },
		{ FUSE_READ, sizeof(struct fuse_read_in) },
		{ FUSE_WRITE, sizeof(struct fuse_write_in) },
		{ FUSE_FALLOCATE, sizeof(struct fuse_fallocate_in) },
		{ FUSE_LSEEK, sizeof(struct fuse_lseek_in) },
		{ FUSE_SETATTR, sizeof(struct fuse_setattr_in) },
		{ FUSE_OPEN, sizeof(struct fuse_open_in) },
		{ FUSE_RELEASE, sizeof(uint64_t) },
		{ FUSE_FSYNC, sizeof(uint64_t) },
		{ FUSE_LOOKUP, 1 },
	};
	uint8_t zeros[256] = { 0 };
	struct pl_fuse_msg msg;

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		for (size_t n = 0; n < all[i].body; n++) {
			struct request r = make(all[i].opcode, zeros, n);
			/* On the heap: the sanitizer sees a byte too far. */
			uint8_t *exact = malloc(r.len);

			memcpy(exact, r.bytes, r.len);
			is_int(pl_fuse_parse(exact, r.len, &msg), -EINVAL);
			free(exact);
		}
	}
}

pl_test("refuses bytes that are no header, and a header that lies about len")
{
	struct request r = make(FUSE_STATFS, NULL, 0);
	struct pl_fuse_msg msg;

	for (size_t n = 0; n < sizeof(r.head); n++)
		is_int(pl_fuse_parse(r.bytes, n, &msg), -EBADMSG);
	r.head.len++;
	is_int(parse(&r, &msg), -EINVAL);
	is_int(msg.unique, 42);
}

pl_test("refuses a name without an end")
{
	struct request r = make(FUSE_LOOKUP, "disk", 4);
	struct pl_fuse_msg msg;

	is_int(parse(&r, &msg), -EINVAL);
	r = make(FUSE_LOOKUP, "disk", 5);
	is_int(parse(&r, &msg), 0);
	is_str(msg.u.name, "disk");
}

pl_test("takes the upper flags of INIT only where they are announced")
{
	struct fuse_init_in in = { .major = 7, .minor = 38, .flags2 = 0x80 };
	struct request r = make(FUSE_INIT, &in, sizeof(in));
	struct pl_fuse_msg msg;

	is_int(parse(&r, &msg), 0);
	is_int(msg.u.init.flags, 0);
	in.flags = FUSE_INIT_EXT;
	r = make(FUSE_INIT, &in, sizeof(in));
	is_int(parse(&r, &msg), 0);
	ok(msg.u.init.flags & PL_FUSE_HAS_RESEND);
}

pl_test("accepts unknown requests, for whoever answers ENOSYS")
{
	struct request r = make(9999, NULL, 0);
	struct pl_fuse_msg msg;

	is_int(parse(&r, &msg), 0);
	is_int(msg.opcode, 9999);
}

pl_test("survives a million random requests")
{
	struct pl_fuse_msg msg;
	struct request r;
	uint64_t seed = 0x9e3779b97f4a7c15u;

	for (int i = 0; i < 1000000; i++) {
		for (size_t b = 0; b < sizeof(r.bytes); b += 8) {
			seed = seed * 6364136223846793005u +
			       1442695040888963407u;
			memcpy(r.bytes + b, &seed, 8);
		}
		r.len = (seed >> 33) % sizeof(r.bytes);
		r.head.opcode %= 60;
		if (i & 1)
			r.head.len = (uint32_t)r.len;
		pl_fuse_parse(r.bytes, r.len, &msg);
	}
	ok(true);
}

int main(void)
{
	return pl_tap_main();
}
