/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's own NBD client: no handshake, and a change of servers. */
#include "nbd_client.h"

static int ended_as = -1;

static void on_end(void *arg, enum pl_nbd_end how)
{
	(void)arg;
	ended_as = (int)how;
}

static struct pl_nbd_params kernel_params(void)
{
	struct pl_nbd_params p = nbd_params();

	p.kernel = true;
	p.ended = on_end;
	/* Of no meaning for this client. */
	p.idle_ms = p.stall_ms = 1;
	ended_as = -1;
	return p;
}

/* A second descriptor of the server's end, as the keeper has it. */
static int kept, pair_fd[2];

static void start(void)
{
	nbd_start(kernel_params);
	/* Its first connection is one that nobody keeps. */
	pl_nbd_leave(nbd);
	for (int i = 0; i < TURNS && pl_nbd_clients(nbd); i++)
		pl_loop_turn(loop, false);
	is_int(ended_as, PL_NBD_LEFT);
	close(peer);
	is_int(socketpair(AF_UNIX, SOCK_STREAM, 0, pair_fd), 0);
	peer = pair_fd[0];
	kept = pair_fd[1];
}

/* One more server on the connection that is kept. */
static struct pl_nbd *serve_next(void)
{
	struct pl_nbd_params p = kernel_params();
	struct pl_nbd *next;
	struct pl_err err = { 0 };

	p.idle_ms = 0;
	is_int(pl_nbd_new(&next, &p, &err), 0);
	is_int(pl_nbd_serve(next, dup(kept)), 0);
	return next;
}

static void wait_end(struct pl_nbd *one)
{
	for (int i = 0; i < TURNS && pl_nbd_clients(one); i++)
		pl_loop_turn(loop, false);
	is_int(pl_nbd_clients(one), 0);
	pl_nbd_free(one);
}

static void finish(void)
{
	close(kept);
	nbd_end();
}

pl_test("begins with requests, and ends with the goodbye")
{
	struct pl_nbd *one;

	start();
	one = serve_next();
	is_int(do_write(0, 4096, 8192, 7), 0);
	ok(reads_as(4096, 8192, 7));
	is_int(do_command(NBD_CMD_FLUSH, 0, 0, 0), 0);
	command(NBD_CMD_DISC, 0, 0, 0, 0);
	wait_end(one);
	is_int(ended_as, PL_NBD_GOODBYE);
	finish();
}

pl_test("is left between two requests, and the next server goes on")
{
	struct pl_nbd *one;

	start();
	for (int i = 0; i < 20; i++) {
		one = serve_next();
		is_int(do_write(0, 0, 4096, (uint8_t)i), 0);
		pl_nbd_leave(one);
		wait_end(one);
		is_int(ended_as, PL_NBD_LEFT);
	}
	/* What came while nobody was there waits in the socket. */
	command(NBD_CMD_READ, 0, 77, 0, 4096);
	one = serve_next();
	{
		uint8_t data[4096];
		uint64_t cookie;

		is_int(simple(&cookie), 0);
		is_int(cookie, 77);
		ok(hear(data, sizeof(data)));
		is_int(data[4095], 19);
	}
	pl_nbd_leave(one);
	wait_end(one);
	finish();
}

pl_test("is left with everything answered that was read ahead")
{
	uint64_t seen = 0, cookie;
	struct pl_nbd *one;

	start();
	one = serve_next();
	/* Several in one piece, the last one in part. */
	for (uint64_t i = 0; i < 8; i++)
		command(NBD_CMD_WRITE_ZEROES, 0, i, i * 4096, 4096);
	pl_nbd_leave(one);
	while (pl_nbd_clients(one))
		pl_loop_turn(loop, false);
	is_int(ended_as, PL_NBD_LEFT);
	pl_nbd_free(one);
	one = serve_next();
	for (int i = 0; i < 8; i++) {
		is_int(simple(&cookie), 0);
		seen |= 1u << cookie;
	}
	is_int(seen, 0xff);
	pl_nbd_leave(one);
	wait_end(one);
	finish();
}

pl_test("is lost when it ends without a goodbye")
{
	struct pl_nbd *one;

	start();
	one = serve_next();
	is_int(do_write(0, 0, 4096, 1), 0);
	shutdown(peer, SHUT_RDWR);
	wait_end(one);
	is_int(ended_as, PL_NBD_LOST);
	finish();
}

int main(void)
{
	return pl_tap_main();
}
