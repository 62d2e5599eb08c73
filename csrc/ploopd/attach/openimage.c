/* SPDX-License-Identifier: Apache-2.0 */
/* The image of an attachment that begins: see openimage.h. */
#include "ploopd/attach/openimage.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ploopd/attach/imagelock.h"
#include "ploopd/clock.h"
#include "ploopd/keeper/fds.h"
#include "ploopd/rundir.h"
#include "ploopd/state.h"
#include "store/store.h"

/* After a kill -9, I/O that was under way holds the lock for a moment. */
#define DRAIN_MS 10000u

int pl_attached_error(const struct pl_attachment *att, struct pl_failure *f)
{
	struct pl_state st;
	int rc;

	if (pl_state_read(att->folder, &st) < 0)
		return pl_err_set(&f->err, PL_E_ATTACHED, EBUSY,
				  "%s is being attached or detached right now",
				  att->directory);
	rc = pl_err_set(&f->err, PL_E_ATTACHED, EBUSY,
			"%s is attached%s%s (ploopd pid %d, since %s)",
			att->directory, st.device[0] ? " as " : "", st.device,
			st.keeper, st.since);
	return pl_hint(f, rc, "Detach it first: ploop detach %s",
		       att->directory);
}

static int fill_folder(struct pl_attachment *att, const char *run_dir,
		       struct pl_failure *f)
{
	if (pl_rundir_file(att->folder, run_dir, att->id) < 0)
		return pl_err_set(&f->err, PL_E_INVALID_ARGUMENT, ENAMETOOLONG,
				  "the run directory's path is too long");
	return 0;
}

/* ---- the image's lock ---- */

/*
 * Attachments of one image share its lock: a snapshot may be attached while
 * the top is, and the other way round. The newcomer gets a duplicate of the
 * descriptor that holds it, so the lock lasts until the last one is gone, and
 * commands that change layers stay out all the time.
 */
static int duplicate_lock(int pid, const struct pl_dir *dir)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0), fd = -1;
	char path[PATH_MAX];
	struct stat a, b;

	if (pidfd >= 0)
		fd = (int)syscall(SYS_pidfd_getfd, pidfd, PL_FD_IMAGE_LOCK, 0);
	if (pidfd >= 0)
		close(pidfd);
	if (fd < 0)
		return -errno;
	/* The process may be another one by now. */
	snprintf(path, sizeof(path), "%s/lock", dir->path);
	if (fstat(fd, &a) < 0 || stat(path, &b) < 0 || a.st_ino != b.st_ino ||
	    a.st_dev != b.st_dev) {
		close(fd);
		return -ESRCH;
	}
	return fd;
}

static bool is_exclusive(int fd)
{
	char path[64], line[256];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "re");
	while (f && !found && fgets(line, sizeof(line), f))
		found = !strncmp(line, "lock:", 5) && strstr(line, "FLOCK") &&
			strstr(line, "WRITE");
	if (f)
		fclose(f);
	return found;
}

static int borrow_from(const char *folder, const struct pl_dir *dir,
		       bool exclusive)
{
	struct pl_state st;
	int fd;

	if (!pl_rundir_live(folder) || pl_state_read(folder, &st) < 0)
		return -ESRCH;
	fd = duplicate_lock(st.keeper, dir);
	if (fd < 0 && st.worker > 0)
		fd = duplicate_lock(st.worker, dir);
	if (fd >= 0 && exclusive && !is_exclusive(fd)) {
		close(fd);
		return -EBUSY;
	}
	return fd;
}

/* From any attachment of this image; -errno when there is none. */
static int borrow(const char *run_dir, const char *image,
		  const struct pl_dir *dir, bool exclusive)
{
	DIR *d = opendir(run_dir);
	char folder[PATH_MAX];
	struct dirent *de;
	int fd = -ESRCH;

	while (d && fd < 0 && (de = readdir(d)) != NULL)
		if (!strncmp(de->d_name, image, PL_ID_LEN) &&
		    pl_rundir_file(folder, run_dir, de->d_name) == 0)
			fd = borrow_from(folder, dir, exclusive);
	if (d)
		closedir(d);
	return fd;
}

struct locking {
	struct pl_dir *dir;
	struct pl_attachment *att;
	const char *run_dir;
	bool snapshot; /* wanted */
	struct pl_failure *f;
	uint64_t end_ms; /* for the I/O of those who were killed */
};

/*
 * Who shares the lock learns nothing from it about the top's last worker, which
 * may have been killed: the others hold it as well. The top's file tells.
 */
static int settle(struct locking *l, struct pl_image *img)
{
	int rc = l->snapshot ? 0 : pl_image_settle(img, &l->f->err);

	if (rc < 0 && l->f->err.code == PL_E_TIMEOUT)
		return pl_hint(l->f, rc,
			       "When the storage answers it goes on; then "
			       "repeat the command");
	return rc;
}

/*
 * Somebody has the lock, so the image is opened without. 0 with the borrowed
 * lock in *ret_fd; -EAGAIN: try again soon; otherwise f is set.
 */
static int share_lock(struct locking *l, struct pl_image **ret, int *ret_fd)
{
	unsigned flags = PL_IMAGE_NO_LOCK |
			 (l->att->read_only ? 0 : PL_IMAGE_WRITE);
	struct pl_attachment top = *l->att;
	struct pl_image *img;
	struct pl_err err;
	bool dead;
	int rc = 0;

	if (pl_image_open(&img, l->dir, PL_IMAGE_NO_LOCK, NULL, &err) < 0)
		return -EBUSY;
	memcpy(top.id, pl_image_desc(img)->id, PL_ID_LEN + 1);
	pl_image_close(img);
	if (pl_rundir_file(top.folder, l->run_dir, top.id) < 0)
		return -EBUSY;
	if (!l->snapshot && pl_rundir_live(top.folder))
		return pl_attached_error(&top, l->f);
	dead = access(top.folder, F_OK) == 0 && !pl_rundir_live(top.folder);
	*ret_fd = borrow(l->run_dir, top.id, l->dir, !l->att->read_only);
	if (*ret_fd < 0 && dead)
		rc = pl_imagelock_wait(top.id, top.folder, l->end_ms, l->f);
	if (*ret_fd < 0)
		return !dead ? -EBUSY : rc < 0 ? rc : -EAGAIN;
	rc = pl_image_open(ret, l->dir, flags, NULL, &l->f->err);
	return rc < 0 ? rc : settle(l, *ret);
}

/*
 * A snapshot takes the lock exclusively where it can, although it only reads:
 * then the top can be attached beside it. A read-only top shares the lock
 * with other hosts.
 */
static int open_locked(struct locking *l, const char *who,
		       struct pl_image **ret)
{
	int rc = -EROFS;

	if (!l->att->read_only || l->snapshot)
		rc = pl_image_open(ret, l->dir, PL_IMAGE_WRITE, who,
				   &l->f->err);
	if (l->att->read_only && (rc == -EROFS || rc == -EACCES))
		rc = pl_image_open(ret, l->dir, 0, who, &l->f->err);
	return rc;
}

static int lock_image(struct locking *l, struct pl_image **ret, int *ret_fd)
{
	char who[200], host[65] = "";
	int rc;

	gethostname(host, sizeof(host) - 1);
	snprintf(who, sizeof(who), "ploopd on %s, attached by pid %d", host,
		 (int)getpid());
	for (;;) {
		rc = open_locked(l, who, ret);
		if (rc == 0)
			*ret_fd = pl_dir_lock_fd(l->dir);
		if (rc == 0 || l->f->err.code != PL_E_BUSY)
			return rc;
		rc = share_lock(l, ret, ret_fd);
		if (rc != -EAGAIN || pl_now_ms() > l->end_ms)
			return rc;
		pl_sleep_ms(10);
	}
}

/* ---- what is to be attached ---- */

static int choose(struct pl_image *img, const struct pl_attach_options *opt,
		  struct pl_attachment *att, struct pl_failure *f)
{
	const struct pl_image_snapshot *snapshot;
	int n = snprintf(att->id, sizeof(att->id), "%s",
			 pl_image_desc(img)->id);
	int rc = 0;

	if (opt->snapshot) {
		rc = pl_image_find(img, opt->snapshot, &snapshot, &f->err);
		if (rc < 0)
			return pl_hint(f, rc,
				       "List them with: ploop snapshot-list %s",
				       att->directory);
		snprintf(att->id + n, sizeof(att->id) - (size_t)n, "@%s",
			 snapshot->id);
	}
	rc = pl_attachment_split(att);
	if (rc < 0)
		return pl_err_set(&f->err, PL_E_CORRUPT, 0,
				  "%s/image.json: the id is not a UUID",
				  att->directory);
	return rc;
}

int pl_open_for_attach(const struct pl_attach_options *opt,
		       struct pl_attachment *att, int *ret_lock_fd,
		       struct pl_failure *f)
{
	char run_dir[PATH_MAX];
	struct pl_image *img;
	struct pl_dir *dir;
	struct locking l;
	int rc;

	if (geteuid() != 0)
		return pl_hint(f,
			       pl_err_set(&f->err, PL_E_NOT_PERMITTED, EPERM,
					  "attaching an image needs root"),
			       "Run the command with sudo");
	if (!realpath(opt->directory, att->directory))
		snprintf(att->directory, sizeof(att->directory), "%s",
			 opt->directory);
	att->read_only = opt->read_only || opt->snapshot;
	att->loop = opt->loop;
	att->bare = opt->bare;
	att->via = NULL;
	att->sector_size = opt->sector_size;
	att->on_full = opt->on_full;
	att->limits = opt->limits;
	rc = pl_rundir_path(opt->run_dir, run_dir, f);
	if (rc == 0)
		rc = pl_dir_open(&dir, att->directory, 0, NULL, &f->err);
	if (rc < 0)
		return rc;
	l = (struct locking){ dir,     att,
			      run_dir, opt->snapshot != NULL,
			      f,       pl_now_ms() + DRAIN_MS };
	rc = lock_image(&l, &img, ret_lock_fd);
	if (rc == 0)
		rc = choose(img, opt, att, f);
	if (rc == 0)
		rc = fill_folder(att, run_dir, f);
	/* Image and lock are not closed here: they are the keeper's. */
	return rc;
}
