/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a process becomes a keeper: session, descriptors, signals, memory; and
 * how it gives up what it does not need from then on.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "ploopd/confine/confine.h"
#include "ploopd/device/via.h"
#include "ploopd/keeper/fds.h"
#include "ploopd/keeper/keeper_int.h"
#include "ploopd/keeper/shared.h"
#include "ploopd/log.h"
#include "ploopd/rundir.h"
#include "ploopd/title.h"

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
	int *const mine[] = { &k->fd.device,	 &k->fd.control,
			      &k->fd.pending,	 &k->fd.session,
			      &k->fd.image_lock, &k->fd.keeper_lock,
			      &k->fd.vault_in,	 &k->fd.vault_out,
			      &k->fd.image_dir,	 &k->fd.launch };
	const int n = sizeof(mine) / sizeof(mine[0]);

	for (int i = 0; i < n; i++) {
		if (*mine[i] < 0)
			continue;
		*mine[i] = fcntl(*mine[i], F_DUPFD_CLOEXEC, 64);
		if (*mine[i] < 0)
			return -errno;
	}
	for (int i = 0; i < n; i++) {
		if (*mine[i] < 0) {
			close(PL_FD_DEVICE + i);
			continue;
		}
		*mine[i] = dup3(*mine[i], PL_FD_DEVICE + i, O_CLOEXEC);
		if (*mine[i] < 0)
			return -errno;
	}
	return close_range((unsigned)(PL_FD_DEVICE + n), ~0U, 0) < 0 ? -errno :
								       0;
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
#ifdef PR_SET_IO_FLUSHER
	/* For the workers, which inherit it: they are in the path of the
	 * kernel's own memory reclaim. Needs the same capability. */
	if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) < 0)
		pl_log("PR_SET_IO_FLUSHER refused (%s): under memory pressure "
		       "this image may be slow",
		       strerrorname_np(errno));
#endif
	mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT);
}

/*
 * From here on the run directory is where we are, and the folder a name in it.
 * It and the image's directory are all that is left of the host's files.
 */
static int confine(struct keeper *k)
{
	char root[PATH_MAX], *slash;
	int run, rc;

	snprintf(root, sizeof(root), "%s", k->att->folder);
	slash = strrchr(root, '/');
	if (!slash)
		return -EINVAL;
	*slash = '\0';
	run = pl_confine_directory(root);
	if (run < 0)
		return run;
	rc = pl_confine_root(k->att->folder);
	if (rc < 0)
		pl_log("no mount namespace of its own: %s",
		       strerrorname_np(-rc));
	if (fchdir(run) < 0)
		return -errno;
	close(run);
	memmove(k->att->folder, k->att->id, strlen(k->att->id) + 1);
	return pl_confine_keeper(k->att->via && k->att->via->keeps_admin);
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
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_SETMASK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int keeper_prepare(struct keeper *k)
{
	int rc;

	pl_log_init("keeper");
	prctl(PR_SET_NAME, "ploopd-keeper");
	pl_title_set("keeper", k->att->directory);
	if (k->fd.image_dir < 0)
		k->fd.image_dir = pl_confine_directory(k->att->directory);
	if (k->fd.image_dir < 0)
		return k->fd.image_dir;
	rc = own_descriptors(k);
	if (rc < 0)
		return rc;
	k->st.keeper = getpid();
	k->st.handover = PL_HANDOVER;
	own_session(k);
	k->signal_fd = catch_signals();
	k->shared = mmap(NULL, sizeof(*k->shared), PROT_READ | PROT_WRITE,
			 MAP_SHARED, k->fd.session, 0);
	if (k->signal_fd < 0 || k->shared == MAP_FAILED)
		return -errno;
	protect();
	if (k->att->via && k->att->via->keep)
		k->admin_fd = rc = k->att->via->keep();
	if (rc < 0) {
		pl_log("--via %s: %s", k->att->via->name, strerrorname_np(-rc));
		return rc;
	}
	rc = confine(k);
	if (rc < 0)
		pl_log("cannot give up privileges: %s", strerrorname_np(-rc));
	return rc;
}
