/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Giving up what serving does not need: see confine.h.
 *
 * Capabilities that stay:
 *   CAP_DAC_OVERRIDE  an image's files may belong to another user than root
 *                     (0600). The mount namespace bounds what it reaches.
 *   CAP_IPC_LOCK      workers lock their memory; RLIMIT_MEMLOCK is small.
 *   CAP_SYS_ADMIN     of the keeper alone, and only for devices whose kernel side
 *                     wants it when a worker was killed (via.h, keeps_admin).
 *
 * What a new worker needs and only more capabilities could give is set by the
 * keeper, before it drops them, and inherited: PR_SET_IO_FLUSHER, oom_score_adj.
 */
#include "ploopd/confine/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdint.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef PL_NO_CONFINEMENT

int pl_confine_directory(const char *path)
{
	int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int pl_confine_root(const char *place)
{
	(void)place;
	return 0;
}

int pl_confine_keeper(bool admin)
{
	(void)admin;
	return 0;
}

int pl_confine_worker(void)
{
	return 0;
}

int pl_confine_give_up_admin(void)
{
	return 0;
}

#else

int pl_confine_directory(const char *path)
{
	int fd = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	/* An unbindable mount, say. */
	if (fd < 0)
		fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/*
 * A new namespace begins as a copy of the host's, which would keep every mount
 * of other images alive: so all of it is let go at once. Until then (a moment)
 * the copy is a slave: what the host unmounts goes here as well.
 */
static int empty_root(const char *place)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0 ||
	    mount("ploop", place, "tmpfs",
		  MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
		  "size=4k,nr_inodes=2,mode=0500") < 0 ||
	    chdir(place) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 ||
	    umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return -errno;
	return 0;
}

int pl_confine_root(const char *place)
{
	int host = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC), rc;

	if (host < 0)
		return -errno;
	rc = unshare(CLONE_NEWNS) < 0 ? -errno : empty_root(place);
	/* A copy must not stay: it would hold other images' mounts. */
	if (rc < 0 && setns(host, CLONE_NEWNS) < 0)
		_exit(127);
	close(host);
	return rc;
}

#define KEPT ((1u << CAP_DAC_OVERRIDE) | (1u << CAP_IPC_LOCK))

/* Effective and permitted: no more than these. */
static int keep_capabilities(uint32_t kept)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	/* The first 32, and the others. */
	struct __user_cap_data_struct data[2] = { { .permitted = 0 } };

	if (syscall(SYS_capget, &header, data) < 0)
		return -errno;
	/* A root in a container may lack even these. */
	data[0].permitted &= kept;
	data[0].effective = data[0].permitted;
	data[1] = (struct __user_cap_data_struct){ .effective = 0 };
	data[0].inheritable = 0;
	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

static int drop_capabilities(bool admin)
{
	for (unsigned cap = 0; cap < 64; cap++)
		if ((cap >= 32 || !(KEPT >> cap & 1)) &&
		    prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 && errno != EINVAL)
			return -errno; /* EINVAL: there are no more */
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	return keep_capabilities(KEPT | (admin ? 1u << CAP_SYS_ADMIN : 0));
}

int pl_confine_keeper(bool admin)
{
	int rc = drop_capabilities(admin);

	if (rc == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		rc = -errno;
	return rc < 0 ? rc : pl_syscalls_limit(PL_SYSCALLS_KEEPER);
}

int pl_confine_give_up_admin(void)
{
	return keep_capabilities(KEPT);
}

int pl_confine_worker(void)
{
	int rc = keep_capabilities(KEPT);

	return rc < 0 ? rc : pl_syscalls_limit(PL_SYSCALLS_WORKER);
}

#endif
