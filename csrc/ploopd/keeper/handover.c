/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a keeper changes hands, without the device noticing. The next keeper is
 * a new process of the program that was asked (so, of a newer one): keepers
 * execute nothing. It takes the descriptors from the keeper that serves, or
 * from the worker of one that was killed; makes itself ready; asks the other to
 * leave; and reads state.json, which is final then. After an upgrade it asks
 * the worker to end in favour of one of its own.
 *
 * What travels: descriptors at the numbers of fds.h, state.json and the shared
 * memory. PL_HANDOVER counts the ways to do it.
 *
 * INVARIANTS
 *  1. One next keeper at a time: it holds a flock on `next` in the folder while
 *     it takes over, and takes over from whom state.json names meanwhile.
 *  2. Until the other was asked to leave everything can fail without a change;
 *     after that nothing can.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ploopd/attach/manage.h"
#include "ploopd/clock.h"
#include "ploopd/keeper/fds.h"
#include "ploopd/keeper/keeper_int.h"
#include "ploopd/log.h"
#include "ploopd/rundir.h"

static int open_process(int pid)
{
	int fd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;

	return pid <= 0 ? -ESRCH : fd < 0 ? -errno : fd;
}

static int duplicate_all(int pidfd, struct pl_keeper_fds *fd)
{
	int *const to[PL_FD_KEPT] = {
		&fd->device,   &fd->control,	&fd->pending,
		&fd->session,  &fd->image_lock, &fd->keeper_lock,
		&fd->vault_in, &fd->vault_out,	&fd->image_dir,
	};

	for (int i = 0; i < PL_FD_KEPT; i++) {
		*to[i] = (int)syscall(SYS_pidfd_getfd, pidfd, PL_FD_DEVICE + i,
				      0);
		if (*to[i] < 0)
			return -errno;
	}
	return 0;
}

/* EBUSY: another next keeper is at it. */
static int claim(const char *folder)
{
	char path[PATH_MAX];
	int rc = pl_rundir_file(path, folder, "next"), fd;

	if (rc < 0)
		return rc;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return fd;
	close(fd);
	return -EBUSY;
}

/* All that can fail. *ret_alive: the keeper *ret_old is to be asked to leave. */
static int get_ready(struct keeper *k, int *ret_next, int *ret_old,
		     bool *ret_alive)
{
	int rc = pl_state_read(k->att->folder, &k->st), pidfd;
	struct pl_state now;

	if (rc < 0)
		return rc;
	*ret_old = k->st.keeper;
	*ret_alive = pl_keeper_alive(&k->st);
	pidfd = open_process(*ret_alive ? k->st.keeper : k->st.worker);
	if (pidfd < 0)
		return pidfd;
	rc = duplicate_all(pidfd, &k->fd);
	close(pidfd);
	/* Closes everything else. */
	if (rc == 0)
		rc = keeper_prepare(k);
	if (rc < 0)
		return rc;
	*ret_next = claim(k->att->folder);
	if (*ret_next < 0)
		return *ret_next;
	rc = pl_state_read(k->att->folder, &now);
	/* Somebody was faster; or an attach is not through yet. */
	if (rc == 0 &&
	    (now.keeper != *ret_old || !strcmp(now.state, "starting")))
		rc = -EBUSY;
	return rc;
}

/* It leaves when no worker of its is coming up, which may take its time. */
static int let_leave(int old)
{
	int pidfd = open_process(old);
	struct pollfd p = { pidfd, POLLIN, 0 };

	if (pidfd == -ESRCH)
		return 0;
	if (pidfd < 0)
		return pidfd;
	if (kill(old, SIGUSR2) < 0 && errno != ESRCH)
		return -errno;
	while (poll(&p, 1, -1) < 0 && errno == EINTR)
		;
	close(pidfd);
	return 0;
}

/* The old keeper read the drain pipe; opening the layers waits as well. */
static int drained_pipe(void)
{
	int fd[2];

	if (pipe2(fd, O_CLOEXEC) < 0)
		return -errno;
	close(fd[1]);
	return fd[0];
}

/* What the keeper before knew; a worker that is gone is to be replaced. */
static void go_on(struct keeper *k, bool renew)
{
	int self = k->st.keeper;

	if (pl_state_read(k->att->folder, &k->st) < 0)
		k->st.state = "running";
	k->st.keeper = self;
	k->st.handover = PL_HANDOVER;
	k->pidfd = open_process(k->st.worker);
	k->drain_fd = drained_pipe();
	k->handover_ms = renew ? pl_now_ms() : 0;
	if (k->pidfd < 0) {
		k->pidfd = -1;
		k->replaced = renew;
		keeper_save(k, "restarting");
		return;
	}
	pl_log("a new keeper for worker %d", k->st.worker);
	keeper_save(k, renew ? k->st.state : "running");
	if (renew && kill(k->st.worker, SIGUSR2) < 0)
		pl_log("worker %d: %s", k->st.worker, strerrorname_np(errno));
}

void pl_keeper_adopt(struct pl_attachment *att, bool renew)
{
	struct keeper k = { .att = att, .signal_fd = -1 };
	int rc, next = -1, old = -1;
	bool alive = false;

	k.pidfd = k.ready_fd = k.drain_fd = k.fd.launch = -1;
	k.admin_fd = -1;
	k.was_ready = k.told = k.announced = k.adopted = true;
	rc = get_ready(&k, &next, &old, &alive);
	if (rc == 0 && alive)
		rc = let_leave(old);
	if (rc < 0)
		_exit(-rc);
	go_on(&k, renew);
	close(next);
	keeper_serve(&k);
}
