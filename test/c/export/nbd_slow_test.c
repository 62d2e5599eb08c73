/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NBD clients that are slow on purpose: a byte now and then does not win time,
 * nor does TLS; and what all exports of a process share is bounded as well.
 */
#include <time.h>

#include "nbd_client.h"

#define EXPORTS (PL_NBD_CLIENTS_ALL / PL_NBD_CLIENTS + 1)

static struct pl_nbd_tls *tls;

static struct pl_nbd_params hasty_params(void)
{
	struct pl_nbd_params p = nbd_params();

	p.handshake_ms = p.stall_ms = 300;
	p.tls = tls;
	return p;
}

/*
 * Sends the bytes over and over, one every so many milliseconds, until the
 * server has ended the connection; false: it took all of max bytes.
 */
static bool drips(const uint8_t *bytes, size_t len, size_t max, long every_ms)
{
	const struct timespec pause = { .tv_nsec = every_ms * 1000000 };
	char answer[512];
	ssize_t n = 1;

	for (size_t i = 0; i < max; i++) {
		if (send(peer, bytes + i % len, 1, MSG_NOSIGNAL) < 0 &&
		    errno == EPIPE)
			return true;
		pl_loop_turn(loop, false);
		while ((n = recv(peer, answer, sizeof(answer), 0)) > 0)
			;
		if (n == 0 || errno == ECONNRESET)
			return true;
		nanosleep(&pause, NULL);
	}
	return false;
}

pl_test("gives a handshake its time and not more, a byte at a time")
{
	uint8_t option[16 + 32000] = { 0 };

	nbd_start(hasty_params);
	greet(3);
	nbd_put32(nbd_put32(nbd_put64(option, NBD_OPTS_MAGIC), NBD_OPT_GO),
		  32000);
	ok(drips(option, sizeof(option), sizeof(option), 2));
	nbd_end();
}

pl_test("gives options without end no more time than one")
{
	uint8_t option[16];

	nbd_start(hasty_params);
	greet(3);
	nbd_put32(nbd_put32(nbd_put64(option, NBD_OPTS_MAGIC), 99), 0);
	ok(drips(option, sizeof(option), 10000, 2));
	nbd_end();
}

pl_test("gives a request's head and its data their time, a byte at a time")
{
	uint8_t head[28];
	uint8_t *p;

	nbd_start(hasty_params);
	enter(false);
	p = nbd_put64(nbd_put32(nbd_put32(head, NBD_REQUEST_MAGIC), 0), 1);
	nbd_put32(nbd_put64(p, 0), 4096);
	ok(drips(head, sizeof(head), sizeof(head), 30));
	nbd_end();
	nbd_start(hasty_params);
	enter(false);
	command(NBD_CMD_WRITE, 0, 1, 0, 32u << 10);
	ok(drips(head, sizeof(head), 32u << 10, 2));
	nbd_end();
}

/* Waits for nothing but the end: without a limit, for ever. */
static bool cut_off(void)
{
	char bytes[512];
	ssize_t n;

	do {
		pl_loop_turn(loop, true);
		n = recv(peer, bytes, sizeof(bytes), 0);
	} while (n > 0 || (n < 0 && errno == EAGAIN));
	return n == 0 || errno == ECONNRESET;
}

static void tls_start(void)
{
	static const struct pl_nbd_tls_params keys = {
		.psk = "alice:00112233445566778899aabbccddeeff\n"
	};
	struct pl_err err = { 0 };

	require(pl_nbd_tls_load(&err) == 0);
	require(pl_nbd_tls_new(&tls, &keys, &err) == 0);
	nbd_start(hasty_params);
	greet(3);
	is_int(ask_option(NBD_OPT_STARTTLS, NULL, 0), NBD_REP_ACK);
}

static void tls_end(void)
{
	nbd_end();
	pl_nbd_tls_free(tls);
	tls = NULL;
}

pl_test("gives a TLS handshake its time: silence, and a record in drops")
{
	/* A handshake record of 16 KiB, a ClientHello that never ends. */
	static uint8_t record[5 + 16000] = { 22, 3,    1,    0x3e, 0x80, 1,
					     0,	 0x3e, 0x70, 3,	   3 };

	tls_start();
	ok(cut_off());
	tls_end();
	tls_start();
	ok(drips(record, sizeof(record), sizeof(record), 2));
	tls_end();
}

/* ---- what all exports share ---- */

pl_test("has room for so many clients of all exports together")
{
	struct pl_nbd_params p;
	struct pl_nbd *exports[EXPORTS];
	int fd[EXPORTS][PL_NBD_CLIENTS], refused = 0;
	char byte;

	nbd_start(nbd_params);
	p = nbd_params();
	for (unsigned e = 0; e < EXPORTS; e++) {
		require(pl_nbd_new(&exports[e], &p, NULL) == 0);
		for (unsigned i = 0; i < PL_NBD_CLIENTS; i++) {
			int pair[2];

			require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK,
					   0, pair) == 0);
			pl_nbd_serve(exports[e], pair[1]);
			fd[e][i] = pair[0];
			refused += recv(pair[0], &byte, 1, 0) == 0;
		}
	}
	/* The first connection is the one of nbd_start(). */
	is_int(refused, 1 + PL_NBD_CLIENTS);
	for (unsigned e = 0; e < EXPORTS; e++) {
		for (unsigned i = 0; i < PL_NBD_CLIENTS; i++)
			close(fd[e][i]);
		pl_nbd_stop(exports[e]);
		while (pl_nbd_clients(exports[e]))
			pl_loop_turn(loop, true);
		pl_nbd_free(exports[e]);
	}
	nbd_end();
}

pl_test("shares the memory for data: what does not fit waits in the socket")
{
	struct pl_engine_stats stats;
	int peers[4];

	nbd_start(nbd_params);
	for (unsigned i = 0; i < 4; i++) {
		if (i > 0)
			peer = nbd_connect();
		peers[i] = peer;
		enter(false);
		/* Nobody takes the answer: its memory stays in use. */
		command(NBD_CMD_READ, 0, 1, 0, PL_NBD_REQUEST_MAX);
	}
	for (int i = 0; i < TURNS; i++)
		pl_loop_turn(loop, false);
	pl_engine_stats(eng, &stats);
	is_int(stats.op[PL_REQ_READ].requests, 2); /* of 32 MiB in 80 */
	for (unsigned i = 1; i < 4; i++)
		close(peers[i]);
	peer = peers[0];
	nbd_end();
}

int main(void)
{
	return pl_tap_main();
}
