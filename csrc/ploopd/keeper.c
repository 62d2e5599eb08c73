/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper: see keeper.h.
 *
 * STATES (of state.json)
 *   starting   --ready and device known--> running
 *   starting   --worker ends or launcher gone--> (exit)
 *   running    --worker dies--> restarting --drained--> starting a worker
 *   restarting --ready--> running
 *   restarting --fifth death in ten seconds--> stopped --SIGUSR1--> restarting
 *   restarting --the same, and the device is gone--> (exit, folder removed)
 *   any        --worker exits 0--> (exit, folder removed)
 *
 * INVARIANTS
 *  1. At most one worker at a time; a new one starts only when the old one was
 *     reaped and its last I/O has ended: io_uring requests outlive their
 *     process, so the worker's ring holds the writing end of a pipe (drain),
 *     which closes when the kernel has finished with the ring.
 *  2. After the start nothing is allocated. What fork and exec need belongs to
 *     the child.
 */
#include "ploopd/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ploopd/clock.h"
#include "ploopd/fds.h"
#include "ploopd/log.h"
#include "ploopd/rundir.h"
#include "ploopd/state.h"

#define DEATHS 5
#define DEATHS_MS 10000

struct keeper {
	const struct pl_attachment *att;
	struct pl_keeper_fds fd;
	struct pl_state st;
	int signal_fd, pidfd, ready_fd, drain_fd; /* -1 = none */
	bool was_ready; /* some worker was */
	bool announced; /* the launcher told us the device */
	uint64_t death_ms[DEATHS]; /* a ring */
	unsigned deaths;
	char ready[PL_READY_MAX];
	size_t ready_len;
};

static void save(struct keeper *k, const char *state)
{
	int rc;

	k->st.state = state;
	rc = pl_state_write(k->att, &k->st);
	if (rc < 0)
		pl_log("cannot write state.json: %s", strerrorname_np(-rc));
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* ---- the worker's start ---- */

static void exec_worker(struct keeper *k, int ready_w, int drain_w)
{
	const int from[PL_FD_COUNT] = {
		k->fd.fuse,    k->fd.control,	 k->fd.pending,
		k->fd.session, k->fd.image_lock, k->fd.keeper_lock,
		ready_w,       drain_w,
	};
	const char *const argv[] = {
		"ploopd",	"worker",   k->att->directory,
		k->att->folder, k->att->id, k->att->read_only ? "ro" : "rw",
		NULL,
	};
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (pl_fds_install(from) == 0)
		execv("/proc/self/exe", (char *const *)(uintptr_t)argv);
	pl_log("cannot start a worker: %s", strerrorname_np(errno));
	_exit(127);
}

static int start_worker(struct keeper *k)
{
	int ready[2] = { -1, -1 }, drain[2] = { -1, -1 };
	pid_t pid = -1;

	if (pipe2(ready, O_CLOEXEC | O_NONBLOCK) == 0 &&
	    pipe2(drain, O_CLOEXEC | O_NONBLOCK) == 0)
		pid = fork();
	if (pid == 0)
		exec_worker(k, ready[1], drain[1]);
	close_fd(&ready[1]);
	close_fd(&drain[1]);
	if (pid > 0)
		k->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pid < 0 || k->pidfd < 0) {
		pl_log("cannot start a worker: %s", strerrorname_np(errno));
		close_fd(&ready[0]);
		close_fd(&drain[0]);
		return -1;
	}
	k->st.worker = pid;
	k->ready_fd = ready[0];
	k->drain_fd = drain[0];
	k->ready_len = 0;
	return 0;
}

static void tell_launcher(struct keeper *k, char what, const char *text)
{
	char msg[PL_READY_MAX + 1];
	int n = snprintf(msg, sizeof(msg), "%c%s", what, text);

	/* Without a launcher (any more) nobody wants to know. */
	if (k->fd.launch >= 0 && n > 0)
		send(k->fd.launch, msg, strnlen(msg, sizeof(msg)),
		     MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void on_ready(struct keeper *k)
{
	ssize_t n = read(k->ready_fd, k->ready + k->ready_len,
			 sizeof(k->ready) - 1 - k->ready_len);

	if (n > 0) {
		k->ready_len += (size_t)n;
		if (!memchr(k->ready, '\n', k->ready_len) &&
		    k->ready_len < sizeof(k->ready) - 1)
			return;
	} else if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		return;
	}
	close_fd(&k->ready_fd);
	k->ready[k->ready_len] = '\0';
	k->ready[strcspn(k->ready, "\n")] = '\0';
	if (strncmp(k->ready, "{\"ok\":true", 10) != 0) {
		/* It failed and ends; the launcher hears why. */
		if (!k->was_ready && k->ready_len)
			tell_launcher(k, 'R', k->ready);
		return;
	}
	if (!k->was_ready)
		tell_launcher(k, 'R', k->ready);
	else
		pl_log("worker %d goes on", k->st.worker);
	k->was_ready = true;
	save(k, k->announced ? "running" : "starting");
}

/* ---- the worker's end ---- */

static void finish(struct keeper *k, int status) __attribute__((noreturn));
static void finish(struct keeper *k, int status)
{
	/* First: who sees the folder gone may take the image at once. */
	close_fd(&k->fd.image_lock);
	pl_rundir_remove(k->att->folder);
	_exit(status);
}

static bool too_many_deaths(struct keeper *k)
{
	uint64_t now = pl_now_ms();
	uint64_t *slot = &k->death_ms[k->deaths % DEATHS];
	bool full = k->deaths >= DEATHS - 1;
	uint64_t oldest = k->death_ms[(k->deaths + 1) % DEATHS];

	*slot = now;
	k->deaths++;
	return full && now - oldest < DEATHS_MS;
}

/* Without its file system there is nobody to wait for. */
static bool device_gone(const struct keeper *k)
{
	struct pollfd p = { k->fd.fuse, POLLIN, 0 };

	return poll(&p, 1, 0) > 0 && p.revents & POLLERR;
}

static void stop(struct keeper *k)
{
	if (device_gone(k)) {
		pl_log("five workers died within ten seconds, and the device "
		       "is gone: giving up");
		finish(k, 1);
	}
	pl_log("five workers died within ten seconds; requests wait until "
	       "'kill -USR1 %d' lets it be tried again",
	       k->st.keeper);
	save(k, "stopped");
}

static void describe_death(struct keeper *k, const siginfo_t *how)
{
	if (how->si_code == CLD_EXITED)
		snprintf(k->st.last_error, sizeof(k->st.last_error),
			 "worker %d ended with status %d; see the log",
			 k->st.worker, how->si_status);
	else
		snprintf(k->st.last_error, sizeof(k->st.last_error),
			 "worker %d was killed by signal %d (%s)", k->st.worker,
			 how->si_status, sigabbrev_np(how->si_status));
	pl_log("%s", k->st.last_error);
}

static void on_worker_end(struct keeper *k)
{
	siginfo_t how = { 0 };

	if (waitid(P_PIDFD, (id_t)k->pidfd, &how, WEXITED | WNOHANG) < 0 ||
	    how.si_pid == 0)
		return;
	if (k->ready_fd >= 0)
		on_ready(k);
	close_fd(&k->ready_fd);
	close_fd(&k->pidfd);
	if (how.si_code == CLD_EXITED && how.si_status == 0)
		finish(k, 0);
	describe_death(k, &how);
	k->st.worker = 0;
	if (!k->was_ready)
		return; /* it never worked: the launcher knows why */
	k->st.restarts++;
	save(k, "restarting");
}

/* The old worker is gone for good: time for a new one. */
static void on_drained(struct keeper *k)
{
	close_fd(&k->drain_fd);
	if (!k->was_ready)
		finish(k, 1);
	while (!too_many_deaths(k)) {
		if (start_worker(k) == 0)
			return;
		pl_sleep_ms(100);
	}
	stop(k);
}

/* ---- launcher and signals ---- */

static void on_launcher(struct keeper *k)
{
	char msg[128];
	ssize_t n = recv(k->fd.launch, msg, sizeof(msg) - 1, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0 && msg[0] == 'D') {
		msg[n] = '\0';
		if (sscanf(msg + 1, "%31s %15s", k->st.device, k->st.devno) < 2)
			k->st.device[0] = k->st.devno[0] = '\0';
		k->announced = true;
		save(k, "running");
		tell_launcher(k, 'A', "");
		return;
	}
	close_fd(&k->fd.launch);
	if (k->announced)
		return;
	pl_log("the launcher is gone before a device was there");
	if (k->st.worker > 0)
		kill(k->st.worker, SIGTERM);
}

static void on_signal(struct keeper *k)
{
	struct signalfd_siginfo info;

	if (read(k->signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGUSR1) {
		k->deaths = 0;
		if (k->pidfd < 0 && k->drain_fd < 0 && start_worker(k) == 0)
			save(k, "restarting");
	} else if (k->pidfd >= 0) {
		/* The worker knows whether the device is in use. */
		kill(k->st.worker, SIGTERM);
	} else {
		pl_log("SIGTERM ignored: no worker to ask whether the device "
		       "is in use");
	}
}

/* ---- life ---- */

static void own_session(struct keeper *k)
{
	char log[PATH_MAX], pid[16];
	int null = open("/dev/null", O_RDWR), out = -1, n;

	setsid();
	if (chdir("/") < 0)
		pl_log("chdir /: %s", strerrorname_np(errno));
	if (pl_rundir_file(log, k->att->folder, "log") == 0)
		out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	dup2(out >= 0 ? out : null, STDERR_FILENO);
	n = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
	if (ftruncate(k->fd.keeper_lock, 0) == 0 &&
	    pwrite(k->fd.keeper_lock, pid, (size_t)n, 0) != n)
		pl_log("cannot write keeper.pid");
}

/* The launcher's other descriptors, its output above all, must not stay. */
static int own_descriptors(struct keeper *k)
{
	int *const mine[] = { &k->fd.fuse,	 &k->fd.control,
			      &k->fd.pending,	 &k->fd.session,
			      &k->fd.image_lock, &k->fd.keeper_lock,
			      &k->fd.launch };
	const int n = sizeof(mine) / sizeof(mine[0]);

	for (int i = 0; i < n; i++) {
		*mine[i] = fcntl(*mine[i], F_DUPFD_CLOEXEC, 64);
		if (*mine[i] < 0)
			return -errno;
	}
	for (int i = 0; i < n; i++) {
		*mine[i] = dup3(*mine[i], PL_FD_FUSE + i, O_CLOEXEC);
		if (*mine[i] < 0)
			return -errno;
	}
	return close_range((unsigned)(PL_FD_FUSE + n), ~0U, 0) < 0 ? -errno : 0;
}

/* Hard to kill by the kernel, never waiting for its own memory. */
static void protect(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd >= 0) {
		/* Lowering it needs CAP_SYS_RESOURCE; go on without. */
		if (write(fd, "-1000", 5) < 0)
			pl_log("oom_score_adj stays: %s",
			       strerrorname_np(errno));
		close(fd);
	}
	mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT);
}

static int catch_signals(void)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_SETMASK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void serve(struct keeper *k)
{
	struct pollfd p[] = {
		{ k->signal_fd, POLLIN, 0 },
		{ k->pidfd, POLLIN, 0 },
		{ k->ready_fd, POLLIN, 0 },
		{ k->fd.launch, POLLIN, 0 },
		/* Drained counts only when the worker was reaped. */
		{ k->pidfd < 0 ? k->drain_fd : -1, POLLIN, 0 },
	};

	if (poll(p, sizeof(p) / sizeof(p[0]), -1) < 0)
		return;
	if (p[2].revents)
		on_ready(k);
	if (p[3].revents)
		on_launcher(k);
	if (p[0].revents)
		on_signal(k);
	if (p[1].revents)
		on_worker_end(k);
	if (p[4].revents)
		on_drained(k);
}

void pl_keeper_main(const struct pl_attachment *att,
		    const struct pl_keeper_fds *fds)
{
	struct keeper k = { .att = att, .fd = *fds, .signal_fd = -1 };

	k.pidfd = k.ready_fd = k.drain_fd = -1;
	pl_log_init("keeper");
	prctl(PR_SET_NAME, "ploopd-keeper");
	if (own_descriptors(&k) < 0)
		_exit(1);
	k.st.keeper = getpid();
	pl_state_now(k.st.since);
	own_session(&k);
	k.signal_fd = catch_signals();
	protect();
	if (k.signal_fd < 0 || start_worker(&k) < 0)
		finish(&k, 1);
	save(&k, "starting");
	for (;;)
		serve(&k);
}
