/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ploop-cgroup1: runs a program that sees cgroup v1 only.
 *
 *	ploop-cgroup1 UNIFIED-MOUNT CGROUP2-DIRECTORY|- PROGRAM [ARGUMENT]...
 *
 * crun refuses hosts whose cgroups are hybrid (v1 controllers, and a v2
 * hierarchy beside them). It works when the v2 mount is out of sight, so this
 * takes it away in a mount namespace of the program's own; the host's view does
 * not change. Before that the process moves to CGROUP2-DIRECTORY (made if
 * absent), or a systemd in the container would build its slices in the host's
 * v2 root; "-" stays where it is.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static int fail(const char *what, const char *where)
{
	fprintf(stderr, "ploop-cgroup1: %s %s: %s\n", what, where,
		strerror(errno));
	return 125;
}

static int enter_cgroup(const char *dir)
{
	int dirfd, fd, rc = -1;

	if (mkdir(dir, 0755) != 0 && errno != EEXIST)
		return -1;
	dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0)
		return -1;
	fd = openat(dirfd, "cgroup.procs", O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		rc = write(fd, "0", 1) == 1 ? 0 : -1;
		close(fd);
	}
	close(dirfd);
	return rc;
}

int main(int argc, char **argv)
{
	if (argc < 4) {
		fprintf(stderr, "usage: ploop-cgroup1 UNIFIED-MOUNT "
				"CGROUP2-DIRECTORY|- PROGRAM [ARGUMENT]...\n");
		return 2;
	}
	if (strcmp(argv[2], "-") != 0 && enter_cgroup(argv[2]) != 0)
		return fail("cannot enter cgroup", argv[2]);
	if (unshare(CLONE_NEWNS) != 0)
		return fail("cannot leave the mount namespace for", argv[3]);
	/* Slave, not private: umounts on the host must still get through. */
	if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) != 0)
		return fail("cannot set mount propagation of", "/");
	if (umount2(argv[1], MNT_DETACH) != 0 && errno != EINVAL)
		return fail("cannot hide", argv[1]);
	execvp(argv[3], argv + 3);
	return fail("cannot run", argv[3]);
}
