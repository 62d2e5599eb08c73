/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket with clients that behave, and clients that do not. */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/co.h"
#include "base/loop.h"
#include "ploopd/control/control.h"
#include "tap.h"

static struct pl_loop *loop;
static struct pl_control *control;
static int listen_fd;
static struct pl_call *held; /* a call that is not answered yet */

/* "echo" answers, "hold" waits, "big" answers with 100 KB. */
static void on_call(struct pl_call *call)
{
	char big[100001];

	if (!strcmp(call->op, "hold")) {
		held = call;
	} else if (!strcmp(call->op, "cancel")) {
		pl_call_cancel(call, json_object_get(call->request, "target"));
		pl_call_result(call, NULL);
	} else if (!strcmp(call->op, "big")) {
		memset(big, 'x', sizeof(big) - 1);
		big[sizeof(big) - 1] = '\0';
		pl_call_result(call, json_string(big));
	} else {
		pl_call_result(call, NULL);
	}
}

static void setup(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct pl_control_params p = { .call = on_call };
	struct pl_err err;

	/* An abstract name: nothing to clean up. */
	snprintf(addr.sun_path + 1, sizeof(addr.sun_path) - 1,
		 "ploop-control-test-%d", (int)getpid());
	listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	is_int(bind(listen_fd, (void *)&addr, sizeof(addr)), 0);
	is_int(listen(listen_fd, 128), 0);
	is_int(pl_loop_new(&loop, 64, &err), 0);
	p.loop = loop;
	p.listen_fd = listen_fd;
	is_int(pl_control_new(&control, &p, &err), 0);
}

static void turn(int n)
{
	while (n-- > 0) {
		pl_loop_turn(loop, false);
		usleep(200);
	}
}

static int client(void)
{
	struct sockaddr_un addr;
	socklen_t len = sizeof(addr);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	getsockname(listen_fd, (void *)&addr, &len);
	is_int(connect(fd, (void *)&addr, len), 0);
	turn(3);
	return fd;
}

static void say(int fd, const char *text)
{
	is_int(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
	turn(3);
}

/* What the socket said so far; "(end)" when it was closed. */
static const char *hear(int fd)
{
	static char buf[4096];
	ssize_t n = recv(fd, buf, sizeof(buf) - 1, MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN ? "" : "(end)";
	buf[n] = '\0';
	return n ? buf : "(end)";
}

pl_test("answers lines as they come, in one piece or many")
{
	int fd = client();

	say(fd, "{\"id\":1,\"op\":\"echo\"}\n{\"id\":2,");
	is_str(hear(fd), "{\"id\":1,\"ok\":true,\"result\":{}}\n");
	say(fd, "\"op\":\"echo\"}\n\n");
	is_str(hear(fd), "{\"id\":2,\"ok\":true,\"result\":{}}\n");
	close(fd);
	turn(3);
}

pl_test("answers nonsense with INVALID_ARGUMENT and goes on")
{
	int fd = client();

	say(fd, "nonsense\n");
	ok(strstr(hear(fd), "{\"id\":null,\"ok\":false,\"error\":{\"code\":"
			    "\"INVALID_ARGUMENT\""));
	say(fd, "{\"id\":1,\"op\":\"echo\"}\n");
	ok(strstr(hear(fd), "\"ok\":true"));
	close(fd);
	turn(3);
}

pl_test("ends a connection that sends a line over the limit")
{
	char *line = malloc(PL_CONTROL_LINE_MAX + 2000);
	int fd = client();

	memset(line, 'x', PL_CONTROL_LINE_MAX + 1000);
	line[PL_CONTROL_LINE_MAX + 1000] = '\0';
	say(fd, line);
	turn(20);
	is_str(hear(fd), "(end)");
	free(line);
	close(fd);
	turn(3);
}

pl_test("ends a connection that reads nothing, and serves others meanwhile")
{
	int slow = client(), fd = client();

	for (int i = 0; i < 60; i++) {
		if (send(slow, "{\"op\":\"big\"}\n", 13, MSG_NOSIGNAL) < 0)
			break;
		turn(1);
	}
	say(fd, "{\"id\":1,\"op\":\"echo\"}\n");
	ok(strstr(hear(fd), "\"ok\":true"));
	turn(20);
	is_int(send(slow, "\n", 1, MSG_NOSIGNAL), -1);
	close(slow);
	close(fd);
	turn(3);
}

pl_test("cancels a request of the same connection only")
{
	int a = client(), b = client();

	held = NULL;
	say(a, "{\"id\":5,\"op\":\"hold\"}\n");
	require(held);
	say(b, "{\"id\":1,\"op\":\"cancel\",\"target\":5}\n");
	ok(!held->cancelled);
	say(a, "{\"id\":6,\"op\":\"cancel\",\"target\":5}\n");
	ok(held->cancelled);
	pl_call_fail(held, PL_E_INTERRUPTED, "stopped");
	turn(3);
	ok(strstr(hear(a), "INTERRUPTED"));
	close(a);
	close(b);
	turn(3);
}

pl_test("survives a client that leaves before its answer")
{
	int fd = client();

	held = NULL;
	say(fd, "{\"id\":5,\"op\":\"hold\"}\n");
	require(held);
	close(fd);
	turn(5);
	ok(held->cancelled);
	pl_call_progress(held, 1, 2);
	pl_call_result(held, NULL);
	turn(5);
}

pl_test("limits connections, and takes new ones when old ones end")
{
	int fd[PL_CONTROL_CLIENTS + 1];

	for (unsigned i = 0; i <= PL_CONTROL_CLIENTS; i++)
		fd[i] = client();
	turn(5);
	is_str(hear(fd[PL_CONTROL_CLIENTS]), "(end)");
	close(fd[0]);
	close(fd[PL_CONTROL_CLIENTS]);
	turn(5);
	fd[0] = client();
	say(fd[0], "{\"id\":1,\"op\":\"echo\"}\n");
	ok(strstr(hear(fd[0]), "\"ok\":true"));
	for (unsigned i = 0; i < PL_CONTROL_CLIENTS; i++)
		close(fd[i]);
	turn(10);
}

pl_test("limits the requests of one client at a time")
{
	int fd = client();
	struct pl_call *calls[PL_CONTROL_CALLS];

	for (unsigned i = 0; i < PL_CONTROL_CALLS; i++) {
		held = NULL;
		say(fd, "{\"id\":5,\"op\":\"hold\"}\n");
		require(held);
		calls[i] = held;
	}
	say(fd, "{\"id\":9,\"op\":\"echo\"}\n");
	ok(strstr(hear(fd), "BUSY"));
	for (unsigned i = 0; i < PL_CONTROL_CALLS; i++)
		pl_call_result(calls[i], NULL);
	close(fd);
	turn(5);
}

int main(void)
{
	int status;

	setup();
	status = pl_tap_main();
	pl_control_free(control);
	turn(5);
	pl_loop_free(loop);
	pl_co_trim();
	close(listen_fd);
	return status;
}
