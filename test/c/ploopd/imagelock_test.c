/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lock that a killed worker's ring holds on to. Here a descriptor of the
 * test's is in the ring's place: as the ring's, it keeps a lock whose taker is
 * gone.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ploopd/attach/imagelock.h"
#include "ploopd/attach/launch.h"
#include "ploopd/clock.h"
#include "ploopd/rundir.h"
#include "ploopd/state.h"
#include "tap.h"

#define IMAGE "0f3b9cde-1111-4222-8333-444455556666"
#define SNAPSHOT "0f3b9cde-1111-4222-8333-444455556666@" IMAGE
#define WHO "ploopd on here, attached by pid 1\n"
#define PATIENCE_MS 100

static char root[] = "/tmp/ploop-imagelock-XXXXXX";

/* The folder of a dead attachment of the image in `root`. */
static void make_dead(struct pl_attachment *att, const char *id, bool read_only)
{
	struct pl_state st = { .state = "running" };
	struct pl_failure f;
	int lock;

	*att = (struct pl_attachment){ .read_only = read_only };
	snprintf(att->id, sizeof(att->id), "%s", id);
	is_int(pl_attachment_split(att), 0);
	snprintf(att->folder, sizeof(att->folder), "%s/%s", root, att->id);
	snprintf(att->directory, sizeof(att->directory), "%s", root);
	is_int(pl_rundir_claim(att->folder, &lock, &f), 0);
	is_int(pl_state_write(att, &st), 0);
	close(lock);
}

/* What holds the image's lock; free with close(). */
static int hold(int operation, const char *who)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s/lock", root);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ok(fd >= 0);
	is_int(flock(fd, operation | LOCK_NB), 0);
	is_int(ftruncate(fd, 0), 0);
	ok(write(fd, who, strlen(who)) == (ssize_t)strlen(who));
	return fd;
}

static int wait_for(const struct pl_attachment *att, struct pl_failure *f)
{
	*f = (struct pl_failure){ 0 };
	return pl_imagelock_wait(att->id, att->folder,
				 pl_now_ms() + PATIENCE_MS, f);
}

pl_test("detach does not succeed while the image is locked by a dead worker")
{
	struct pl_attachment att;
	struct pl_failure f = { 0 };
	int ring;

	make_dead(&att, IMAGE, false);
	ring = hold(LOCK_EX, WHO);
	ok(pl_detach(att.id, att.folder, PATIENCE_MS, &f) < 0);
	is_int(f.err.code, PL_E_TIMEOUT);
	ok(strstr(f.err.msg, "still in use by I/O of ploopd on here"));
	ok(strstr(f.hint, "repeat the command"));
	is_int(access(att.folder, F_OK), 0);
	close(ring);
	is_int(pl_detach(att.id, att.folder, PATIENCE_MS, &f), 0);
	is_int(access(att.folder, F_OK), -1);
}

pl_test("a snapshot that was attached is waited for, too")
{
	struct pl_attachment att;
	struct pl_failure f;
	int ring;

	make_dead(&att, SNAPSHOT, true);
	ring = hold(LOCK_EX, WHO);
	ok(wait_for(&att, &f) < 0);
	is_int(f.err.code, PL_E_TIMEOUT);
	close(ring);
	is_int(wait_for(&att, &f), 0);
	pl_rundir_remove(att.folder);
}

pl_test("one who took the lock since is not waited for")
{
	struct pl_attachment att;
	struct pl_failure f;
	int other;

	make_dead(&att, IMAGE, false);
	other = hold(LOCK_EX, "ploop check, pid 7\n");
	is_int(wait_for(&att, &f), 0);
	close(other);
	other = hold(LOCK_SH, WHO);
	is_int(wait_for(&att, &f), 0);
	close(other);
	pl_rundir_remove(att.folder);
}

pl_test("a lock shared with an attachment that lives is not waited for")
{
	struct pl_attachment dead, live;
	struct pl_failure f;
	int ring, keeper;

	make_dead(&dead, IMAGE, false);
	make_dead(&live, SNAPSHOT, true);
	ring = hold(LOCK_EX, WHO);
	is_int(pl_rundir_take_over(live.folder, &keeper), 0);
	is_int(wait_for(&dead, &f), 0);
	close(keeper);
	ok(wait_for(&dead, &f) < 0);
	close(ring);
	pl_rundir_remove(dead.folder);
	pl_rundir_remove(live.folder);
}

pl_test("readers beside a read-only attachment do not keep it")
{
	struct pl_attachment att;
	struct pl_failure f;
	int reader;

	make_dead(&att, IMAGE, true);
	reader = hold(LOCK_SH, WHO);
	is_int(wait_for(&att, &f), 0);
	close(reader);
	pl_rundir_remove(att.folder);
}

pl_test("an image that is gone holds nothing")
{
	struct pl_attachment att;
	struct pl_failure f;
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/lock", root);
	unlink(path);
	make_dead(&att, IMAGE, false);
	is_int(wait_for(&att, &f), 0);
	pl_rundir_remove(att.folder);
}

int main(void)
{
	int rc;

	if (!mkdtemp(root))
		return 1;
	rc = pl_tap_main();
	rmdir(root);
	return rc;
}
