/* SPDX-License-Identifier: Apache-2.0 */
/* The file store through io_uring, from coroutines. */
#include "file.h"

#include "base/co.h"
#include "base/loop.h"

#define JOBS 16
#define PART 65536

struct job {
	struct pl_loop *loop;
	struct pl_store *st;
	unsigned started, ended;
	bool fine;
};

/* Writes its part, punches some of it, reads it back. */
static bool one_part(struct pl_store *st, uint64_t off)
{
	char *mine = NULL;
	bool fine;

	if (posix_memalign((void **)&mine, 4096, PART) != 0)
		return false;
	fine = pl_store_write(st, buf + off, PART, off, 0) == 0 &&
	       pl_store_sync(st) == 0 &&
	       pl_store_punch(st, off + 4096, 4096) == 0 &&
	       pl_store_read(st, mine, PART, off, 0) == 0 &&
	       memcmp(mine, buf + off, 4096) == 0 &&
	       all_zero(mine + 4096, 4096) &&
	       memcmp(mine + 8192, buf + off + 8192, PART - 8192) == 0 &&
	       pl_store_read(st, mine, 8192, 1 << 30, 0) == 0 &&
	       all_zero(mine, 8192);
	free(mine);
	return fine;
}

static void work(void *arg)
{
	struct job *job = arg;

	job->fine &= one_part(job->st, (uint64_t)job->started++ * PART);
	if (++job->ended == JOBS)
		pl_loop_stop(job->loop);
}

static void many(const char *name, unsigned flags)
{
	struct job job = { .fine = true };
	struct pl_dir *dir;

	require(pl_loop_new(&job.loop, 8, &err) == 0);
	job.st = fresh(&dir, name, flags, job.loop);
	require(job.st);
	for (unsigned i = 0; i < JOBS; i++)
		pl_co_start(work, &job);
	is_int(pl_loop_run(job.loop), 0);
	is_int(job.ended, JOBS);
	ok(job.fine);
	pl_store_close(job.st);
	pl_dir_close(dir);
	pl_loop_free(job.loop);
}

pl_test("reads, writes, syncs and punches, many at a time")
{
	many("buffered", 0);
}

pl_test("does so with direct I/O")
{
	many("direct", PL_OPEN_DIRECT);
}

struct failing {
	struct pl_loop *loop;
	struct pl_store *st;
	int res;
};

static void write_read_only(void *arg)
{
	struct failing *f = arg;

	f->res = pl_store_write(f->st, buf, 4096, 0, 0);
	pl_loop_stop(f->loop);
}

pl_test("hands on the kernel's error")
{
	struct failing f = { .res = 0 };
	struct pl_dir *dir;

	require(pl_loop_new(&f.loop, 8, &err) == 0);
	pl_store_close(fresh(&dir, "ro", 0, f.loop));
	require(dir->ops->open(dir, "ro", 0, &f.st, &err) == 0);
	pl_co_start(write_read_only, &f);
	is_int(pl_loop_run(f.loop), 0);
	is_int(f.res, -EBADF);
	pl_store_close(f.st);
	pl_dir_close(dir);
	pl_loop_free(f.loop);
}

/* ---- what is not in the page cache ---- */

static void read_all(void *arg)
{
	struct job *job = arg;
	char *mine = NULL;

	job->fine = posix_memalign((void **)&mine, 4096, sizeof(buf)) == 0 &&
		    pl_store_read(job->st, mine, sizeof(buf), 0, 0) == 0 &&
		    memcmp(mine, buf, sizeof(buf)) == 0;
	/* Again, with a piece beyond the end of the file. */
	job->fine = job->fine &&
		    pl_store_read(job->st, mine, 2 * PART, sizeof(buf) - PART,
				  0) == 0 &&
		    memcmp(mine, buf + sizeof(buf) - PART, PART) == 0 &&
		    all_zero(mine + PART, PART);
	free(mine);
	pl_loop_stop(job->loop);
}

/* The kernel forgets a part of the file; the rest stays in the cache. */
static void forget(const char *name, off_t off, off_t len)
{
	char path[400];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", scratch(), name);
	fd = open(path, O_RDONLY);
	is_int(posix_fadvise(fd, off, len, POSIX_FADV_DONTNEED), 0);
	close(fd);
}

pl_test("reads what the page cache has, in parts or not at all")
{
	static const struct {
		off_t off, len;
	} gone[] = { { 0, 0 },
		     { 0, sizeof(buf) / 2 },
		     { sizeof(buf) / 2, 0 },
		     { PART, PART },
		     { sizeof(buf) - 4096, 4096 } };
	struct job job = { .fine = true };
	struct pl_dir *dir;

	require(pl_loop_new(&job.loop, 8, &err) == 0);
	job.st = fresh(&dir, "cold", 0, job.loop);
	require(job.st && pl_store_write(job.st, buf, sizeof(buf), 0, 0) == 0);
	for (size_t i = 0; i < sizeof(gone) / sizeof(gone[0]); i++) {
		is_int(pl_store_sync(job.st), 0);
		forget("cold", gone[i].off, gone[i].len);
		pl_co_start(read_all, &job);
		is_int(pl_loop_run(job.loop), 0);
		ok(job.fine);
	}
	pl_store_close(job.st);
	pl_dir_close(dir);
	pl_loop_free(job.loop);
}

pl_test("outside of a coroutine it blocks, loop or not")
{
	struct pl_store *st;
	struct pl_loop *loop;
	struct pl_dir *dir;

	require(pl_loop_new(&loop, 8, &err) == 0);
	st = fresh(&dir, "outside", 0, loop);
	require(st);
	ok(one_part(st, 0));
	pl_store_close(st);
	pl_dir_close(dir);
	pl_loop_free(loop);
}

int main(void)
{
	int status = pl_tap_main();

	pl_co_trim();
	return status;
}
