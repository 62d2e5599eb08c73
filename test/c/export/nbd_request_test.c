/* SPDX-License-Identifier: Apache-2.0 */
/* NBD requests: what they do, and the protocol's error for what is wrong. */
#include "nbd_client.h"

static struct pl_nbd_params read_only_params(void)
{
	struct pl_nbd_params p = nbd_params();

	p.read_only = true;
	return p;
}

pl_test("writes, reads, flushes, trims and writes zeroes")
{
	nbd_start(nbd_params);
	enter(false);
	is_int(do_write(0, 8192, 16384, 7), 0);
	ok(reads_as(8192, 16384, 7) && reads_as(0, 8192, 0));
	is_int(do_command(NBD_CMD_FLUSH, 0, 0, 0), 0);
	is_int(do_command(NBD_CMD_TRIM, 0, 8192, 4096), 0);
	is_int(do_command(NBD_CMD_WRITE_ZEROES, NBD_CMD_FLAG_FAST_ZERO, 12288,
			  4096),
	       0);
	is_int(do_command(NBD_CMD_CACHE, 0, 0, 4096), 0);
	ok(reads_as(8192, 8192, 0) && reads_as(16384, 8192, 7));
	nbd_end();
}

pl_test("is durable when a FUA write is answered")
{
	nbd_start(nbd_params);
	enter(false);
	/* The first change of a layer marks it as in use. */
	is_int(do_write(0, 0, 4096, 1), 0);
	disk_forget_counts(&s);
	is_int(do_write(0, 0, 4096, 1), 0);
	is_int(s.spy[0].n.syncs, 0);
	is_int(do_write(NBD_CMD_FLAG_FUA, 4096, 4096, 2), 0);
	ok(s.spy[0].n.syncs > 0);
	disk_forget_counts(&s);
	is_int(do_write(NBD_CMD_FLAG_FUA, 5, 100, 2), 0);
	ok(s.spy[0].n.syncs > 0);
	nbd_end();
}

pl_test("changes just the bytes of a request that fills no sector")
{
	nbd_start(nbd_params);
	enter(false);
	is_int(do_write(0, 0, 8192, 9), 0);
	is_int(do_write(0, 1000, 3000, 5), 0);
	ok(reads_as(0, 1000, 9) && reads_as(1000, 3000, 5) &&
	   reads_as(4000, 4192, 9));
	is_int(do_write(0, 100, 7, 3), 0);
	ok(reads_as(0, 100, 9) && reads_as(100, 7, 3) && reads_as(107, 893, 9));
	is_int(do_command(NBD_CMD_WRITE_ZEROES, 0, 2001, 1000), 0);
	ok(reads_as(2000, 1, 5) && reads_as(2001, 1000, 0) &&
	   reads_as(3001, 999, 5));
	is_int(do_command(NBD_CMD_TRIM, 0, 4097, 100), 0);
	ok(reads_as(4096, 4096, 9));
	nbd_end();
}

pl_test("answers what is wrong with the protocol's own error, and goes on")
{
	const uint64_t end = DISK;

	nbd_start(nbd_params);
	enter(false);
	is_int(do_command(NBD_CMD_READ, 0, end, 512), NBD_EINVAL);
	is_int(do_command(NBD_CMD_READ, 0, UINT64_MAX - 511, 1024), NBD_EINVAL);
	is_int(do_command(NBD_CMD_READ, 0, 0, (32 << 20) + 1), NBD_EINVAL);
	is_int(do_command(NBD_CMD_READ, 0, 0, 0), NBD_EINVAL);
	is_int(do_command(NBD_CMD_READ, NBD_CMD_FLAG_DF, 0, 512), NBD_EINVAL);
	is_int(do_write(0, end - 512, 1024, 1), NBD_ENOSPC);
	is_int(do_command(NBD_CMD_WRITE_ZEROES, 0, end, 512), NBD_ENOSPC);
	is_int(do_command(NBD_CMD_TRIM, 0, end, 512), NBD_EINVAL);
	is_int(do_command(NBD_CMD_FLUSH, 0, 1, 0), NBD_EINVAL);
	is_int(do_command(NBD_CMD_BLOCK_STATUS, 0, 0, 512), NBD_EINVAL);
	is_int(do_command(8, 0, 0, 0), NBD_EINVAL);
	is_int(do_command(77, 0, 0, 512), NBD_EINVAL);
	is_int(do_command(NBD_CMD_READ, 1 << 9, 0, 512), NBD_EINVAL);
	is_int(do_command(NBD_CMD_WRITE_ZEROES,
			  NBD_CMD_FLAG_FAST_ZERO | NBD_CMD_FLAG_NO_HOLE, 0,
			  4096),
	       NBD_ENOTSUP);
	ok(reads_as(0, 4096, 0));
	nbd_end();
}

pl_test("refuses every change of a read-only export with EPERM")
{
	nbd_start(read_only_params);
	enter(false);
	is_int(do_write(0, 0, 4096, 1), NBD_EPERM);
	is_int(do_command(NBD_CMD_TRIM, 0, 0, 4096), NBD_EPERM);
	is_int(do_command(NBD_CMD_WRITE_ZEROES, 0, 0, 4096), NBD_EPERM);
	is_int(do_command(NBD_CMD_FLUSH, 0, 0, 0), 0);
	ok(reads_as(0, 4096, 0));
	nbd_end();
}

pl_test("keeps host space behind zeroes that must have no hole")
{
	const struct pl_layer *top;
	uint64_t before;

	nbd_start(nbd_params);
	enter(false);
	top = pl_chain_top(pl_engine_chain(eng));
	before = pl_layer_clusters(top);
	is_int(do_command(NBD_CMD_WRITE_ZEROES, 0, 0, 1 << 20), 0);
	is_int(pl_layer_clusters(top), before);
	is_int(do_command(NBD_CMD_WRITE_ZEROES, NBD_CMD_FLAG_NO_HOLE, 0,
			  1 << 20),
	       0);
	is_int(pl_layer_clusters(top), before + 4);
	ok(reads_as(0, 65536, 0));
	nbd_end();
}

pl_test("ends a connection at DISC, when all was answered, or a wrong magic")
{
	uint64_t cookie;

	nbd_start(nbd_params);
	enter(false);
	command(NBD_CMD_FLUSH, 0, 5, 0, 0);
	command(NBD_CMD_DISC, 0, 6, 0, 0);
	is_int(simple(&cookie), 0);
	is_int(cookie, 5);
	ok(ended());
	nbd_end();
	nbd_start(nbd_params);
	enter(false);
	memset(nbd_data, 0, 28);
	say(nbd_data, 28);
	ok(ended());
	nbd_end();
}

pl_test("answers what was sent after the server has stopped with ESHUTDOWN")
{
	uint8_t head[28] = { 0 };

	nbd_start(nbd_params);
	enter(false);
	nbd_put32(head, NBD_REQUEST_MAGIC);
	nbd_put32(head + 24, 512);
	is_int(send(peer, head, sizeof(head), 0), sizeof(head));
	pl_nbd_stop(nbd);
	is_int(simple(NULL), NBD_ESHUTDOWN);
	ok(ended());
	nbd_end();
}

int main(void)
{
	return pl_tap_main();
}
