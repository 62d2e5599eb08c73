/* SPDX-License-Identifier: Apache-2.0 */
/* A client of a control socket: see client.h. */
#include "ploopd/control/client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "ploopd/control/control.h"

#define ANSWER_MAX (256u << 10)

/* Through the folder's descriptor: a socket's path has 107 characters. */
int pl_client_connect(const char *folder, unsigned timeout_ms)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct timeval limit = { .tv_sec = timeout_ms / 1000 + 1 };
	int dir = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), rc = 0;

	snprintf(addr.sun_path, sizeof(addr.sun_path),
		 "/proc/self/fd/%d/control", dir);
	if (dir < 0 || fd < 0 ||
	    connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		rc = -errno;
	else if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit,
			    sizeof(limit)) < 0)
		rc = -errno;
	if (dir >= 0)
		close(dir);
	if (rc < 0 && fd >= 0)
		close(fd);
	return rc < 0 ? rc : fd;
}

static bool send_line(int fd, const char *request, const int *fds)
{
	union pl_fds_control control;
	struct iovec iov[2] = {
		{ (void *)(uintptr_t)request, strlen(request) },
		{ (void *)(uintptr_t) "\n", 1 },
	};
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };

	if (fds)
		pl_fds_pack(&msg, &control, fds);
	/* A request is far smaller than a socket's buffer. */
	return sendmsg(fd, &msg, MSG_NOSIGNAL) ==
	       (ssize_t)(iov[0].iov_len + iov[1].iov_len);
}

json_t *pl_client_ask(int fd, const char *request, const int *fds)
{
	char *line = malloc(ANSWER_MAX);
	json_t *answer = NULL;
	size_t len = 0;
	ssize_t n;

	if (!line || !send_line(fd, request, fds)) {
		free(line);
		return NULL;
	}
	while (len < ANSWER_MAX && !memchr(line, '\n', len)) {
		n = recv(fd, line + len, ANSWER_MAX - len, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	if (memchr(line, '\n', len))
		answer = json_loadb(line, len, JSON_DISABLE_EOF_CHECK, NULL);
	free(line);
	return answer;
}

json_t *pl_client_result(const char *folder, unsigned timeout_ms,
			 const char *request)
{
	int fd = pl_client_connect(folder, timeout_ms);
	json_t *answer, *result;

	if (fd < 0)
		return NULL;
	answer = pl_client_ask(fd, request, NULL);
	close(fd);
	result = json_incref(json_object_get(answer, "result"));
	json_decref(answer);
	return result;
}
