/* SPDX-License-Identifier: Apache-2.0 */
/* Image directories of the host: names, links, locks. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "store/store.h"
#include "scratch.h"
#include "tap.h"

static struct pl_err err;

static struct pl_dir *open_dir(const char *name)
{
	struct pl_dir *dir = NULL;

	if (pl_dir_open(&dir, scratch_file(name), PL_OPEN_CREATE, NULL, &err))
		printf("# %s\n", err.msg);
	return dir;
}

static int open_in(struct pl_dir *dir, const char *name, unsigned flags)
{
	struct pl_store *st;
	int rc = dir->ops->open(dir, name, flags, &st, &err);

	if (rc == 0)
		pl_store_close(st);
	return rc;
}

static int touch(struct pl_dir *dir, const char *name)
{
	return open_in(dir, name, PL_OPEN_WRITE | PL_OPEN_CREATE);
}

pl_test("says what a path is that holds no image directory")
{
	struct pl_dir *dir;
	int fd = open(scratch_file("plain"), O_CREAT | O_WRONLY, 0600);

	close(fd);
	is_int(pl_dir_open(&dir, scratch_file("none"), 0, NULL, &err), -ENOENT);
	is_int(err.code, PL_E_NOT_FOUND);
	is_int(pl_dir_open(&dir, scratch_file("plain"), 0, NULL, &err),
	       -ENOTDIR);
	is_int(err.code, PL_E_NOT_AN_IMAGE);
}

pl_test("creates files for their owner only, and never over another")
{
	struct pl_dir *dir = open_dir("create");
	struct stat sb;

	require(dir);
	is_int(touch(dir, "a"), 0);
	is_int(stat(scratch_file("create/a"), &sb), 0);
	is_int(sb.st_mode & 0777, 0600);
	is_int(touch(dir, "a"), -EEXIST);
	is_int(err.code, PL_E_EXISTS);
	is_int(open_in(dir, "b", PL_OPEN_WRITE), -ENOENT);
	is_int(err.code, PL_E_NOT_FOUND);
	pl_dir_close(dir);
}

pl_test("follows no symbolic link inside an image (FMT-116)")
{
	struct pl_dir *dir = open_dir("links");
	int fd = open(scratch_file("secret"), O_CREAT | O_WRONLY, 0600);

	require(dir);
	close(fd);
	is_int(symlink("../secret", scratch_file("links/file")), 0);
	is_int(symlink("..", scratch_file("links/layers")), 0);
	is_int(open_in(dir, "file", 0), -ELOOP);
	is_int(err.code, PL_E_CORRUPT);
	ok(strstr(err.msg, "symbolic link") != NULL);
	is_int(open_in(dir, "layers/secret", 0), -ELOOP);
	is_int(touch(dir, "layers/new"), -ELOOP);
	is_int(access(scratch_file("new"), F_OK), -1);
	ok(dir->ops->sync(dir, "layers") < 0);
	pl_dir_close(dir);
}

pl_test("follows no name out of the image")
{
	struct pl_dir *dir = open_dir("out");

	require(dir);
	ok(open_in(dir, "../secret", 0) < 0);
	ok(open_in(dir, scratch_file("secret"), 0) < 0);
	pl_dir_close(dir);
}

pl_test("refuses what is no regular file, without waiting for a pipe")
{
	struct pl_dir *dir = open_dir("special");

	require(dir);
	is_int(mkfifo(scratch_file("special/pipe"), 0600), 0);
	is_int(dir->ops->mkdir(dir, "sub"), 0);
	ok(open_in(dir, "pipe", PL_OPEN_WRITE) < 0);
	is_int(err.code, PL_E_CORRUPT);
	ok(open_in(dir, "pipe", 0) < 0);
	is_int(err.code, PL_E_CORRUPT);
	ok(open_in(dir, "sub", 0) < 0);
	pl_dir_close(dir);
}

static int count(void *arg, const char *name)
{
	unsigned *n = arg;

	*n += strcmp(name, "x") == 0 || strcmp(name, "y") == 0 ? 1 : 100;
	return 0;
}

pl_test("renames, lists and removes what is in a sub-directory")
{
	struct pl_dir *dir = open_dir("tree");
	unsigned n = 0;

	require(dir);
	is_int(dir->ops->mkdir(dir, "layers"), 0);
	is_int(dir->ops->mkdir(dir, "layers"), -EEXIST);
	is_int(touch(dir, "layers/x"), 0);
	is_int(touch(dir, "layers/z"), 0);
	is_int(dir->ops->rename(dir, "layers/z", "layers/y"), 0);
	is_int(dir->ops->sync(dir, "layers"), 0);
	is_int(dir->ops->sync(dir, ""), 0);
	is_int(dir->ops->list(dir, "layers", count, &n), 0);
	is_int(n, 2);
	is_int(dir->ops->unlink(dir, "layers/y"), 0);
	is_int(dir->ops->unlink(dir, "layers/y"), -ENOENT);
	pl_dir_close(dir);
}

pl_test("a second writer is told who holds the lock (FMT-113)")
{
	struct pl_dir *one = open_dir("lock"), *two = open_dir("lock");

	require(one && two);
	is_int(one->ops->lock(one, true, "ploopd, process 17", &err), 0);
	is_int(two->ops->lock(two, true, "me", &err), -EBUSY);
	is_int(err.code, PL_E_BUSY);
	ok(strstr(err.msg, "in use by ploopd, process 17") != NULL);
	is_int(two->ops->lock(two, false, "me", &err), -EBUSY);
	one->ops->unlock(one);
	is_int(two->ops->lock(two, true, "a much shorter name", &err), 0);
	is_int(one->ops->lock(one, true, "x", &err), -EBUSY);
	ok(strstr(err.msg, "in use by a much shorter name") != NULL);
	pl_dir_close(one);
	pl_dir_close(two);
}

pl_test("readers share the lock, a writer waits for none (FMT-113)")
{
	struct pl_dir *one = open_dir("shared"), *two = open_dir("shared");

	require(one && two);
	is_int(one->ops->lock(one, false, "a", &err), 0);
	is_int(two->ops->lock(two, false, "b", &err), 0);
	two->ops->unlock(two);
	is_int(two->ops->lock(two, true, "c", &err), -EBUSY);
	pl_dir_close(one);
	is_int(two->ops->lock(two, true, "c", &err), 0);
	pl_dir_close(two);
}

pl_test("a lock lasts until every duplicate of its descriptor is closed")
{
	struct pl_dir *one = open_dir("dup"), *two = open_dir("dup");
	int copy;

	require(one && two);
	is_int(pl_dir_lock_fd(one), -1);
	is_int(one->ops->lock(one, true, "x", &err), 0);
	copy = dup(pl_dir_lock_fd(one));
	ok(copy >= 0);
	pl_dir_close(one);
	is_int(two->ops->lock(two, true, "y", &err), -EBUSY);
	close(copy);
	is_int(two->ops->lock(two, true, "y", &err), 0);
	pl_dir_close(two);
}

int main(void)
{
	return pl_tap_main();
}
