/* SPDX-License-Identifier: Apache-2.0 */
/* Reads of the NBD server that leave the holes out, and CACHE. */
#include "nbd_client.h"

#define BLOCK 4096u
#define ALL (64u << 10) /* bytes of the disk that are looked at */

static uint8_t expected[ALL], got[ALL];
static unsigned data_chunks, hole_chunks;
static uint32_t data_bytes;

static void fill(unsigned block, int value)
{
	memset(expected + block * BLOCK, value, BLOCK);
	memset(nbd_data, value, BLOCK);
	command(NBD_CMD_WRITE, 0, 2, block * BLOCK, BLOCK);
	say(nbd_data, BLOCK);
	ok(next_chunk() && chunk.type == NBD_REPLY_TYPE_NONE);
}

static void begin(void)
{
	memset(expected, 0, sizeof(expected));
	nbd_start(nbd_params);
	enter(true);
}

/* One chunk of a read of [off, off + len) goes to its place in got. */
static bool take_chunk(uint32_t off, uint32_t len)
{
	uint64_t at = nbd_get64(chunk.data);
	bool hole = chunk.type == NBD_REPLY_TYPE_OFFSET_HOLE;
	uint32_t n = hole ? nbd_get32(chunk.data + 8) : chunk.len - 8;

	if ((hole && chunk.len != 12) ||
	    (!hole && chunk.type != NBD_REPLY_TYPE_OFFSET_DATA) || n == 0 ||
	    at < off || at + n > off + len)
		return false;
	for (uint32_t i = 0; i < n; i++) {
		if (got[at + i] != 0xee) /* told twice */
			return false;
		got[at + i] = hole ? 0 : chunk.data[8 + i];
	}
	data_chunks += !hole;
	hole_chunks += hole;
	data_bytes += hole ? 0 : n;
	return true;
}

/* Every byte came once, and is as it was written. */
static bool reads_right(unsigned flags, uint32_t off, uint32_t len)
{
	memset(got, 0xee, sizeof(got));
	data_chunks = hole_chunks = data_bytes = 0;
	command(NBD_CMD_READ, flags, 5, off, len);
	do {
		if (!next_chunk() || chunk.cookie != 5 || !take_chunk(off, len))
			return false;
	} while (!(chunk.flags & NBD_REPLY_FLAG_DONE));
	return memcmp(got + off, expected + off, len) == 0;
}

pl_test("sends data and the lengths of holes, each byte told once")
{
	begin();
	fill(2, 7);
	fill(3, 8);
	fill(9, 9);
	ok(reads_right(0, 0, ALL));
	is_int(data_chunks, 2);
	is_int(hole_chunks, 3);
	is_int(data_bytes, 3 * BLOCK);
	ok(reads_right(0, 2 * BLOCK, 2 * BLOCK));
	is_int(hole_chunks, 0);
	ok(reads_right(0, 3 * BLOCK, 10 * BLOCK));
	is_int(data_bytes, 2 * BLOCK);
	nbd_end();
}

pl_test("clips chunks to odd bytes that were asked for")
{
	begin();
	fill(2, 7);
	ok(reads_right(0, 100, 3 * BLOCK));
	is_int(data_bytes, BLOCK);
	ok(reads_right(0, 2 * BLOCK + 5, 2 * BLOCK));
	is_int(data_bytes, BLOCK - 5);
	ok(reads_right(0, BLOCK + 1, BLOCK + 6));
	is_int(data_bytes, 7);
	nbd_end();
}

pl_test("sends nothing but one length for a hole, and frees its room")
{
	begin();
	for (unsigned i = 0; i < 200; i++)
		ok(reads_right(0, 511, ALL - 1024));
	is_int(data_chunks, 0);
	is_int(hole_chunks, 1);
	nbd_end();
}

pl_test("answers in one chunk when told so, and reads of a block")
{
	begin();
	fill(2, 7);
	ok(reads_right(NBD_CMD_FLAG_DF, 0, ALL));
	is_int(data_chunks, 1);
	is_int(data_bytes, ALL);
	ok(reads_right(0, 0, BLOCK));
	is_int(data_chunks, 1);
	is_int(hole_chunks, 0);
	nbd_end();
}

pl_test("bounds the chunks of one answer: the rest is data")
{
	uint64_t last = 80 * BLOCK;
	unsigned chunks = 0;

	begin();
	for (unsigned i = 0; i < 80; i += 2) {
		memset(nbd_data, 1, BLOCK);
		command(NBD_CMD_WRITE, 0, 2, i * BLOCK, BLOCK);
		say(nbd_data, BLOCK);
		ok(next_chunk());
	}
	command(NBD_CMD_READ, 0, 5, 0, (uint32_t)last);
	for (uint64_t at = 0; at < last; chunks++) {
		uint32_t len;

		require(hear(nbd_data, 20));
		len = nbd_get32(nbd_data + 16);
		require(len >= 12 && hear(nbd_data, 8) &&
			nbd_get64(nbd_data) == at);
		len -= 8;
		if (len == 4) {
			require(hear(nbd_data, 4));
			at += nbd_get32(nbd_data);
			continue;
		}
		require(len <= 64 << 10 || len % BLOCK == 0);
		for (at += len; len > 0; len -= BLOCK)
			require(hear(nbd_data, BLOCK));
	}
	is_int(chunks, 30);
	nbd_end();
}

pl_test("CACHE reads what it names, in pieces that are bounded")
{
	struct pl_engine_stats before, after;
	uint64_t reads, bytes;

	begin();
	pl_engine_stats(eng, &before);
	command(NBD_CMD_CACHE, 0, 5, 100, 5u << 20);
	ok(next_chunk() && chunk.type == NBD_REPLY_TYPE_NONE);
	pl_engine_stats(eng, &after);
	reads = after.op[PL_REQ_READ].requests -
		before.op[PL_REQ_READ].requests;
	bytes = after.op[PL_REQ_READ].bytes - before.op[PL_REQ_READ].bytes;
	is_int(reads, 6);
	is_int(bytes, (5 << 20) + 512);
	nbd_end();
}

int main(void)
{
	return pl_tap_main();
}
