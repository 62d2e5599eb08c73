/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ploop-log: runs a program and keeps a bounded log of what it says.
 *
 *	ploop-log FILE LIMIT PROGRAM [ARGUMENT]...
 *
 * Becomes PROGRAM, whose output and error output go through a pipe to a
 * process left behind, which appends them to FILE. When FILE would exceed LIMIT
 * bytes it becomes FILE.1 and a new one begins: a container can not fill the
 * host with what its init writes. The logger ends with the last writer.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static char buffer[64 * 1024];

static int open_log(const char *path)
{
	return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

/* What can not be written is dropped: the container must never wait for us. */
static void write_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		data += n;
		len -= (size_t)n;
	}
}

static int rotate(int fd, const char *path)
{
	char old[4096];

	close(fd);
	if (snprintf(old, sizeof(old), "%s.1", path) < (int)sizeof(old))
		rename(path, old);
	return open_log(path);
}

static void keep_log(int from, const char *path, off_t limit)
{
	int fd = open_log(path);
	ssize_t n;

	while ((n = read(from, buffer, sizeof(buffer))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break;
		if (fd >= 0 && lseek(fd, 0, SEEK_END) + n > limit)
			fd = rotate(fd, path);
		if (fd >= 0)
			write_all(fd, buffer, (size_t)n);
	}
}

/* Detached from the caller in every way: it outlives it. */
static void become_logger(int from, const char *path, off_t limit)
{
	int null = open("/dev/null", O_RDWR);

	setsid();
	signal(SIGHUP, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	for (int fd = 0; fd <= 2; fd++)
		if (null >= 0)
			dup2(null, fd);
		else
			close(fd);
	if (chdir("/") != 0)
		_exit(1);
	prctl(PR_SET_NAME, "ploop-log");
	keep_log(from, path, limit);
	_exit(0);
}

int main(int argc, char **argv)
{
	long long limit = argc > 2 ? atoll(argv[2]) : 0;
	int pipefd[2];
	pid_t pid;

	if (argc < 4 || limit <= 0) {
		fprintf(stderr, "usage: ploop-log FILE LIMIT PROGRAM "
				"[ARGUMENT]...\n");
		return 2;
	}
	if (pipe2(pipefd, O_CLOEXEC) != 0 || (pid = fork()) < 0) {
		perror("ploop-log");
		return 125;
	}
	if (pid == 0) {
		close(pipefd[1]);
		become_logger(pipefd[0], argv[1], (off_t)limit);
	}
	dup2(pipefd[1], 1);
	dup2(pipefd[1], 2);
	execvp(argv[3], argv + 3);
	fprintf(stderr, "ploop-log: cannot run %s: %s\n", argv[3],
		strerror(errno));
	return 125;
}
