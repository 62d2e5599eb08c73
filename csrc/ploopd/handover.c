/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a keeper changes hands, without the device noticing:
 *
 *  - to a newer program (keeper_become_new, pl_keeper_resume): the keeper
 *    executes it. It stays the same process, so the worker stays its child and
 *    the descriptors stay open. The new keeper asks the old worker to end in
 *    favour of a new one. When the program can't be executed nothing changes.
 *  - to a new process (pl_keeper_adopt), when the keeper was killed: the
 *    descriptors are duplicated from the worker.
 *
 * What travels: descriptors at the numbers of fds.h, two more as arguments,
 * state.json and the shared memory. PL_HANDOVER counts the ways to do it.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ploopd/clock.h"
#include "ploopd/fds.h"
#include "ploopd/keeper_int.h"
#include "ploopd/log.h"
#include "ploopd/rundir.h"

/* ---- to a newer program ---- */

static int read_program(const struct keeper *k, char path[PATH_MAX])
{
	char name[PATH_MAX];
	ssize_t n = -1;
	int fd;

	if (pl_rundir_file(name, k->att->folder, "program") < 0)
		return -ENAMETOOLONG;
	fd = open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	n = read(fd, path, PATH_MAX - 1);
	close(fd);
	path[n > 0 ? n : 0] = '\0';
	return path[0] == '/' ? 0 : -EINVAL;
}

/* The descriptors that travel; the launch socket is closed by then. */
static void set_cloexec(const struct keeper *k, bool on)
{
	const int fds[] = { k->fd.fuse,	    k->fd.control,    k->fd.pending,
			    k->fd.session,  k->fd.image_lock, k->fd.keeper_lock,
			    k->fd.vault_in, k->fd.vault_out,  k->ready_fd,
			    k->drain_fd };

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] >= 0)
			fcntl(fds[i], F_SETFD, on ? FD_CLOEXEC : 0);
}

static int execute(struct keeper *k, const char *program)
{
	char ready[16], drain[16];
	const char *const argv[] = {
		"ploopd",
		"keeper",
		k->att->directory,
		k->att->folder,
		k->att->id,
		k->att->read_only ? "ro" : "rw",
		k->att->loop ? "loop" : "file",
		ready,
		drain,
		NULL,
	};

	snprintf(ready, sizeof(ready), "%d", k->ready_fd);
	snprintf(drain, sizeof(drain), "%d", k->drain_fd);
	set_cloexec(k, false);
	execv(program, (char *const *)(uintptr_t)argv);
	set_cloexec(k, true);
	return -errno;
}

void keeper_become_new(struct keeper *k)
{
	char program[PATH_MAX];
	int rc = k->announced ? read_program(k, program) : -EBUSY;

	k->new_wanted = false;
	if (rc == 0) {
		pl_log("going on as %s", program);
		/* state.json is what the new one knows. */
		keeper_save(k, k->st.state);
		rc = execute(k, program);
	}
	snprintf(k->st.last_error, sizeof(k->st.last_error),
		 "the keeper could not become the new program: %s",
		 strerrorname_np(-rc));
	pl_log("%s", k->st.last_error);
	keeper_save(k, k->st.state);
}

static int take_arguments(int argc, char **argv, struct pl_attachment *att,
			  struct keeper *k)
{
	if (argc != 9)
		return -EINVAL;
	snprintf(att->directory, sizeof(att->directory), "%s", argv[2]);
	snprintf(att->folder, sizeof(att->folder), "%s", argv[3]);
	snprintf(att->id, sizeof(att->id), "%s", argv[4]);
	att->read_only = !strcmp(argv[5], "ro");
	att->loop = !strcmp(argv[6], "loop");
	k->ready_fd = atoi(argv[7]);
	k->drain_fd = atoi(argv[8]);
	return pl_attachment_split(att);
}

static void restore(struct keeper *k)
{
	struct pl_state st;

	if (pl_state_read(k->att->folder, &st) < 0)
		return; /* the worker goes on all the same */
	st.keeper = k->st.keeper;
	st.handover = PL_HANDOVER;
	k->st = st;
	if (st.worker > 0)
		k->pidfd = (int)syscall(SYS_pidfd_open, st.worker, 0);
}

int pl_keeper_resume(int argc, char **argv)
{
	static struct pl_attachment att;
	static struct keeper k = {
		.att = &att,
		.fd = { PL_FD_FUSE, PL_FD_CONTROL, PL_FD_PENDING, PL_FD_SESSION,
			PL_FD_IMAGE_LOCK, PL_FD_KEEPER_LOCK, PL_FD_VAULT_IN,
			PL_FD_VAULT_OUT, -1 },
		.signal_fd = -1,
		.pidfd = -1,
		.was_ready = true,
		.told = true,
		.announced = true,
	};

	if (take_arguments(argc, argv, &att, &k) < 0) {
		fprintf(stderr, "ploopd keeper is started by ploopd upgrade\n");
		return pl_code_exit(PL_E_INVALID_ARGUMENT);
	}
	/* Failing here would be a keeper lost, but not a device. */
	if (keeper_prepare(&k) < 0)
		_exit(1);
	restore(&k);
	k.handover_ms = pl_now_ms();
	if (k.pidfd >= 0)
		kill(k.st.worker, SIGUSR2);
	else if (k.drain_fd < 0 && keeper_start_worker(&k) == 0)
		keeper_save(&k, "restarting");
	else
		k.replaced = true;
	keeper_serve(&k);
}

/* ---- to a new process ---- */

static int duplicate_all(int pidfd, struct pl_keeper_fds *fd)
{
	int *const to[] = { &fd->fuse,	   &fd->control,    &fd->pending,
			    &fd->session,  &fd->image_lock, &fd->keeper_lock,
			    &fd->vault_in, &fd->vault_out };

	for (int i = 0; i < PL_FD_KEPT; i++) {
		*to[i] =
			(int)syscall(SYS_pidfd_getfd, pidfd, PL_FD_FUSE + i, 0);
		if (*to[i] < 0)
			return -errno;
	}
	return 0;
}

/* The dead keeper read the drain pipe; opening the layers waits as well. */
static int drained_pipe(void)
{
	int fd[2];

	if (pipe2(fd, O_CLOEXEC) < 0)
		return -errno;
	close(fd[1]);
	return fd[0];
}

static int adopt(struct keeper *k)
{
	int rc = pl_state_read(k->att->folder, &k->st), pidfd;

	if (rc < 0)
		return rc;
	pidfd = (int)syscall(SYS_pidfd_open, k->st.worker, 0);
	if (pidfd < 0)
		return -errno;
	rc = duplicate_all(pidfd, &k->fd);
	if (rc == 0)
		rc = keeper_prepare(k);
	if (rc < 0)
		return rc;
	k->pidfd = (int)syscall(SYS_pidfd_open, k->st.worker, 0);
	k->drain_fd = drained_pipe();
	if (k->pidfd < 0 || k->drain_fd < 0)
		return -errno;
	pl_log("a new keeper for worker %d", k->st.worker);
	keeper_save(k, "running");
	return 0;
}

void pl_keeper_adopt(const struct pl_attachment *att)
{
	struct keeper k = { .att = att, .signal_fd = -1 };
	int rc;

	k.pidfd = k.ready_fd = k.drain_fd = k.fd.launch = -1;
	k.was_ready = k.told = k.announced = k.adopted = true;
	rc = adopt(&k);
	if (rc < 0)
		_exit(-rc);
	keeper_serve(&k);
}
