/* SPDX-License-Identifier: Apache-2.0 */
/* Extended headers of the NBD server: lengths of 64 bits, on a disk of 1 TiB. */
#define DISK (1ull << 40)
#include "nbd_client.h"

/* ---- a client with extended headers ---- */

static void ext(unsigned type, unsigned flags, uint64_t off, uint64_t len)
{
	uint8_t head[32], *p = nbd_put32(head, NBD_EXTENDED_REQUEST_MAGIC);

	p = nbd_put16(p, flags);
	p = nbd_put16(p, type);
	p = nbd_put64(p, 4711);
	p = nbd_put64(p, off);
	nbd_put64(p, len);
	say(head, sizeof(head));
}

static struct {
	unsigned flags, type;
	uint64_t off, len;
	uint8_t data[65536 + 8];
} reply;

static bool next_reply(void)
{
	uint8_t head[32];

	if (!hear(head, sizeof(head)) ||
	    nbd_get32(head) != NBD_EXTENDED_REPLY_MAGIC ||
	    nbd_get64(head + 8) != 4711)
		return false;
	reply.flags = nbd_get16(head + 4);
	reply.type = nbd_get16(head + 6);
	reply.off = nbd_get64(head + 16);
	reply.len = nbd_get64(head + 24);
	return reply.len <= sizeof(reply.data) && hear(reply.data, reply.len);
}

/* The error of an answer without data, UINT32_MAX for anything else. */
static uint32_t done(void)
{
	if (!next_reply() || reply.flags != NBD_REPLY_FLAG_DONE)
		return UINT32_MAX;
	if (reply.type == NBD_REPLY_TYPE_NONE)
		return reply.len ? UINT32_MAX : 0;
	if (reply.type != NBD_REPLY_TYPE_ERROR ||
	    reply.len != 6u + nbd_get16(reply.data + 4))
		return UINT32_MAX;
	return nbd_get32(reply.data);
}

static uint32_t ext_do(unsigned type, unsigned flags, uint64_t off,
		       uint64_t len)
{
	ext(type, flags, off, len);
	return done();
}

static uint32_t ext_write(uint64_t off, uint32_t len, int value)
{
	memset(nbd_data, value, len);
	ext(NBD_CMD_WRITE, NBD_CMD_FLAG_PAYLOAD_LEN, off, len);
	say(nbd_data, len);
	return done();
}

static bool says(const char *text)
{
	size_t len = nbd_get16(reply.data + 4);

	return len == strlen(text) && !memcmp(reply.data + 6, text, len);
}

static bool extent_is(unsigned i, uint64_t len, uint64_t state)
{
	const uint8_t *p = reply.data + 8 + 16 * i;

	return nbd_get64(p) == len && nbd_get64(p + 8) == state;
}

/* ---- two contexts ---- */

static bool one_name(void *arg, unsigned i, char *ret, size_t size)
{
	(void)arg;
	snprintf(ret, size, "qemu:dirty-bitmap:%u", i);
	return i < 40;
}

static int all_dirty(void *arg, const char *name, uint64_t off, uint64_t len,
		     struct pl_req_status *ret)
{
	(void)arg, (void)name, (void)off;
	ret->run[ret->n].len = len;
	ret->run[ret->n++].hole = false;
	return 0;
}

static struct pl_nbd_params two_contexts(void)
{
	static const struct pl_nbd_contexts more = { .name = one_name,
						     .status = all_dirty };
	struct pl_nbd_params p = nbd_params();

	p.contexts = &more;
	return p;
}

static uint32_t choose_two(void)
{
	uint8_t data[300], *p = data;

	p = nbd_put32(p, 0);
	p = nbd_put32(p, 2);
	p = nbd_put32(p, 15);
	p = (uint8_t *)stpcpy((char *)p, "base:allocation");
	p = nbd_put32(p, 19);
	p = (uint8_t *)stpcpy((char *)p, "qemu:dirty-bitmap:0");
	option(NBD_OPT_SET_META_CONTEXT, data, (uint32_t)(p - data));
	is_int(opt_answer(NBD_OPT_SET_META_CONTEXT), NBD_REP_META_CONTEXT);
	is_int(opt_answer(NBD_OPT_SET_META_CONTEXT), NBD_REP_META_CONTEXT);
	return opt_answer(NBD_OPT_SET_META_CONTEXT);
}

static void enter_extended(bool contexts)
{
	unsigned flags;

	nbd_start(two_contexts);
	greet(3);
	is_int(ask_option(NBD_OPT_EXTENDED_HEADERS, NULL, 0), NBD_REP_ACK);
	if (contexts)
		is_int(choose_two(), NBD_REP_ACK);
	is_int(ask_option(NBD_OPT_GO, "\0\0\0\0\0", 6), NBD_REP_INFO);
	flags = nbd_get16(opt_data + 10);
	ok(flags & NBD_FLAG_SEND_DF);
	is_int(!!(flags & NBD_FLAG_BLOCK_STATUS_PAYLOAD), contexts);
	is_int(opt_answer(NBD_OPT_GO), NBD_REP_ACK);
}

pl_test("agrees on them, and on nothing that does not go with them")
{
	nbd_start(nbd_params);
	greet(3);
	is_int(ask_option(NBD_OPT_EXTENDED_HEADERS, "x", 1),
	       NBD_REP_ERR_INVALID);
	is_int(ask_option(NBD_OPT_EXTENDED_HEADERS, NULL, 0), NBD_REP_ACK);
	is_int(ask_option(NBD_OPT_STRUCTURED_REPLY, NULL, 0),
	       NBD_REP_ERR_EXT_HEADER_REQD);
	option(NBD_OPT_EXPORT_NAME, "disk", 4);
	ok(ended());
	nbd_end();
}

pl_test("reads, writes, flushes: every answer has the request's offset")
{
	enter_extended(false);
	is_int(ext_write(4096, 4096, 7), 0);
	ok(reply.off == 4096);
	is_int(ext_do(NBD_CMD_FLUSH, 0, 0, 0), 0);
	ext(NBD_CMD_READ, NBD_CMD_FLAG_DF, 4000, 1000);
	require(next_reply());
	is_int(reply.type, NBD_REPLY_TYPE_OFFSET_DATA);
	ok(reply.off == 4000 && reply.len == 1008);
	ok(nbd_get64(reply.data) == 4000);
	ok(reply.data[8 + 95] == 0 && reply.data[8 + 96] == 7);
	ext(NBD_CMD_READ, 0, 0, 12288);
	require(next_reply());
	ok(reply.type == NBD_REPLY_TYPE_OFFSET_HOLE && reply.len == 12);
	ok(nbd_get64(reply.data) == 0 && nbd_get32(reply.data + 8) == 4096);
	require(next_reply());
	ok(reply.type == NBD_REPLY_TYPE_OFFSET_DATA && reply.off == 0);
	ok(nbd_get64(reply.data) == 4096 && reply.data[8] == 7);
	require(next_reply());
	ok(reply.flags == NBD_REPLY_FLAG_DONE && nbd_get64(reply.data) == 8192);
	ext(NBD_CMD_DISC, 0, 0, 0);
	ok(ended());
	nbd_end();
}

pl_test("trims, zeroes and looks at a TiB in one request")
{
	enter_extended(true);
	is_int(ext_write(700 * GIB, 4096, 1), 0);
	is_int(ext_write(DISK - 4096, 4096, 1), 0);
	ext(NBD_CMD_BLOCK_STATUS, 0, 0, DISK);
	require(next_reply());
	is_int(reply.type, NBD_REPLY_TYPE_BLOCK_STATUS_EXT);
	is_int(reply.flags, 0);
	ok(nbd_get32(reply.data) == 1 && nbd_get32(reply.data + 4) == 4);
	is_int((long long)reply.len, 8 + 4 * 16);
	ok(extent_is(0, 700 * GIB, 3) && extent_is(1, 4096, 0));
	ok(extent_is(2, DISK - 700 * GIB - 8192, 3) && extent_is(3, 4096, 0));
	require(next_reply());
	is_int(reply.flags, NBD_REPLY_FLAG_DONE);
	ok(nbd_get32(reply.data) == 2 && nbd_get32(reply.data + 4) == 1);
	ok(extent_is(0, DISK, NBD_STATE_DIRTY));
	is_int(ext_do(NBD_CMD_TRIM, NBD_CMD_FLAG_FUA, 0, 800 * GIB), 0);
	is_int(ext_do(NBD_CMD_WRITE_ZEROES, NBD_CMD_FLAG_FAST_ZERO, 100,
		      DISK - 100),
	       0);
	ext(NBD_CMD_BLOCK_STATUS, NBD_CMD_FLAG_REQ_ONE, 5, DISK - 5);
	require(next_reply() && next_reply());
	ok(extent_is(0, DISK - 5, NBD_STATE_DIRTY));
	nbd_end();
}

/* BLOCK_STATUS of len bytes at 0 for these contexts. */
static void ask_for(uint64_t len, unsigned n, const uint32_t *ids)
{
	uint8_t payload[200], *p = nbd_put64(payload, len);

	for (unsigned i = 0; i < n; i++)
		p = nbd_put32(p, ids[i]);
	ext(NBD_CMD_BLOCK_STATUS, NBD_CMD_FLAG_PAYLOAD_LEN, 0,
	    (uint64_t)(p - payload));
	say(payload, (size_t)(p - payload));
}

pl_test("answers for the contexts that a payload names, and no others")
{
	static const uint32_t second[] = { 2 }, twice[] = { 1, 1 },
			      none[] = { 0 }, third[] = { 1, 3 };
	static const uint32_t many[40] = { 1 };

	enter_extended(true);
	ask_for(DISK, 1, second);
	require(next_reply());
	ok(reply.flags == NBD_REPLY_FLAG_DONE && nbd_get32(reply.data) == 2);
	ok(extent_is(0, DISK, NBD_STATE_DIRTY));
	ask_for(DISK, 2, twice);
	is_int(done(), NBD_EINVAL);
	ask_for(DISK, 1, none);
	is_int(done(), NBD_EINVAL);
	ask_for(DISK, 2, third);
	is_int(done(), NBD_EINVAL);
	ask_for(DISK, 0, none);
	is_int(done(), NBD_EINVAL);
	ask_for(DISK + 1, 1, second);
	is_int(done(), NBD_EINVAL);
	ok(says("beyond the end of the disk"));
	ask_for(DISK, 40, many);
	is_int(done(), NBD_EINVAL);
	ok(says("the payload is too long"));
	nbd_end();
}

pl_test("takes a payload that does not belong, says so, and goes on")
{
	enter_extended(false);
	ext(NBD_CMD_READ, NBD_CMD_FLAG_PAYLOAD_LEN, 0, 100);
	say(nbd_data, 100);
	is_int(done(), NBD_EINVAL);
	ok(says("a flag that does not go with this command"));
	/* As qemu does it: a write has a payload, with or without the flag. */
	memset(nbd_data, 5, 4096);
	ext(NBD_CMD_WRITE, 0, 8192, 4096);
	say(nbd_data, 4096);
	is_int(done(), 0);
	ext(NBD_CMD_READ, 0, 8192, 4096);
	require(next_reply());
	ok(reply.len == 8 + 4096 && reply.data[8] == 5);
	is_int(ext_do(NBD_CMD_READ, 0, 0, 1ull << 40), NBD_EINVAL);
	is_int(ext_do(NBD_CMD_TRIM, 0, 4096, UINT64_MAX), NBD_EINVAL);
	is_int(ext_do(NBD_CMD_WRITE_ZEROES, 0, UINT64_MAX, 2), NBD_ENOSPC);
	is_int(ext_do(NBD_CMD_BLOCK_STATUS, 0, 0, 4096), NBD_EINVAL);
	is_int(ext_do(NBD_CMD_FLUSH, 0, 0, 0), 0);
	/* A payload beyond what was told is no accident. */
	ext(NBD_CMD_WRITE, NBD_CMD_FLAG_PAYLOAD_LEN, 0, (32u << 20) + 1);
	ok(ended());
	nbd_end();
}

pl_test("ends at a request of the other kind")
{
	enter_extended(false);
	command(NBD_CMD_READ, 0, 1, 0, 4096);
	say(nbd_data, 4);
	ok(ended());
	nbd_end();
	nbd_start(nbd_params);
	enter(true);
	ext(NBD_CMD_READ, 0, 0, 4096);
	ok(ended());
	nbd_end();
}

int main(void)
{
	return pl_tap_main();
}
