/* SPDX-License-Identifier: Apache-2.0 */
/* Structured replies and block status of the NBD server. */
#include "nbd_client.h"

static void write_block(uint64_t off, uint32_t len)
{
	memset(nbd_data, 1, len);
	command(NBD_CMD_WRITE, 0, 2, off, len);
	say(nbd_data, len);
	ok(next_chunk() && chunk.type == NBD_REPLY_TYPE_NONE &&
	   chunk.flags == NBD_REPLY_FLAG_DONE);
}

static struct pl_nbd_params even_blocks_params(void);

static void enter_with(struct pl_nbd_params (*params)(void), const char *query)
{
	uint8_t data[300], *p = data;

	nbd_start(params);
	greet(3);
	is_int(ask_option(NBD_OPT_STRUCTURED_REPLY, NULL, 0), NBD_REP_ACK);
	p = nbd_put32(p, 0);
	p = nbd_put32(p, 2);
	p = nbd_put32(p, 15);
	p = (uint8_t *)stpcpy((char *)p, "base:allocation");
	p = nbd_put32(p, (uint32_t)strlen(query));
	p = (uint8_t *)stpcpy((char *)p, query);
	is_int(ask_option(NBD_OPT_SET_META_CONTEXT, data, (uint32_t)(p - data)),
	       NBD_REP_META_CONTEXT);
	while (opt_answer(NBD_OPT_SET_META_CONTEXT) == NBD_REP_META_CONTEXT)
		;
	is_int(ask_option(NBD_OPT_GO, "\0\0\0\0\0", 6), NBD_REP_INFO);
	is_int(opt_answer(NBD_OPT_GO), NBD_REP_ACK);
}

static bool extent_is(unsigned i, uint32_t len, uint32_t flags)
{
	const uint8_t *p = chunk.data + 4 + 8 * i;

	return nbd_get32(p) == len && nbd_get32(p + 4) == flags;
}

pl_test("answers in chunks: data with their offset, errors with their number")
{
	nbd_start(nbd_params);
	enter(true);
	write_block(4096, 4096);
	command(NBD_CMD_READ, NBD_CMD_FLAG_DF, 77, 4000, 1000);
	require(next_chunk());
	is_int(chunk.type, NBD_REPLY_TYPE_OFFSET_DATA);
	is_int(chunk.flags, NBD_REPLY_FLAG_DONE);
	is_int(chunk.cookie, 77);
	is_int(chunk.len, 1008);
	is_int(nbd_get64(chunk.data), 4000);
	ok(chunk.data[8] == 0 && chunk.data[8 + 95] == 0 &&
	   chunk.data[8 + 96] == 1);
	command(NBD_CMD_READ, 0, 78, DISK, 1000);
	require(next_chunk());
	is_int(chunk.type, NBD_REPLY_TYPE_ERROR);
	is_int(nbd_get32(chunk.data), NBD_EINVAL);
	is_int(nbd_get16(chunk.data + 4) + 6, chunk.len);
	nbd_end();
}

pl_test("tells data from holes, within what was asked for")
{
	enter_with(nbd_params, "x:y");
	write_block(8192, 4096);
	command(NBD_CMD_BLOCK_STATUS, 0, 3, 0, 1 << 20);
	require(next_chunk());
	is_int(chunk.type, NBD_REPLY_TYPE_BLOCK_STATUS);
	is_int(nbd_get32(chunk.data), 1);
	is_int(chunk.len, 4 + 3 * 8);
	ok(extent_is(0, 8192, 3) && extent_is(1, 4096, 0) &&
	   extent_is(2, (1 << 20) - 12288, 3));
	command(NBD_CMD_BLOCK_STATUS, NBD_CMD_FLAG_REQ_ONE, 3, 8192, 65536);
	require(next_chunk());
	is_int(chunk.len, 12);
	ok(extent_is(0, 4096, 0));
	command(NBD_CMD_BLOCK_STATUS, 0, 3, 8199, 7);
	require(next_chunk());
	ok(chunk.len == 12 && extent_is(0, 7, 0));
	command(NBD_CMD_BLOCK_STATUS, 0, 3, 100, 12000);
	require(next_chunk());
	ok(chunk.len == 20 && extent_is(0, 8092, 3) &&
	   extent_is(1, 12100 - 8192, 0));
	nbd_end();
}

/* ---- a context of the owner's: every second block is dirty ---- */

static bool even_name(void *arg, unsigned i, char *ret, size_t size)
{
	(void)arg;
	snprintf(ret, size, "qemu:dirty-bitmap:%u", i);
	return i < 2;
}

static int even_status(void *arg, const char *name, uint64_t off, uint64_t len,
		       struct pl_req_status *ret)
{
	(void)arg;
	if (strcmp(name, "qemu:dirty-bitmap:1") != 0)
		return -EIO;
	for (; len > 0 && ret->n < ret->max; off += ret->run[ret->n++].len) {
		uint64_t n = 4096 - off % 4096;

		ret->run[ret->n].len = n < len ? n : len;
		ret->run[ret->n].hole = off / 4096 % 2;
		len -= ret->run[ret->n].len;
	}
	return 0;
}

static struct pl_nbd_params even_blocks_params(void)
{
	static const struct pl_nbd_contexts more = { .name = even_name,
						     .status = even_status };
	struct pl_nbd_params p = nbd_params();

	p.contexts = &more;
	return p;
}

pl_test("answers for each context that was chosen, in one reply")
{
	enter_with(even_blocks_params, "qemu:dirty-bitmap:1");
	command(NBD_CMD_BLOCK_STATUS, 0, 9, 0, 16384);
	require(next_chunk());
	is_int(chunk.flags, 0);
	is_int(nbd_get32(chunk.data), 1);
	ok(extent_is(0, 16384, 3));
	require(next_chunk());
	is_int(chunk.flags, NBD_REPLY_FLAG_DONE);
	is_int(nbd_get32(chunk.data), 2);
	is_int(chunk.len, 4 + 4 * 8);
	ok(extent_is(0, 4096, NBD_STATE_DIRTY) && extent_is(1, 4096, 0));
	nbd_end();
}

pl_test("passes the failure of a context on as an I/O error")
{
	enter_with(even_blocks_params, "qemu:dirty-bitmap:0");
	command(NBD_CMD_BLOCK_STATUS, 0, 9, 0, 16384);
	require(next_chunk());
	is_int(chunk.type, NBD_REPLY_TYPE_ERROR);
	is_int(nbd_get32(chunk.data), NBD_EIO);
	nbd_end();
}

int main(void)
{
	return pl_tap_main();
}
