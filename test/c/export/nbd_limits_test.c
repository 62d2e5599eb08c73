/* SPDX-License-Identifier: Apache-2.0 */
/* What an NBD client can't do: take more memory, time or places than it may. */
#include <time.h>

#include "nbd_client.h"

/* Without a limit a test would wait for ever: it waits for the end alone. */
static struct pl_nbd_params hasty_params(void)
{
	struct pl_nbd_params p = nbd_params();

	p.handshake_ms = p.stall_ms = p.idle_ms = 20;
	return p;
}

static struct pl_nbd_params impatient_params(void)
{
	struct pl_nbd_params p = nbd_params();

	p.stall_ms = 20;
	return p;
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static bool cut_off(void)
{
	char bytes[4096];
	ssize_t n;

	do {
		pl_loop_turn(loop, true);
		n = recv(peer, bytes, sizeof(bytes), MSG_DONTWAIT);
	} while (n > 0 || (n < 0 && errno == EAGAIN));
	return n == 0 || errno == ECONNRESET;
}

pl_test("cuts off who does not finish the handshake")
{
	nbd_start(hasty_params);
	ok(cut_off());
	nbd_end();
}

pl_test("cuts off who has no request, begins one, or does not send its data")
{
	uint8_t half[14] = { 0 };

	nbd_start(hasty_params);
	enter(false);
	ok(cut_off());
	nbd_end();
	nbd_start(hasty_params);
	enter(false);
	nbd_put32(half, NBD_REQUEST_MAGIC);
	say(half, sizeof(half));
	ok(cut_off());
	nbd_end();
	nbd_start(hasty_params);
	enter(false);
	command(NBD_CMD_WRITE, 0, 1, 0, 4096);
	say(half, sizeof(half));
	ok(cut_off());
	nbd_end();
}

pl_test("cuts off who does not take its answers, when their time is over")
{
	nbd_start(impatient_params);
	enter(false);
	command(NBD_CMD_READ, 0, 1, 0, 256 << 10);
	while (pl_nbd_clients(nbd))
		pl_loop_turn(loop, true);
	nbd_end();
}

pl_test("takes nobody for idle who waits for an answer")
{
	static uint8_t data[1 << 20];

	nbd_start(hasty_params);
	enter(false);
	command(NBD_CMD_READ, 0, 1, 0, sizeof(data));
	is_int(simple(NULL), 0);
	/* The rest does not fit into the socket; the idle time passes. */
	for (uint64_t end = now_ms() + 200; now_ms() < end;)
		pl_loop_turn(loop, false);
	ok(hear(data, sizeof(data)));
	nbd_end();
}

pl_test("lets what is beyond the bounds wait, and answers it all in the end")
{
	uint8_t head[28] = { 0 };
	unsigned sent = 0, answers = 0, most = 0;
	size_t taken = 0;

	nbd_start(nbd_params);
	enter(false);
	nbd_put32(head, NBD_REQUEST_MAGIC);
	nbd_put32(head + 24, 65536);
	/* Until the socket is full: the server has stopped to take them. */
	for (; send(peer, head, sizeof(head), MSG_DONTWAIT) == 28; sent++) {
		pl_loop_turn(loop, false);
		if (pl_nbd_inflight(nbd) > most)
			most = pl_nbd_inflight(nbd);
	}
	/* 64 KiB each, and one more whose memory is waited for. */
	ok(most <= PL_NBD_BYTES / 65536 + 1);
	ok(sent > most);
	for (; answers < sent && simple(NULL) == 0; answers++)
		taken += hear(nbd_data, 65536) ? 65536 : 0;
	is_int(answers, sent);
	is_int(taken, (int64_t)sent * 65536);
	nbd_end();
}

pl_test("has room for so many clients and no more, and again when one left")
{
	int fd[PL_NBD_CLIENTS];
	char byte;

	nbd_start(nbd_params);
	for (unsigned i = 1; i < PL_NBD_CLIENTS; i++)
		fd[i] = nbd_connect();
	is_int(pl_nbd_clients(nbd), PL_NBD_CLIENTS);
	fd[0] = nbd_connect();
	is_int(recv(fd[0], &byte, 1, MSG_DONTWAIT), 0);
	close(fd[0]);
	close(fd[1]);
	while (pl_nbd_clients(nbd) == PL_NBD_CLIENTS)
		pl_loop_turn(loop, true);
	fd[1] = nbd_connect();
	ok(hear_from(fd[1], nbd_data, 18));
	for (unsigned i = 1; i < PL_NBD_CLIENTS; i++)
		close(fd[i]);
	nbd_end();
}

int main(void)
{
	return pl_tap_main();
}
