/* SPDX-License-Identifier: Apache-2.0 */
/* The image of an attachment that begins: see openimage.h. */
#include "ploopd/openimage.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ploopd/clock.h"
#include "ploopd/rundir.h"
#include "ploopd/state.h"
#include "store/store.h"

/* After a kill -9, I/O that was under way holds the lock for a moment. */
#define DRAIN_MS 3000u

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

/*
 * The lock is taken. By an attachment of the top? Then att->folder is it.
 * *ret_dead: it was attached, and its processes are gone.
 */
static bool held_by_attachment(struct pl_dir *dir, struct pl_attachment *att,
			       const char *run_dir, bool *ret_dead)
{
	struct pl_attachment top = *att;
	struct pl_image *img;
	struct pl_err err;

	*ret_dead = false;
	if (pl_image_open(&img, dir, PL_IMAGE_NO_LOCK, NULL, &err) < 0)
		return false;
	snprintf(top.id, sizeof(top.id), "%s", pl_image_desc(img)->id);
	pl_image_close(img);
	if (pl_rundir_file(top.folder, run_dir, top.id) < 0)
		return false;
	if (pl_rundir_live(top.folder)) {
		*att = top;
		return true;
	}
	*ret_dead = access(top.folder, F_OK) == 0;
	return false;
}

static int lock_image(struct pl_image **ret, struct pl_dir *dir,
		      struct pl_attachment *att, const char *run_dir,
		      struct pl_failure *f)
{
	uint64_t end = pl_now_ms() + DRAIN_MS;
	char who[200], host[65] = "";
	bool dead;
	int rc;

	gethostname(host, sizeof(host) - 1);
	snprintf(who, sizeof(who), "ploopd on %s, attached by pid %d", host,
		 (int)getpid());
	for (;;) {
		rc = pl_image_open(ret, dir,
				   att->read_only ? 0 : PL_IMAGE_WRITE, who,
				   &f->err);
		if (rc == 0 || f->err.code != PL_E_BUSY)
			return rc;
		if (held_by_attachment(dir, att, run_dir, &dead))
			return pl_attached_error(att, f);
		if (!dead || pl_now_ms() > end)
			return rc;
		pl_sleep_ms(10);
	}
}

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
	att->sector_size = opt->sector_size;
	rc = pl_rundir_path(opt->run_dir, run_dir, f);
	if (rc == 0)
		rc = pl_dir_open(&dir, att->directory, 0, NULL, &f->err);
	if (rc < 0)
		return rc;
	rc = lock_image(&img, dir, att, run_dir, f);
	if (rc == 0)
		rc = choose(img, opt, att, f);
	if (rc == 0)
		rc = fill_folder(att, run_dir, f);
	/* Never closed here: the lock is the keeper's from now on. */
	*ret_lock_fd = rc == 0 ? pl_dir_lock_fd(dir) : -1;
	return rc;
}
