/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Run directory folders: see rundir.h.
 *
 * The owner removes keeper.pid while it still holds the lock, so a lock that
 * was waited for may be on a file that is gone; then the claim starts again.
 */
#include "ploopd/rundir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ploopd/clock.h"

/* Others test the lock by taking it for an instant. */
#define LOCK_ATTEMPTS 10

static const char *const entries[] = { "control", "state.json",	 "state.new",
				       "log",	  "control.new", "next" };

int pl_rundir_path(const char *option, char ret[PATH_MAX], struct pl_failure *f)
{
	const char *path = option ? option : getenv("PLOOP_RUN_DIR");
	int rc;

	if (!path || !*path)
		path = "/run/ploop";
	if (mkdir(path, 0700) < 0 && errno != EEXIST) {
		rc = pl_err_sys(&f->err, -errno,
				"cannot make the run directory %s", path);
		return pl_hint(f, rc,
			       "Make it by hand, run as root, or name another "
			       "one with --run-dir or PLOOP_RUN_DIR");
	}
	if (!realpath(path, ret))
		return pl_err_sys(&f->err, -errno, "run directory %s", path);
	return 0;
}

int pl_rundir_file(char ret[PATH_MAX], const char *folder, const char *name)
{
	int n = snprintf(ret, PATH_MAX, "%s/%s", folder, name);

	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

int pl_attachment_place(struct pl_attachment *att, const char *id,
			const char *run_dir, struct pl_failure *f)
{
	char root[PATH_MAX];
	int rc = -EINVAL;

	if (strlen(id) < sizeof(att->id)) {
		snprintf(att->id, sizeof(att->id), "%s", id);
		rc = pl_attachment_split(att);
	}
	if (rc < 0)
		return pl_err_set(&f->err, PL_E_INVALID_ARGUMENT, 0,
				  "\"%.80s\" is not an attachment: expected "
				  "the image's UUID, or UUID@SNAPSHOT-UUID",
				  id);
	rc = pl_rundir_path(run_dir, root, f);
	if (rc == 0 && pl_rundir_file(att->folder, root, att->id) < 0)
		rc = pl_err_set(&f->err, PL_E_INVALID_ARGUMENT, ENAMETOOLONG,
				"the run directory's path is too long");
	return rc;
}

static int lock_pid_file(int fd)
{
	for (int i = 0; i < LOCK_ATTEMPTS; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return 0;
		if (errno != EWOULDBLOCK && errno != EINTR)
			return -errno;
		pl_sleep_ms(5);
	}
	return -EBUSY;
}

static bool same_file(int fd, const char *path)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 && stat(path, &b) == 0 &&
	       a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

/* -EAGAIN: the file went away under us. */
static int open_and_lock(const char *path, int flags, int *ret_fd)
{
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags, 0600), rc;

	if (fd < 0)
		return -errno;
	rc = lock_pid_file(fd);
	if (rc == 0 && !same_file(fd, path))
		rc = -EAGAIN;
	if (rc < 0) {
		close(fd);
		return rc;
	}
	*ret_fd = fd;
	return 0;
}

int pl_rundir_take_over(const char *folder, int *ret_lock_fd)
{
	char path[PATH_MAX];
	int rc = pl_rundir_file(path, folder, "keeper.pid");

	if (rc == 0 && access(folder, F_OK) < 0)
		return -errno;
	while (rc == 0) {
		/* A folder without keeper.pid was left half-made or half-
		 * removed: it has no owner, so we may own it. */
		rc = open_and_lock(path, O_CREAT, ret_lock_fd);
		if (rc != -EAGAIN)
			break;
		rc = 0;
	}
	return rc;
}

int pl_rundir_claim(const char *folder, int *ret_lock_fd, struct pl_failure *f)
{
	int rc;

	do {
		if (mkdir(folder, 0700) < 0 && errno != EEXIST)
			return pl_err_sys(&f->err, -errno, "cannot make %s",
					  folder);
		rc = pl_rundir_take_over(folder, ret_lock_fd);
	} while (rc == -ENOENT);
	if (rc < 0 && rc != -EBUSY)
		return pl_err_sys(&f->err, rc, "%s/keeper.pid", folder);
	return rc;
}

bool pl_rundir_live(const char *folder)
{
	char path[PATH_MAX];
	int fd, rc;

	if (pl_rundir_file(path, folder, "keeper.pid") < 0)
		return false;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return false;
	rc = flock(fd, LOCK_SH | LOCK_NB) < 0 ? errno : 0;
	close(fd);
	return rc == EWOULDBLOCK;
}

void pl_rundir_remove(const char *folder)
{
	char path[PATH_MAX];

	if (pl_rundir_file(path, folder, "mnt") == 0) {
		umount2(path, MNT_DETACH);
		rmdir(path);
	}
	for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++)
		if (pl_rundir_file(path, folder, entries[i]) == 0)
			unlink(path);
	/* Last: until here nobody else claims the folder. */
	if (pl_rundir_file(path, folder, "keeper.pid") == 0)
		unlink(path);
	rmdir(folder);
}
