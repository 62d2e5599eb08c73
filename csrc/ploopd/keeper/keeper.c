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
 *   running    --worker exits PL_EXIT_REPLACED or _DROPPED--> restarting
 *   any        --SIGUSR2--> the same state in another keeper (handover.c)
 *   any        --worker exits 0--> (exit, folder removed)
 *
 * INVARIANTS
 *  1. At most one worker at a time; a new one starts only when the old one was
 *     reaped and its last I/O has ended: io_uring requests outlive their
 *     process, so the worker's ring holds the writing end of a pipe (drain),
 *     which closes when the kernel has finished with the ring.
 *  2. After the start nothing is allocated. What fork needs belongs to the
 *     child.
 */
#include "ploopd/keeper/keeper_int.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ploopd/clock.h"
#include "ploopd/device/via.h"
#include "ploopd/keeper/fds.h"
#include "ploopd/keeper/shared.h"
#include "ploopd/keeper/trim.h"
#include "ploopd/log.h"
#include "ploopd/rundir.h"
#include "ploopd/worker/worker.h"

void keeper_save(struct keeper *k, const char *state)
{
	int rc;

	if (!k->st.state || strcmp(k->st.state, state) != 0)
		pl_state_now(k->st.since_state);
	k->st.state = state;
	k->st.on_full_error = k->shared->on_full == PL_ON_FULL_ERROR;
	k->st.limits.iops = k->shared->iops;
	k->st.limits.bps = k->shared->bps;
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

static void become_worker(struct keeper *k, int ready_w, int drain_w)
{
	const int from[PL_FD_COUNT] = {
		k->fd.device,	k->fd.control,	  k->fd.pending,
		k->fd.session,	k->fd.image_lock, k->fd.keeper_lock,
		k->fd.vault_in, k->fd.vault_out,  k->fd.image_dir,
		ready_w,	drain_w,
	};
	sigset_t none;

	/* Until the worker can take it. */
	sigemptyset(&none);
	sigaddset(&none, SIGUSR2);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* The run directory is the keeper's, and closed by this. */
	if (pl_fds_install(from) == 0 && chdir("/") == 0)
		_exit(pl_worker_main(k->att));
	pl_log("cannot start a worker: %s", strerrorname_np(errno));
	_exit(127);
}

int keeper_start_worker(struct keeper *k)
{
	int ready[2] = { -1, -1 }, drain[2] = { -1, -1 };
	pid_t pid = -1;

	k->shared->ended = 0;
	if (pipe2(ready, O_CLOEXEC | O_NONBLOCK) == 0 &&
	    pipe2(drain, O_CLOEXEC | O_NONBLOCK) == 0)
		pid = fork();
	if (pid == 0)
		become_worker(k, ready[1], drain[1]);
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
	k->told = k->failed = k->adopted = k->replaced = false;
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

static void end_handover(struct keeper *k)
{
	if (!k->handover_ms)
		return;
	k->st.handover_ms = (unsigned)(pl_now_ms() - k->handover_ms);
	k->st.handovers++;
	k->handover_ms = 0;
	pl_log("worker %d took over within %u ms", k->st.worker,
	       k->st.handover_ms);
}

/* What comes after the first line says that state.json is to be written. */
static void on_news(struct keeper *k)
{
	char line[128];
	ssize_t n = read(k->ready_fd, line, sizeof(line));

	if (n > 0)
		keeper_save(k, k->st.state);
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		close_fd(&k->ready_fd);
}

/* {"ok":false,"code":"...","message":"..."}, as the worker wrote it. */
static void note_failure(struct keeper *k)
{
	static const char member[] = "\"message\":\"";
	const char *text = strstr(k->ready, member);
	size_t len = text ? strcspn(text + strlen(member), "\"\\") : 0;

	snprintf(k->st.last_error, sizeof(k->st.last_error),
		 "worker %d cannot open the image: %.*s", k->st.worker,
		 len < 400 ? (int)len : 400, text ? text + strlen(member) : "");
	k->failed = true;
	keeper_save(k, k->st.state);
}

static void on_ready(struct keeper *k)
{
	ssize_t n;

	if (k->told) {
		on_news(k);
		return;
	}
	n = read(k->ready_fd, k->ready + k->ready_len,
		 sizeof(k->ready) - 1 - k->ready_len);

	if (n > 0) {
		k->ready_len += (size_t)n;
		if (!memchr(k->ready, '\n', k->ready_len) &&
		    k->ready_len < sizeof(k->ready) - 1)
			return;
	} else if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		return;
	}
	k->told = true;
	k->ready[k->ready_len] = '\0';
	k->ready[strcspn(k->ready, "\n")] = '\0';
	if (strncmp(k->ready, "{\"ok\":true", 10) != 0) {
		/* It failed and ends; the launcher hears why. */
		if (!k->was_ready && k->ready_len)
			tell_launcher(k, 'R', k->ready);
		else if (k->ready_len)
			note_failure(k);
		return;
	}
	if (!k->was_ready)
		tell_launcher(k, 'R', k->ready);
	else
		pl_log("worker %d goes on", k->st.worker);
	k->was_ready = true;
	end_handover(k);
	keeper_save(k, k->announced ? "running" : "starting");
}

/* ---- the worker's end ---- */

/* Or a detach has removed it, and it may be somebody else's now. */
static bool folder_is_ours(const struct keeper *k)
{
	struct stat sb;

	return fstat(k->fd.keeper_lock, &sb) < 0 || sb.st_nlink > 0;
}

void keeper_finish(struct keeper *k, int status)
{
	/* First: who sees the folder gone may take the image at once. */
	close_fd(&k->fd.image_lock);
	if (folder_is_ours(k))
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

/* Then there is nobody to wait for. */
static bool device_gone(const struct keeper *k)
{
	const struct pl_via *via = k->att->via;

	return via && via->gone(k->fd.device);
}

static void stop(struct keeper *k)
{
	if (device_gone(k)) {
		pl_log("five workers died within ten seconds, and the device "
		       "is gone: giving up");
		keeper_finish(k, 1);
	}
	pl_log("five workers died within ten seconds; requests wait until "
	       "'ploop recover %s' lets it be tried again",
	       k->att->directory);
	keeper_save(k, "stopped");
}

static void describe_death(struct keeper *k, const siginfo_t *how)
{
	if (how->si_code == CLD_EXITED && k->failed)
		; /* its reason is there already */
	else if (k->adopted)
		snprintf(k->st.last_error, sizeof(k->st.last_error),
			 "worker %d died; its keeper had been killed before",
			 k->st.worker);
	else if (how->si_code == CLD_EXITED)
		snprintf(k->st.last_error, sizeof(k->st.last_error),
			 "worker %d ended with status %d; see the log",
			 k->st.worker, how->si_status);
	else if (how->si_status == SIGSYS)
		snprintf(k->st.last_error, sizeof(k->st.last_error),
			 "worker %d was killed for a system call that is not "
			 "on its list (SIGSYS)",
			 k->st.worker);
	else
		snprintf(k->st.last_error, sizeof(k->st.last_error),
			 "worker %d was killed by signal %d (%s)", k->st.worker,
			 how->si_status, sigabbrev_np(how->si_status));
	pl_log("%s", k->st.last_error);
}

/* How it ended. Of an adopted worker nobody knows more than that. */
static bool reap(struct keeper *k, siginfo_t *how)
{
	if (!k->adopted)
		return waitid(P_PIDFD, (id_t)k->pidfd, how,
			      WEXITED | WNOHANG) == 0 &&
		       how->si_pid != 0;
	how->si_code = CLD_EXITED;
	how->si_status = k->shared->ended == PL_ENDED_CLEAN ? 0 :
			 k->shared->ended == PL_ENDED_REPLACED ?
							      PL_EXIT_REPLACED :
							      -1;
	return true;
}

static void on_worker_end(struct keeper *k)
{
	siginfo_t how = { 0 };
	bool died;

	if (!reap(k, &how))
		return;
	if (k->ready_fd >= 0)
		on_ready(k);
	close_fd(&k->ready_fd);
	close_fd(&k->pidfd);
	if (how.si_code == CLD_EXITED && how.si_status == 0)
		keeper_finish(k, 0);
	k->replaced = how.si_code == CLD_EXITED &&
		      how.si_status == PL_EXIT_REPLACED;
	died = !k->replaced &&
	       !(how.si_code == CLD_EXITED && how.si_status == PL_EXIT_DROPPED);
	if (died)
		describe_death(k, &how);
	k->st.worker = 0;
	if (!k->was_ready)
		return; /* it never worked: the launcher knows why */
	k->st.restarts += died;
	keeper_save(k, "restarting");
}

/* What the old worker had taken is to be handed out again. */
static int renew_device(struct keeper *k)
{
	const struct pl_via *via = k->att->via;
	struct pl_kept kept = { k->att, k->st.device, k->shared, k->fd.device,
				k->admin_fd };
	int rc = via && via->renew ? via->renew(&kept) : 0;

	if (rc != -ENODEV)
		return rc;
	/* The next worker closes the image. */
	k->shared->device_gone = 1;
	return 0;
}

static bool start_next(struct keeper *k)
{
	int rc = renew_device(k);

	if (rc == 0)
		return keeper_start_worker(k) == 0;
	snprintf(k->st.last_error, sizeof(k->st.last_error),
		 "the kernel did not take back the requests of %s: %s",
		 k->st.device, strerrorname_np(-rc));
	pl_log("%s", k->st.last_error);
	return false;
}

/* Some ways need to be told which device is to hand its requests out again. */
static bool lost_its_launch(const struct keeper *k)
{
	return !k->was_ready ||
	       (!k->announced && k->att->via && k->att->via->renew);
}

/* The old worker is gone for good: time for a new one. */
static void on_drained(struct keeper *k)
{
	close_fd(&k->drain_fd);
	if (lost_its_launch(k))
		keeper_finish(k, 1);
	while (k->replaced || !too_many_deaths(k)) {
		k->replaced = false;
		if (start_next(k))
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
		k->shared->announced = 1;
		keeper_save(k, "running");
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
		if (k->pidfd < 0 && k->drain_fd < 0 && start_next(k))
			keeper_save(k, "restarting");
	} else if (info.ssi_signo == SIGUSR2) {
		k->leaving = k->announced;
	} else if (k->pidfd >= 0) {
		/* The worker knows whether the device is in use. */
		kill(k->st.worker, SIGTERM);
	} else {
		pl_log("SIGTERM ignored: no worker to ask whether the device "
		       "is in use");
	}
}

/* ---- life ---- */

static void serve_once(struct keeper *k)
{
	struct pollfd p[] = {
		{ k->signal_fd, POLLIN, 0 },
		{ k->pidfd, POLLIN, 0 },
		{ k->ready_fd, POLLIN, 0 },
		{ k->fd.launch, POLLIN, 0 },
		/* Drained counts only when the worker was reaped. */
		{ k->pidfd < 0 ? k->drain_fd : -1, POLLIN, 0 },
	};

	if (!strcmp(k->st.state, "running"))
		pl_trim_libc();
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
	/* Not while a worker is coming up: it has its first line to say. */
	if (k->leaving && (k->pidfd < 0 || k->told)) {
		keeper_save(k, k->st.state);
		_exit(0);
	}
}

void keeper_serve(struct keeper *k)
{
	for (;;)
		serve_once(k);
}

void pl_keeper_main(struct pl_attachment *att, const struct pl_keeper_fds *fds)
{
	struct keeper k = { .att = att, .fd = *fds, .signal_fd = -1 };

	k.pidfd = k.ready_fd = k.drain_fd = k.admin_fd = -1;
	if (keeper_prepare(&k) < 0)
		keeper_finish(&k, 1);
	pl_state_now(k.st.since);
	k.shared->on_full = att->on_full;
	k.shared->iops = (uint32_t)att->limits.iops;
	k.shared->bps = att->limits.bps;
	if (keeper_start_worker(&k) < 0)
		keeper_finish(&k, 1);
	keeper_save(&k, "starting");
	keeper_serve(&k);
}
