/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections of the control socket: see control.h.
 *
 * INVARIANTS
 *  1. The loop never waits for a client: input is taken as it comes, output
 *     is queued and sent with one send in flight per client.
 *  2. A client is freed when it is closed, has no calls and no send in flight.
 *  3. A client that sends too long a line or reads nothing is closed.
 */
#include "ploopd/control/control.h"

#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/loop.h"

#define READ_CHUNK 4096u

struct text {
	char *buf;
	size_t len, size;
};

struct pl_control_client {
	struct pl_ev send_ev; /* first: the loop hands this back */
	struct pl_control *control;
	struct pl_control_client *next;
	int fd;
	struct pl_poll *poll;
	struct text in, out, sending;
	size_t sent; /* bytes of `sending` that went out */
	struct pl_call *calls;
	unsigned n_calls;
	bool closed, in_flight, reading;
	int fd_in[PL_CONTROL_FDS]; /* for the line they came with; -1 = none */
};

struct pl_control {
	struct pl_control_params p;
	struct pl_poll *poll;
	struct pl_control_client *clients;
	unsigned n_clients;
};

/* ---- text ---- */

static bool append(struct text *t, const char *s, size_t len)
{
	size_t size = t->size ? t->size : READ_CHUNK;
	char *buf;

	while (size < t->len + len)
		size *= 2;
	if (size != t->size) {
		buf = realloc(t->buf, size);
		if (!buf)
			return false;
		t->buf = buf;
		t->size = size;
	}
	memcpy(t->buf + t->len, s, len);
	t->len += len;
	return true;
}

static void clear(struct text *t)
{
	free(t->buf);
	memset(t, 0, sizeof(*t));
}

/* ---- descriptors ---- */

static void close_fds(int fd[PL_CONTROL_FDS])
{
	for (unsigned i = 0; i < PL_CONTROL_FDS; i++) {
		if (fd[i] >= 0)
			close(fd[i]);
		fd[i] = -1;
	}
}

static void take_fds(struct pl_control_client *c, struct msghdr *msg)
{
	int fds[PL_CONTROL_FDS];

	if (!pl_fds_unpack(msg, fds))
		return;
	close_fds(c->fd_in);
	memcpy(c->fd_in, fds, sizeof(fds));
}

/* As recv(); descriptors beyond PL_CONTROL_FDS are closed by the kernel. */
static ssize_t receive(struct pl_control_client *c, char *buf, size_t size)
{
	union pl_fds_control control;
	struct iovec iov = { buf, size };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.buf,
			      .msg_controllen = sizeof(control.buf) };
	ssize_t n = recvmsg(c->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n >= 0)
		take_fds(c, &msg);
	return n;
}

/* ---- clients ---- */

static void free_if_done(struct pl_control_client *c)
{
	struct pl_control_client **at = &c->control->clients;

	if (!c->closed || c->n_calls || c->in_flight || c->reading)
		return;
	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	c->control->n_clients--;
	clear(&c->in);
	clear(&c->out);
	clear(&c->sending);
	close_fds(c->fd_in);
	close(c->fd);
	free(c);
}

/* Its calls go on; they notice by `cancelled`. May free c. */
static void close_client(struct pl_control_client *c)
{
	if (!c->closed) {
		c->closed = true;
		pl_poll_cancel(c->poll);
		shutdown(c->fd, SHUT_RDWR);
		for (struct pl_call *call = c->calls; call; call = call->next)
			call->cancelled = true;
	}
	free_if_done(c);
}

/* ---- output ---- */

static void send_some(struct pl_control_client *c)
{
	struct io_uring_sqe *sqe;

	if (c->in_flight || c->closed)
		return;
	if (c->sent == c->sending.len) {
		clear(&c->sending);
		c->sending = c->out;
		c->sent = 0;
		memset(&c->out, 0, sizeof(c->out));
	}
	if (c->sending.len == 0)
		return;
	sqe = pl_loop_sqe(c->control->p.loop, &c->send_ev);
	io_uring_prep_send(sqe, c->fd, c->sending.buf + c->sent,
			   c->sending.len - c->sent, MSG_NOSIGNAL);
	c->in_flight = true;
}

static void on_sent(struct pl_ev *ev, int res, bool more)
{
	struct pl_control_client *c = (struct pl_control_client *)ev;

	(void)more;
	c->in_flight = false;
	if (res < 0 && res != -EINTR && res != -EAGAIN) {
		close_client(c);
		return;
	}
	c->sent += res > 0 ? (size_t)res : 0;
	send_some(c);
	free_if_done(c);
}

/* Steals line. Does not free c. */
static void put_line(struct pl_control_client *c, json_t *line)
{
	char *s = json_dumps(line, JSON_COMPACT);
	bool good = s && !c->closed;

	json_decref(line);
	if (good)
		good = c->out.len + strlen(s) < PL_CONTROL_UNSENT &&
		       append(&c->out, s, strlen(s)) &&
		       append(&c->out, "\n", 1);
	free(s);
	if (good)
		send_some(c);
	else if (!c->closed)
		shutdown(c->fd, SHUT_RDWR); /* the poll sees the end */
}

static json_t *answer(json_t *id, bool good)
{
	json_t *line = json_object();

	json_object_set_new(line, "id", id ? json_incref(id) : json_null());
	json_object_set_new(line, "ok", json_boolean(good));
	return line;
}

static json_t *error_line(json_t *id, const struct pl_err *err)
{
	json_t *line = answer(id, false), *error = json_object();
	json_t *text = json_string(err->msg);

	json_object_set_new(error, "code",
			    json_string(pl_code_name(err->code)));
	json_object_set_new(error, "message",
			    text ? text : json_string("(not UTF-8)"));
	json_object_set_new(line, "error", error);
	return line;
}

/* ---- calls ---- */

static void end_call(struct pl_call *call, json_t *line)
{
	struct pl_control_client *c = call->client;
	struct pl_call **at = &c->calls;

	put_line(c, line);
	while (*at != call)
		at = &(*at)->next;
	*at = call->next;
	c->n_calls--;
	json_decref(call->request);
	close_fds(call->fd);
	free(call);
	free_if_done(c);
}

void pl_call_result(struct pl_call *call, json_t *result)
{
	json_t *line = answer(call->id, true);

	json_object_set_new(line, "result", result ? result : json_object());
	end_call(call, line);
}

void pl_call_error(struct pl_call *call, const struct pl_err *err)
{
	end_call(call, error_line(call->id, err));
}

void pl_call_fail(struct pl_call *call, enum pl_code code, const char *fmt, ...)
{
	struct pl_err err = { .code = code };
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err.msg, sizeof(err.msg), fmt, ap);
	va_end(ap);
	pl_call_error(call, &err);
}

void pl_call_progress(struct pl_call *call, uint64_t done, uint64_t total)
{
	json_t *line = json_object(), *p = json_object();

	json_object_set_new(p, "done", json_integer((json_int_t)done));
	json_object_set_new(p, "total", json_integer((json_int_t)total));
	json_object_set_new(line, "id",
			    call->id ? json_incref(call->id) : json_null());
	json_object_set_new(line, "progress", p);
	put_line(call->client, line);
}

bool pl_call_cancel(struct pl_call *call, const json_t *target)
{
	for (struct pl_call *o = call->client->calls; o; o = o->next) {
		if (o == call || !o->id || !json_equal(o->id, target))
			continue;
		o->cancelled = true;
		return true;
	}
	return false;
}

/* ---- input ---- */

static void refuse(struct pl_control_client *c, json_t *id, enum pl_code code,
		   const char *why)
{
	struct pl_err err = { .code = code };

	snprintf(err.msg, sizeof(err.msg), "%s", why);
	put_line(c, error_line(id, &err));
}

static void take_line(struct pl_control_client *c, const char *line, size_t len)
{
	struct pl_err err = { 0 };
	struct pl_call *call;
	json_t *id, *request = pl_control_parse(line, len, &id, &err);

	if (!request) {
		put_line(c, error_line(NULL, &err));
		return;
	}
	call = c->n_calls < PL_CONTROL_CALLS ? calloc(1, sizeof(*call)) : NULL;
	if (!call) {
		refuse(c, id, PL_E_BUSY, "too many requests at a time");
		json_decref(request);
		return;
	}
	call->client = c;
	call->request = request;
	call->id = id;
	call->op = json_string_value(json_object_get(request, "op"));
	call->user = c->control->p.user;
	memcpy(call->fd, c->fd_in, sizeof(call->fd));
	memset(c->fd_in, -1, sizeof(c->fd_in));
	call->next = c->calls;
	c->calls = call;
	c->n_calls++;
	c->control->p.call(call);
}

/* All complete lines of c->in; false: the rest is too long for a line. */
static bool take_lines(struct pl_control_client *c)
{
	size_t start = 0;
	char *end;

	while (!c->closed &&
	       (end = memchr(c->in.buf + start, '\n', c->in.len - start))) {
		size_t len = (size_t)(end - c->in.buf) - start;

		if (len > PL_CONTROL_LINE_MAX)
			return false;
		if (len)
			take_line(c, c->in.buf + start, len);
		start += len + 1;
	}
	c->in.len -= start;
	if (c->in.len == 0)
		clear(&c->in);
	else
		memmove(c->in.buf, c->in.buf + start, c->in.len);
	return c->in.len <= PL_CONTROL_LINE_MAX;
}

static void on_input(void *arg)
{
	struct pl_control_client *c = arg;
	char chunk[READ_CHUNK];
	ssize_t n;

	c->reading = true;
	while (!c->closed) {
		n = receive(c, chunk, sizeof(chunk));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n <= 0 || !append(&c->in, chunk, (size_t)n) ||
		    !take_lines(c)) {
			close_client(c);
			break;
		}
	}
	c->reading = false;
	free_if_done(c);
}

static void add_client(struct pl_control *control, int fd)
{
	struct pl_control_client *c = NULL;

	if (control->n_clients < PL_CONTROL_CLIENTS)
		c = calloc(1, sizeof(*c));
	if (c && pl_poll_new(&c->poll, control->p.loop, fd, on_input, c) < 0) {
		free(c);
		c = NULL;
	}
	if (!c) {
		close(fd);
		return;
	}
	c->send_ev.fn = on_sent;
	memset(c->fd_in, -1, sizeof(c->fd_in));
	c->control = control;
	c->fd = fd;
	c->next = control->clients;
	control->clients = c;
	control->n_clients++;
}

static void on_connection(void *arg)
{
	struct pl_control *control = arg;
	int fd;

	for (;;) {
		fd = accept4(control->p.listen_fd, NULL, NULL,
			     SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0)
			add_client(control, fd);
		else if (errno != EINTR && errno != ECONNABORTED)
			return;
	}
}

/* ---- life ---- */

int pl_control_new(struct pl_control **ret,
		   const struct pl_control_params *params, struct pl_err *err)
{
	struct pl_control *control = calloc(1, sizeof(*control));
	int rc;

	if (!control)
		return pl_err_sys(err, -ENOMEM, "control socket");
	control->p = *params;
	rc = pl_poll_new(&control->poll, params->loop, params->listen_fd,
			 on_connection, control);
	if (rc < 0) {
		free(control);
		return pl_err_sys(err, rc, "control socket");
	}
	*ret = control;
	return 0;
}

void pl_control_stop(struct pl_control *control)
{
	if (control->poll)
		pl_poll_cancel(control->poll);
	control->poll = NULL;
}

void pl_control_free(struct pl_control *control)
{
	if (!control)
		return;
	assert(!control->clients);
	pl_control_stop(control);
	free(control);
}

void pl_control_cancel_all(struct pl_control *control)
{
	for (struct pl_control_client *c = control->clients; c; c = c->next)
		for (struct pl_call *call = c->calls; call; call = call->next)
			call->cancelled = true;
}

static bool anything_unsent(const struct pl_control *control)
{
	for (struct pl_control_client *c = control->clients; c; c = c->next)
		if (!c->closed && (c->in_flight || c->out.len))
			return true;
	return false;
}

void pl_control_drain(struct pl_control *control)
{
	for (int i = 0; i < 200 && anything_unsent(control); i++)
		pl_loop_sleep_ms(control->p.loop, 5);
}
