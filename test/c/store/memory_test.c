/* SPDX-License-Identifier: Apache-2.0 */
/* Stores and directories in memory: the same promises as files. */
#include <errno.h>

#include "base/co.h"
#include "store/store.h"
#include "tap.h"

static struct pl_err err;
static char buf[65536], back[65536];

static struct pl_store *fresh(struct pl_dir **dir, uint64_t seed)
{
	struct pl_store *st = NULL;

	if (pl_dir_memory(dir, seed) == 0)
		(*dir)->ops->open(*dir, "f", PL_OPEN_WRITE | PL_OPEN_CREATE,
				  &st, &err);
	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (char)(i * 31 + i / 4096 + 1);
	return st;
}

pl_test("reads back what it wrote and zeros elsewhere (FMT-005)")
{
	struct pl_dir *dir;
	struct pl_store *st = fresh(&dir, 0);
	uint64_t size;

	require(st);
	is_int(pl_store_write(st, buf, 10000, 4000, 0), 0);
	is_int(pl_store_read(st, back, 20000, 0, 0), 0);
	is_int(back[3999], 0);
	is_int(memcmp(back + 4000, buf, 10000), 0);
	is_int(back[14000] | back[19999], 0);
	is_int(pl_store_size(st, &size), 0);
	is_int(size, 14000);
	pl_store_close(st);
	pl_dir_close(dir);
}

pl_test("punches partial pages to zeros and whole ones away")
{
	struct pl_dir *dir;
	struct pl_store *st = fresh(&dir, 0);
	uint64_t used, start, end;

	require(st);
	is_int(pl_store_write(st, buf, 65536, 0, 0), 0);
	is_int(pl_store_punch(st, 100, 16384), 0);
	is_int(pl_store_read(st, back, 65536, 0, 0), 0);
	is_int(memcmp(back, buf, 100), 0);
	is_int(back[100] | back[16483], 0);
	is_int(memcmp(back + 16484, buf + 16484, 65536 - 16484), 0);
	is_int(pl_store_usage(st, &used), 0);
	is_int(used, 65536 - 3 * 4096);
	is_int(pl_store_seek_data(st, 4096, &start, &end), 0);
	is_int(start, 16384);
	is_int(end, 65536);
	pl_store_close(st);
	pl_dir_close(dir);
}

pl_test("what was cut off by truncate reads as zeros afterwards (FMT-005)")
{
	struct pl_dir *dir;
	struct pl_store *st = fresh(&dir, 0);

	require(st);
	is_int(pl_store_write(st, buf, 20000, 0, 0), 0);
	is_int(pl_store_truncate(st, 5000), 0);
	is_int(pl_store_truncate(st, 20000), 0);
	is_int(pl_store_read(st, back, 20000, 0, 0), 0);
	is_int(memcmp(back, buf, 5000), 0);
	is_int(back[5000] | back[8191] | back[8192] | back[19999], 0);
	pl_store_close(st);
	pl_dir_close(dir);
}

pl_test("an unlinked file lives on for those who have it open")
{
	struct pl_dir *dir;
	struct pl_store *st = fresh(&dir, 0), *none;

	require(st);
	is_int(pl_store_write(st, buf, 100, 0, 0), 0);
	is_int(dir->ops->unlink(dir, "f"), 0);
	is_int(dir->ops->open(dir, "f", 0, &none, &err), -ENOENT);
	is_int(pl_store_read(st, back, 100, 0, 0), 0);
	is_int(memcmp(back, buf, 100), 0);
	pl_store_close(st);
	pl_dir_close(dir);
}

pl_test("rename replaces the target")
{
	struct pl_dir *dir;
	struct pl_store *st = fresh(&dir, 0), *other;

	require(st);
	is_int(pl_store_write(st, buf, 100, 0, 0), 0);
	pl_store_close(st);
	is_int(dir->ops->open(dir, "g", PL_OPEN_WRITE | PL_OPEN_CREATE, &st,
			      &err),
	       0);
	pl_store_close(st);
	is_int(dir->ops->open(dir, "g", PL_OPEN_CREATE, &st, &err), -EEXIST);
	is_int(dir->ops->rename(dir, "f", "g"), 0);
	is_int(dir->ops->rename(dir, "f", "g"), -ENOENT);
	is_int(dir->ops->open(dir, "g", 0, &other, &err), 0);
	is_int(pl_store_read(other, back, 100, 0, 0), 0);
	is_int(memcmp(back, buf, 100), 0);
	pl_store_close(other);
	pl_dir_close(dir);
}

static int turns;
static bool finished;

static void slow_write(void *arg)
{
	for (unsigned i = 0; i < 50; i++)
		is_int(pl_store_write(arg, buf, 100, i * 100, 0), 0);
	finished = true;
}

static void count_turns(void *arg)
{
	(void)arg;
	while (!finished) {
		turns++;
		pl_co_wake(pl_co_self());
		pl_co_yield();
	}
}

pl_test("with a seed, completions come late inside a coroutine")
{
	struct pl_dir *dir;
	struct pl_store *st = fresh(&dir, 7);

	require(st);
	turns = 0;
	finished = false;
	pl_co_start(slow_write, st);
	pl_co_start(count_turns, NULL);
	pl_co_run_ready();
	ok(finished);
	ok(turns > 20);
	is_int(pl_store_read(st, back, 100, 4900, 0), 0);
	is_int(memcmp(back, buf, 100), 0);
	pl_store_close(st);
	pl_dir_close(dir);
}

pl_test("has one lock")
{
	struct pl_dir *dir;

	require(pl_dir_memory(&dir, 0) == 0);
	is_int(dir->ops->lock(dir, true, "a", &err), 0);
	is_int(dir->ops->lock(dir, true, "b", &err), -EBUSY);
	is_int(err.code, PL_E_BUSY);
	dir->ops->unlock(dir);
	is_int(dir->ops->lock(dir, true, "b", &err), 0);
	pl_dir_close(dir);
}

int main(void)
{
	int status = pl_tap_main();

	pl_co_trim();
	return status;
}
