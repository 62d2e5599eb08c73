/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ploop-init: process 1 of a container whose root has no init of its own.
 *
 * Bind-mounted into the container at /run/ploop/init, so it is linked
 * statically and reads no file. It reaps every orphan, and on SIGTERM, SIGINT,
 * SIGPWR or SIGRTMIN+3 ends the container in order: SIGTERM to everybody, up to
 * ten seconds for them to go, then SIGKILL, sync, exit 0.
 *
 * Relies on: being process 1 of a pid namespace (kill(-1) reaches the
 * container and nobody else); it refuses to run as anything else.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define GRACE_SECONDS 10

/* Reaps what has ended; true when no child is left. */
static int reap(void)
{
	for (;;) {
		pid_t pid = waitpid(-1, NULL, WNOHANG);

		if (pid > 0)
			continue;
		if (pid < 0 && errno == EINTR)
			continue;
		return pid < 0;
	}
}

/*
 * Children are not everybody: a process that was joined from outside
 * (runtime exec) has its parent outside. kill(-1, 0) sees those, too.
 */
static int alone(void)
{
	return reap() && kill(-1, 0) != 0;
}

static void end_everybody(const sigset_t *signals)
{
	const struct timespec tick = { .tv_nsec = 50 * 1000 * 1000 };
	struct timespec now;
	time_t deadline;

	clock_gettime(CLOCK_MONOTONIC, &now);
	deadline = now.tv_sec + GRACE_SECONDS;
	kill(-1, SIGTERM);
	kill(-1, SIGCONT);
	while (!alone() && now.tv_sec < deadline) {
		sigtimedwait(signals, NULL, &tick);
		clock_gettime(CLOCK_MONOTONIC, &now);
	}
	kill(-1, SIGKILL);
	while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
		;
}

/*
 * The container's own file system only: sync() would wait for every other
 * container of the host, one that waits for a full disk included.
 */
static void sync_root(void)
{
	int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || syncfs(fd) < 0)
		sync();
	if (fd >= 0)
		close(fd);
}

int main(void)
{
	sigset_t signals;

	if (getpid() != 1) {
		fprintf(stderr,
			"ploop-init: runs only as process 1 of a container\n");
		return 2;
	}
	sigemptyset(&signals);
	sigaddset(&signals, SIGCHLD);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGPWR);
	sigaddset(&signals, SIGRTMIN + 3);
	/* Blocked, so that a process 1 is sent them at all, and waited for. */
	sigprocmask(SIG_BLOCK, &signals, NULL);

	for (;;) {
		int sig = sigwaitinfo(&signals, NULL);

		reap();
		if (sig > 0 && sig != SIGCHLD)
			break;
	}
	end_everybody(&signals);
	sync_root();
	return 0;
}
