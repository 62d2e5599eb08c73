/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket: the input is what a client sends, cut into pieces of up
 * to 4096 bytes. Lines are also parsed one by one, to know how many answers
 * have to come; the operations are stubs that answer, wait, cancel or fail by
 * the length of "op".
 */
#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/loop.h"
#include "fuzz.h"
#include "ploopd/control/control.h"

#define TURNS_MAX 10000

static struct pl_loop *loop;
static struct pl_control *control;
static struct sockaddr_un address = { .sun_family = AF_UNIX };
static struct pl_call *held[PL_CONTROL_CALLS];
static unsigned n_held;

static void on_call(struct pl_call *call)
{
	json_t *target = json_object_get(call->request, "target");
	struct pl_err err = { .code = PL_E_BUSY, .msg = "busy" };

	fuzz_require(call->op && json_is_object(call->request));
	switch (strlen(call->op) % 4) {
	case 0:
		pl_call_error(call, &err);
		break;
	case 1:
		fuzz_require(n_held < PL_CONTROL_CALLS);
		pl_call_progress(call, 1, 2);
		held[n_held++] = call;
		break;
	case 2:
		if (target)
			pl_call_cancel(call, target);
		pl_call_result(call, NULL);
		break;
	default:
		pl_call_result(call, json_incref(call->request));
	}
}

static void setup(void)
{
	struct pl_control_params p = { .call = on_call };
	struct pl_err err;

	if (control)
		return;
	/* An abstract name: nothing to clean up. */
	snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1,
		 "ploop-control-fuzz-%d", (int)getpid());
	p.listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	fuzz_require(!bind(p.listen_fd, (void *)&address, sizeof(address)));
	fuzz_require(!listen(p.listen_fd, 16));
	fuzz_require(pl_loop_new(&loop, 64, &err) == 0);
	p.loop = loop;
	fuzz_require(pl_control_new(&control, &p, &err) == 0);
}

/* ---- what has to come ---- */

struct expected {
	unsigned answers; /* one for each line */
	bool closed; /* by a line that is too long */
};

static struct expected expect(const uint8_t *data, size_t size)
{
	struct expected e = { 0 };
	const uint8_t *end;
	struct pl_err err = { 0 };
	json_t *id, *request;
	size_t len;

	for (;; data += len + 1, size -= len + 1) {
		end = size ? memchr(data, '\n', size) : NULL;
		len = end ? (size_t)(end - data) : size;
		e.closed = len > PL_CONTROL_LINE_MAX;
		if (!end || e.closed)
			return e;
		request = pl_control_parse((const char *)data, len, &id, &err);
		if (request)
			fuzz_require(
				json_is_string(json_object_get(request, "op")));
		else
			fuzz_require(err.code == PL_E_INVALID_ARGUMENT &&
				     err.msg[0]);
		json_decref(request);
		e.answers += len > 0;
	}
}

/* ---- a client ---- */

struct text {
	char *buf;
	size_t len, size;
};

/* True at the end of the connection. */
static bool receive(int fd, struct text *t)
{
	ssize_t n;

	for (;;) {
		if (t->size - t->len < 65536) {
			t->size += 1 << 18;
			t->buf = realloc(t->buf, t->size);
			fuzz_require(t->buf);
		}
		n = recv(fd, t->buf + t->len, t->size - t->len, MSG_DONTWAIT);
		if (n <= 0)
			return n == 0 || errno != EAGAIN;
		t->len += (size_t)n;
	}
}

static unsigned count_answers(const struct text *t)
{
	unsigned answers = 0;
	size_t start = 0;
	json_t *line;

	for (size_t i = 0; i < t->len; i++) {
		if (t->buf[i] != '\n')
			continue;
		line = json_loadb(t->buf + start, i - start, 0, NULL);
		fuzz_require(json_is_object(line));
		fuzz_require(json_object_get(line, "id"));
		answers += json_object_get(line, "ok") != NULL;
		json_decref(line);
		start = i + 1;
	}
	return answers;
}

static void answer_held(void)
{
	while (n_held)
		pl_call_result(held[--n_held], NULL);
}

static void talk(int fd, const uint8_t *data, size_t size,
		 const struct expected *e)
{
	struct text t = { 0 };
	bool over = false;
	ssize_t n;

	for (int i = 0; i < TURNS_MAX && !over; i++) {
		n = size ? send(fd, data, size < 4096 ? size : 4096,
				MSG_DONTWAIT | MSG_NOSIGNAL) :
			   0;
		if (n > 0) {
			data += n;
			size -= (size_t)n;
		}
		pl_loop_turn(loop, false);
		over = receive(fd, &t);
		if (!size)
			answer_held();
		if (!size && !e->closed && count_answers(&t) >= e->answers)
			break;
	}
	fuzz_require(over == e->closed);
	if (!over)
		fuzz_require(count_answers(&t) == e->answers);
	free(t.buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct expected e = expect(data, size);
	int fd;

	setup();
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	fuzz_require(!connect(fd, (void *)&address, sizeof(address)));
	talk(fd, data, size, &e);
	close(fd);
	for (int i = 0; i < 4; i++)
		pl_loop_turn(loop, false);
	answer_held();
	return 0;
}
