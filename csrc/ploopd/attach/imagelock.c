/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting for a dead worker's ring: see imagelock.h.
 *
 * Who takes the lock exclusively writes into it who that is, so the text tells
 * a lock that is still the dead attachment's from one taken since. Readers
 * write nothing: who only shared the lock with them, an image attached
 * read-only, is given a moment instead. Its ring has nothing to write.
 */
#include "ploopd/attach/imagelock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "ploopd/clock.h"
#include "ploopd/rundir.h"
#include "ploopd/state.h"

#define OURS "ploopd on " /* how lock_image() of openimage.c begins */
#define SHARED_MS 500u /* for a lock that others may share */

struct waiting {
	const char *id, *folder;
	struct pl_state st;
	char path[PATH_MAX]; /* of the lock */
	int operation; /* of flock(): what the dead one's lock is in the way of */
	char who[200]; /* in the lock, when the waiting began */
};

static void read_who(int fd, char *buf, size_t size)
{
	ssize_t n = pread(fd, buf, size - 1, 0);

	buf[n > 0 ? n : 0] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
}

/* An attachment of the same image that lives: they have one lock together. */
static bool shared_with_another(const struct waiting *w)
{
	const char *name = strrchr(w->folder, '/') + 1;
	char run_dir[PATH_MAX], folder[PATH_MAX];
	bool found = false;
	struct dirent *de;
	DIR *d;

	snprintf(run_dir, sizeof(run_dir), "%.*s", (int)(name - 1 - w->folder),
		 w->folder);
	d = opendir(run_dir);
	while (d && !found && (de = readdir(d)) != NULL)
		found = !strncmp(de->d_name, w->id, PL_ID_LEN) &&
			strcmp(de->d_name, name) != 0 &&
			pl_rundir_file(folder, run_dir, de->d_name) == 0 &&
			pl_rundir_live(folder);
	if (d)
		closedir(d);
	return found;
}

/* Somebody has the lock, and it may be what the dead one left. */
static bool still_held(struct waiting *w, bool first)
{
	int fd = open(w->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	char who[sizeof(w->who)];
	bool held;

	if (fd < 0)
		return false;
	held = flock(fd, w->operation | LOCK_NB) < 0 && errno == EWOULDBLOCK;
	read_who(fd, who, sizeof(who));
	close(fd);
	if (first)
		memcpy(w->who, who, sizeof(who));
	if (w->operation == LOCK_SH)
		held = held && !strcmp(who, w->who) &&
		       !strncmp(who, OURS, strlen(OURS));
	return held && !shared_with_another(w);
}

static int too_late(const struct waiting *w, struct pl_failure *f)
{
	return pl_hint(f,
		       pl_err_set(&f->err, PL_E_TIMEOUT, 0,
				  "%s is still in use by I/O of %s, which was "
				  "killed",
				  w->st.directory, w->who),
		       "The kernel ends that when the storage below the image "
		       "answers; then repeat the command");
}

int pl_imagelock_wait(const char *id, const char *folder, uint64_t end_ms,
		      struct pl_failure *f)
{
	struct waiting w = { .id = id, .folder = folder };
	bool shared, first = true;

	/* Half-made: there was no worker yet. */
	if (pl_state_read(folder, &w.st) < 0 || !w.st.directory[0] ||
	    pl_rundir_file(w.path, w.st.directory, "lock") < 0)
		return 0;
	/* Snapshots have it exclusively where they can (openimage.c). */
	shared = w.st.read_only && !strchr(id, '@');
	w.operation = shared ? LOCK_EX : LOCK_SH;
	if (shared && end_ms > pl_now_ms() + SHARED_MS)
		end_ms = pl_now_ms() + SHARED_MS;
	for (; still_held(&w, first); first = false) {
		if (pl_now_ms() >= end_ms)
			return shared ? 0 : too_late(&w, f);
		pl_sleep_ms(5);
	}
	return 0;
}
