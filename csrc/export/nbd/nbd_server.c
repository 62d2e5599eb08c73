/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The NBD server: the listening socket and the life of its connections.
 *
 * A connection is one coroutine that receives (and carries out the handshake)
 * and, in the transmission, one that sends. It is freed when both have ended
 * and the engine has answered all its requests.
 *
 * Flushes: all connections of all exports share one engine, and the engine's
 * flush covers everything it has acknowledged, so a flush on one connection
 * holds for all (CAN_MULTI_CONN).
 */
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "export/nbd/nbd_int.h"

#define UNIX_ROOM (2 << 20) /* bytes a unix socket holds for its client */
#define NOTE_MS 10000u /* between two lines in the log */

void nbd_note(struct nbd_conn *c, const char *what, const char *why)
{
	struct pl_nbd *nbd = c->nbd;
	uint64_t now = nbd_now_ms();
	char text[300];

	if (nbd->noted_ms && now - nbd->noted_ms < NOTE_MS)
		return;
	nbd->noted_ms = now;
	snprintf(text, sizeof(text), "nbd export \"%.60s\": %s: %s", nbd->name,
		 what, why);
	nbd->p.note(nbd->p.arg, text);
}

/* ---- connections ---- */

static void end_connection(struct nbd_conn *c)
{
	struct pl_nbd *nbd = c->nbd;
	struct nbd_conn **at = &nbd->conns;

	assert(c->inflight == 0 && c->bytes == 0);
	nbd_timer_end(c);
	nbd_tls_end(c);
	close(c->fd);
	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	nbd->n_conns--;
	nbd_share_leave(nbd->p.share);
	free(c->contexts);
	free(c);
	pl_waitq_wake_all(&nbd->gone);
}

static void run_connection(void *arg)
{
	struct nbd_conn *c = arg;
	struct pl_nbd *nbd = c->nbd;
	enum pl_nbd_end end;

	if (nbd->p.kernel || nbd_handshake(c) == 0)
		nbd_transmission(c);
	if (c->tls && !c->broken)
		nbd_tls_bye(c);
	end = c->broken ? PL_NBD_LOST : c->end;
	end_connection(c);
	if (nbd->p.kernel)
		nbd->p.ended(nbd->p.arg, end);
}

/*
 * Dead peers are found in about two minutes. What is for TCP fails on unix
 * sockets, which in turn get more room: else the two sides take turns at the
 * processor for each 200 KiB. (TCP finds its sizes by itself.)
 */
static void tune(int fd)
{
	const int on = 1, idle = 60, interval = 10, count = 6;
	const int unacknowledged_ms = 120000, room = UNIX_ROOM;

	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacknowledged_ms,
		   sizeof(unacknowledged_ms));
}

static struct nbd_conn *new_connection(struct pl_nbd *nbd, int fd)
{
	struct nbd_conn *c;

	if (nbd->n_conns == PL_NBD_CLIENTS || nbd->stopping ||
	    !nbd_share_enter(nbd->p.share))
		return NULL;
	c = calloc(1, sizeof(*c));
	if (!c) {
		nbd_share_leave(nbd->p.share);
		return NULL;
	}
	c->nbd = nbd;
	c->fd = fd;
	c->answers_tail = &c->answers;
	c->end = PL_NBD_LOST;
	nbd_timer_init(c);
	return c;
}

int pl_nbd_serve(struct pl_nbd *nbd, int fd)
{
	struct nbd_conn *c = new_connection(nbd, fd);

	if (c && pl_co_start(run_connection, c) == 0) {
		c->next = nbd->conns;
		nbd->conns = c;
		nbd->n_conns++;
		return 0;
	}
	if (c)
		nbd_share_leave(nbd->p.share);
	free(c);
	close(fd);
	return -EBUSY;
}

static void on_connection(void *arg)
{
	struct pl_nbd *nbd = arg;
	int fd;

	for (;;) {
		fd = accept4(nbd->p.listen_fd, NULL, NULL,
			     SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0) {
			tune(fd);
			pl_nbd_serve(nbd, fd);
		} else if (errno != EINTR && errno != ECONNABORTED) {
			return;
		}
	}
}

/* ---- life ---- */

static char *copy_text(const char *text)
{
	return strdup(text ? text : "");
}

int pl_nbd_new(struct pl_nbd **ret, const struct pl_nbd_params *params,
	       struct pl_err *err)
{
	struct pl_nbd *nbd = calloc(1, sizeof(*nbd));
	int rc = -ENOMEM;

	if (!nbd)
		return pl_err_sys(err, rc, "NBD export");
	nbd->p = *params;
	if (!nbd->p.handshake_ms)
		nbd->p.handshake_ms = NBD_HANDSHAKE_MS;
	if (!nbd->p.stall_ms)
		nbd->p.stall_ms = NBD_STALL_MS;
	nbd->name = copy_text(params->name);
	nbd->description = copy_text(params->description);
	if (nbd->name && strlen(nbd->name) > NBD_NAME_MAX)
		rc = -ENAMETOOLONG;
	else if (nbd->description && strlen(nbd->description) > NBD_NAME_MAX)
		rc = -ENAMETOOLONG;
	else if (nbd->name && nbd->description)
		rc = params->listen_fd < 0 ?
			     0 :
			     pl_poll_new(&nbd->poll, params->loop,
					 params->listen_fd, on_connection, nbd);
	if (rc < 0) {
		pl_nbd_free(nbd);
		return pl_err_sys(err, rc, "NBD export");
	}
	*ret = nbd;
	return 0;
}

unsigned pl_nbd_clients(const struct pl_nbd *nbd)
{
	return nbd->n_conns;
}

unsigned pl_nbd_inflight(const struct pl_nbd *nbd)
{
	unsigned n = 0;

	for (const struct nbd_conn *c = nbd->conns; c; c = c->next)
		n += c->inflight;
	return n;
}

void pl_nbd_stop(struct pl_nbd *nbd)
{
	if (nbd->poll)
		pl_poll_cancel(nbd->poll);
	nbd->poll = NULL;
	nbd->stopping = true;
	for (struct nbd_conn *c = nbd->conns; c; c = c->next) {
		/* What it has sent already is still read, and refused. */
		shutdown(c->fd, SHUT_RD);
		if (c->send_by_ms)
			nbd_send_within(c, NBD_CUT_MS);
	}
}

void pl_nbd_drain(struct pl_nbd *nbd)
{
	while (nbd->n_conns)
		pl_waitq_wait(&nbd->gone);
}

void pl_nbd_free(struct pl_nbd *nbd)
{
	if (!nbd)
		return;
	assert(!nbd->conns);
	if (nbd->poll)
		pl_poll_cancel(nbd->poll);
	free(nbd->name);
	free(nbd->description);
	free(nbd);
}
