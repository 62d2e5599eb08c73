/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An NBD client that says whatever a test wants, at the other end of a socket
 * pair; the server and an engine over memory run in the same thread.
 */
#ifndef PL_TEST_NBD_CLIENT_H
#define PL_TEST_NBD_CLIENT_H

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/requests.h"
#include "export/nbd/nbd_server.h"
#include "export/nbd/nbd_wire.h"
#include "tap.h"

#define TURNS 20000

static struct pl_nbd_share *share;
static struct pl_nbd *nbd;
static int peer; /* our end of the first connection */
static unsigned nbd_notes;

static inline void nbd_on_note(void *arg, const char *text)
{
	(void)arg, (void)text;
	nbd_notes++;
}

static inline struct pl_nbd_params nbd_params(void)
{
	return (struct pl_nbd_params){ .loop = loop,
				       .engine = eng,
				       .share = share,
				       .listen_fd = -1,
				       .name = "disk",
				       .description = "a test",
				       .note = nbd_on_note };
}

/* One more connection; our end of it. */
static inline int nbd_connect(void)
{
	int pair[2];

	is_int(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	pl_nbd_serve(nbd, pair[1]);
	return pair[0];
}

static inline void nbd_start(struct pl_nbd_params (*params)(void))
{
	struct pl_nbd_params p;
	struct pl_err err = { 0 };

	engine_start(0);
	is_int(pl_nbd_share_new(&share, 80u << 20), 0);
	p = params();
	is_int(pl_nbd_new(&nbd, &p, &err), 0);
	peer = nbd_connect();
}

static inline void nbd_end(void)
{
	if (peer >= 0)
		close(peer);
	pl_nbd_stop(nbd);
	for (int i = 0; i < TURNS && pl_nbd_clients(nbd); i++)
		pl_loop_turn(loop, false);
	is_int(pl_nbd_clients(nbd), 0);
	pl_nbd_free(nbd);
	pl_nbd_share_free(share);
	for (int i = 0; i < 4; i++)
		pl_loop_turn(loop, false);
	engine_stop();
	pl_co_trim();
}

static inline void say_to(int fd, const void *data, size_t len)
{
	const uint8_t *at = data;
	ssize_t n;

	for (int i = 0; i < TURNS && len; i++) {
		n = send(fd, at, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0) {
			at += n;
			len -= (size_t)n;
		}
		pl_loop_turn(loop, false);
	}
}

static inline void say(const void *data, size_t len)
{
	say_to(peer, data, len);
}

/* True when all of it came. */
static inline bool hear_from(int fd, void *data, size_t len)
{
	uint8_t *at = data;
	ssize_t n;

	for (int i = 0; i < TURNS && len; i++) {
		n = recv(fd, at, len, MSG_DONTWAIT);
		if (n == 0)
			return false;
		if (n > 0) {
			at += n;
			len -= (size_t)n;
		}
		pl_loop_turn(loop, false);
	}
	return len == 0;
}

static inline bool hear(void *data, size_t len)
{
	return hear_from(peer, data, len);
}

/* The server has ended the connection. */
static inline bool ended(void)
{
	char byte;
	ssize_t n = -1;

	for (int i = 0; i < TURNS && n < 0; i++) {
		n = recv(peer, &byte, 1, MSG_DONTWAIT);
		if (n < 0 && errno != EAGAIN)
			return true;
		pl_loop_turn(loop, false);
	}
	return n == 0;
}

/* ---- handshake ---- */

static inline void greet(uint32_t flags)
{
	uint8_t hello[18], answer[4];

	ok(hear(hello, sizeof(hello)));
	ok(nbd_get64(hello) == NBD_MAGIC &&
	   nbd_get64(hello + 8) == NBD_OPTS_MAGIC);
	is_int(nbd_get16(hello + 16), 3);
	nbd_put32(answer, flags);
	say(answer, sizeof(answer));
}

static inline void option(uint32_t opt, const void *data, uint32_t len)
{
	uint8_t head[16], *p = nbd_put64(head, NBD_OPTS_MAGIC);

	p = nbd_put32(p, opt);
	nbd_put32(p, len);
	say(head, sizeof(head));
	say(data, len);
}

static uint8_t opt_data[8192];
static uint32_t opt_len;

/* The type of the next answer, 0 when none came; its data are in opt_data. */
static inline uint32_t opt_answer(uint32_t opt)
{
	uint8_t head[20];

	if (!hear(head, sizeof(head)) || nbd_get64(head) != NBD_REP_MAGIC ||
	    nbd_get32(head + 8) != opt)
		return 0;
	opt_len = nbd_get32(head + 16);
	if (opt_len > sizeof(opt_data) || !hear(opt_data, opt_len))
		return 0;
	return nbd_get32(head + 12);
}

static inline uint32_t ask_option(uint32_t opt, const void *data, uint32_t len)
{
	option(opt, data, len);
	return opt_answer(opt);
}

/* As far as the transmission. */
static inline void enter(bool structured)
{
	static const uint8_t go[6] = { 0 };

	greet(3);
	if (structured)
		is_int(ask_option(NBD_OPT_STRUCTURED_REPLY, NULL, 0),
		       NBD_REP_ACK);
	is_int(ask_option(NBD_OPT_GO, go, 6), NBD_REP_INFO);
	is_int(opt_answer(NBD_OPT_GO), NBD_REP_ACK);
}

/* ---- transmission ---- */

static inline void command(unsigned type, unsigned flags, uint64_t cookie,
			   uint64_t off, uint32_t len)
{
	uint8_t head[28], *p = nbd_put32(head, NBD_REQUEST_MAGIC);

	p = nbd_put16(p, flags);
	p = nbd_put16(p, type);
	p = nbd_put64(p, cookie);
	p = nbd_put64(p, off);
	nbd_put32(p, len);
	say(head, sizeof(head));
}

/* A simple reply: its error, UINT32_MAX when none came. */
static inline uint32_t simple(uint64_t *ret_cookie)
{
	uint8_t head[16];

	if (!hear(head, sizeof(head)) ||
	    nbd_get32(head) != NBD_SIMPLE_REPLY_MAGIC)
		return UINT32_MAX;
	if (ret_cookie)
		*ret_cookie = nbd_get64(head + 8);
	return nbd_get32(head + 4);
}

static inline uint32_t do_command(unsigned type, unsigned flags, uint64_t off,
				  uint32_t len)
{
	uint64_t cookie = 0;
	uint32_t error;

	command(type, flags, 4711, off, len);
	error = simple(&cookie);
	is_int(cookie, 4711);
	return error;
}

/* ---- structured replies ---- */

static struct {
	unsigned flags, type;
	uint64_t cookie;
	uint32_t len;
	uint8_t data[65536 + 8];
} chunk;

static inline bool next_chunk(void)
{
	uint8_t head[20];

	if (!hear(head, sizeof(head)) ||
	    nbd_get32(head) != NBD_STRUCTURED_REPLY_MAGIC)
		return false;
	chunk.flags = nbd_get16(head + 4);
	chunk.type = nbd_get16(head + 6);
	chunk.cookie = nbd_get64(head + 8);
	chunk.len = nbd_get32(head + 16);
	return chunk.len <= sizeof(chunk.data) && hear(chunk.data, chunk.len);
}

static uint8_t nbd_data[64 << 10];

static inline uint32_t do_write(unsigned flags, uint64_t off, uint32_t len,
				int value)
{
	memset(nbd_data, value, len);
	command(NBD_CMD_WRITE, flags, 1, off, len);
	say(nbd_data, len);
	return simple(NULL);
}

/* The range holds this byte all over, as read through the protocol. */
static inline bool reads_as(uint64_t off, uint32_t len, int value)
{
	if (do_command(NBD_CMD_READ, 0, off, len) != 0 || !hear(nbd_data, len))
		return false;
	for (uint32_t i = 0; i < len; i++)
		if (nbd_data[i] != (uint8_t)value)
			return false;
	return true;
}

#endif
