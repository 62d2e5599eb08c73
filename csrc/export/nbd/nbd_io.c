/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes of one connection, in and out, and the time that a client may take.
 *
 * One coroutine receives and one sends; each waits for at most one thing. A
 * deadline that passes shuts the socket down, which ends the waiting.
 *
 * The timer is lazy: moving a deadline away costs nothing, the timer looks at
 * the deadlines when it fires. A client without deadlines causes no wake-ups.
 */
#include <errno.h>
#include <liburing.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "export/nbd/nbd_int.h"

/* ---- deadlines ---- */

uint64_t nbd_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static uint64_t first_deadline(const struct nbd_conn *c)
{
	if (!c->recv_by_ms || !c->send_by_ms)
		return c->recv_by_ms + c->send_by_ms;
	return c->recv_by_ms < c->send_by_ms ? c->recv_by_ms : c->send_by_ms;
}

static void set_time(struct nbd_conn *c, uint64_t by_ms)
{
	uint64_t now = nbd_now_ms(), ms = by_ms > now ? by_ms - now : 1;

	c->timer_ms = by_ms;
	c->timer_ts.tv_sec = (long long)(ms / 1000);
	c->timer_ts.tv_nsec = (long long)(ms % 1000) * 1000000;
}

static void arm(struct nbd_conn *c)
{
	uint64_t by = first_deadline(c);
	struct pl_loop *loop = c->nbd->p.loop;

	if (!by || c->timer_ending || (c->timer_armed && c->timer_ms <= by))
		return;
	set_time(c, by);
	if (c->timer_armed)
		io_uring_prep_timeout_update(pl_loop_sqe(loop, NULL),
					     &c->timer_ts,
					     (uintptr_t)&c->timer_ev, 0);
	else
		io_uring_prep_timeout(pl_loop_sqe(loop, &c->timer_ev),
				      &c->timer_ts, 0, 0);
	c->timer_armed = true;
}

/* Who waits for an answer is not idle, however long that takes. */
static bool time_is_up(struct nbd_conn *c, uint64_t now)
{
	if (c->send_by_ms && c->send_by_ms <= now)
		return true;
	if (!c->recv_by_ms || c->recv_by_ms > now)
		return false;
	if (!c->idle || !c->inflight)
		return true;
	c->recv_by_ms = now + c->nbd->p.idle_ms;
	return false;
}

static void on_timer(struct pl_ev *ev, int res, bool more)
{
	struct nbd_conn *c = (struct nbd_conn *)ev;

	(void)res, (void)more;
	c->timer_armed = false;
	if (c->timer_ending)
		pl_waitq_wake_all(&c->drained);
	else if (time_is_up(c, nbd_now_ms()))
		shutdown(c->fd, SHUT_RDWR);
	else
		arm(c);
}

void nbd_timer_init(struct nbd_conn *c)
{
	c->timer_ev.fn = on_timer;
}

void nbd_timer_end(struct nbd_conn *c)
{
	c->timer_ending = true;
	if (c->timer_armed)
		io_uring_prep_timeout_remove(pl_loop_sqe(c->nbd->p.loop, NULL),
					     (uintptr_t)&c->timer_ev, 0);
	while (c->timer_armed)
		pl_waitq_wait(&c->drained);
}

void nbd_recv_within(struct nbd_conn *c, uint64_t ms)
{
	if (c->nbd->p.kernel)
		return;
	c->recv_by_ms = ms ? nbd_now_ms() + ms : 0;
	arm(c);
}

void nbd_send_within(struct nbd_conn *c, uint64_t ms)
{
	if (c->nbd->p.kernel)
		return;
	c->send_by_ms = ms ? nbd_now_ms() + ms : 0;
	arm(c);
}

/* ---- the socket ---- */

struct transfer {
	int fd;
	void *buf;
	const void *out;
	size_t len;
	struct msghdr msg;
};

static void prep_recv(struct io_uring_sqe *sqe, void *arg)
{
	struct transfer *t = arg;

	io_uring_prep_recv(sqe, t->fd, t->buf, t->len, 0);
}

static void prep_send(struct io_uring_sqe *sqe, void *arg)
{
	struct transfer *t = arg;

	io_uring_prep_send(sqe, t->fd, t->out, t->len, MSG_NOSIGNAL);
}

static void prep_sendmsg(struct io_uring_sqe *sqe, void *arg)
{
	struct transfer *t = arg;

	io_uring_prep_sendmsg(sqe, t->fd, &t->msg, MSG_NOSIGNAL);
}

static int call(struct nbd_conn *c,
		void (*prep)(struct io_uring_sqe *sqe, void *arg),
		struct transfer *t)
{
	int n;

	do {
		n = pl_loop_call(c->nbd->p.loop, prep, t);
	} while (n == -EINTR || n == -EAGAIN);
	return n == 0 ? -ECONNRESET : n;
}

static void prep_nop(struct io_uring_sqe *sqe, void *arg)
{
	(void)arg;
	io_uring_prep_nop(sqe);
}

int nbd_pass(struct nbd_conn *c)
{
	return pl_loop_call(c->nbd->p.loop, prep_nop, NULL);
}

/* What is there: with MSG_WAITALL a client of small pieces would make the ring
 * give up polling and wait in a thread. */
int nbd_raw_recv(struct nbd_conn *c, void *buf, size_t len)
{
	struct transfer t = { .fd = c->fd, .buf = buf, .len = len };

	return call(c, prep_recv, &t);
}

int nbd_raw_send(struct nbd_conn *c, const void *buf, size_t len)
{
	struct transfer t = { .fd = c->fd, .out = buf, .len = len };

	return call(c, prep_send, &t);
}

/* ---- receiving ---- */

static size_t take_read_ahead(struct nbd_conn *c, void *buf, size_t len)
{
	size_t n = c->rx_len < len ? c->rx_len : len;

	memcpy(buf, c->rx + c->rx_at, n);
	c->rx_at += n;
	c->rx_len -= n;
	return n;
}

/* Some of it, more than 0, or -errno. */
static int recv_plain(struct nbd_conn *c, void *buf, size_t len)
{
	int n;

	if (len >= NBD_RX)
		return nbd_raw_recv(c, buf, len);
	n = nbd_raw_recv(c, c->rx, NBD_RX);
	if (n < 0)
		return n;
	c->rx_at = 0;
	c->rx_len = (size_t)n;
	return (int)take_read_ahead(c, buf, len);
}

int nbd_recv(struct nbd_conn *c, void *buf, size_t len)
{
	uint8_t *at = buf;
	size_t n;
	int rc;

	while (len > 0) {
		n = c->tls ? 0 : take_read_ahead(c, at, len);
		if (n == 0) {
			rc = c->tls ? nbd_tls_recv(c, at, len) :
				      recv_plain(c, at, len);
			if (rc < 0)
				return rc;
			n = (size_t)rc;
		}
		at += n;
		len -= n;
	}
	return 0;
}

int nbd_skip(struct nbd_conn *c, uint64_t len)
{
	uint8_t scratch[4096];
	uint64_t n;
	int rc = 0;

	for (; rc == 0 && len > 0; len -= n) {
		n = len < sizeof(scratch) ? len : sizeof(scratch);
		rc = nbd_recv(c, scratch, n);
	}
	return rc;
}

/* ---- sending ---- */

static int send_plain(struct nbd_conn *c, const struct iovec *iov, unsigned n)
{
	struct iovec left[NBD_IOV];
	struct transfer t = { .fd = c->fd };
	size_t sent;
	int rc;

	memcpy(left, iov, n * sizeof(*iov));
	t.msg.msg_iov = left;
	t.msg.msg_iovlen = n;
	while (t.msg.msg_iovlen > 0) {
		rc = call(c, prep_sendmsg, &t);
		if (rc < 0)
			return rc;
		sent = (size_t)rc;
		while (t.msg.msg_iovlen > 0 && sent >= t.msg.msg_iov->iov_len) {
			sent -= t.msg.msg_iov->iov_len;
			t.msg.msg_iov++;
			t.msg.msg_iovlen--;
		}
		if (sent) {
			t.msg.msg_iov->iov_base =
				(uint8_t *)t.msg.msg_iov->iov_base + sent;
			t.msg.msg_iov->iov_len -= sent;
		}
	}
	return 0;
}

int nbd_send(struct nbd_conn *c, const struct iovec *iov, unsigned n)
{
	return c->tls ? nbd_tls_send(c, iov, n) : send_plain(c, iov, n);
}

int nbd_send_buf(struct nbd_conn *c, const void *buf, size_t len)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)buf,
			     .iov_len = len };

	return nbd_send(c, &iov, 1);
}
