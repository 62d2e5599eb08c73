/* SPDX-License-Identifier: Apache-2.0 */
/* The file store on a real file system: data, holes, direct I/O. */
#include "file.h"

static char back[1 << 20] __attribute__((aligned(4096)));

static void finish(struct pl_dir *dir, struct pl_store *st)
{
	pl_store_close(st);
	pl_dir_close(dir);
}

pl_test("reads back what it wrote, at any alignment without direct I/O")
{
	struct pl_dir *dir;
	struct pl_store *st = fresh(&dir, "bytes", 0, NULL);

	require(st);
	is_int(st->align, 1);
	is_int(pl_store_write(st, buf, 70001, 333, 0), 0);
	is_int(pl_store_read(st, back, 70001, 333, 0), 0);
	is_int(memcmp(buf, back, 70001), 0);
	is_int(pl_store_sync(st), 0);
	finish(dir, st);
}

pl_test("gives zeros beyond the end of the file (FMT-005)")
{
	struct pl_dir *dir;
	struct pl_store *st = fresh(&dir, "beyond", 0, NULL);
	uint64_t size;

	require(st);
	is_int(pl_store_write(st, buf, 1000, 0, 0), 0);
	memset(back, 0x55, sizeof(back));
	is_int(pl_store_read(st, back, 5000, 0, 0), 0);
	is_int(memcmp(buf, back, 1000), 0);
	ok(all_zero(back + 1000, 4000));
	memset(back, 0x55, sizeof(back));
	is_int(pl_store_read(st, back, 8192, 1ull << 40, 0), 0);
	ok(all_zero(back, 8192));
	is_int(pl_store_size(st, &size), 0);
	is_int(size, 1000);
	finish(dir, st);
}

pl_test("truncate shortens, and lengthens with a hole (FMT-005)")
{
	struct pl_dir *dir;
	struct pl_store *st = fresh(&dir, "holes", 0, NULL);
	uint64_t size, used;

	require(st);
	is_int(pl_store_write(st, buf, 8192, 0, 0), 0);
	is_int(pl_store_truncate(st, 4096), 0);
	is_int(pl_store_truncate(st, 1 << 30), 0);
	is_int(pl_store_size(st, &size), 0);
	is_int(size, 1 << 30);
	is_int(pl_store_usage(st, &used), 0);
	ok(used < 1 << 20);
	is_int(pl_store_read(st, back, 8192, 0, 0), 0);
	is_int(memcmp(buf, back, 4096), 0);
	ok(all_zero(back + 4096, 4096));
	finish(dir, st);
}

pl_test("punch gives host space back, keeps the size and reads as zeros")
{
	struct pl_dir *dir;
	struct pl_store *st = fresh(&dir, "sparse", 0, NULL);
	uint64_t before, after, size;

	require(st);
	is_int(pl_store_write(st, buf, sizeof(buf), 0, 0), 0);
	is_int(pl_store_sync(st), 0);
	is_int(pl_store_usage(st, &before), 0);
	is_int(pl_store_punch(st, 4096, sizeof(buf) - 4096), 0);
	is_int(pl_store_sync(st), 0);
	is_int(pl_store_usage(st, &after), 0);
	ok(before >= sizeof(buf));
	ok(after <= before - (sizeof(buf) - 65536));
	is_int(pl_store_size(st, &size), 0);
	is_int(size, sizeof(buf));
	is_int(pl_store_read(st, back, sizeof(back), 0, 0), 0);
	is_int(memcmp(buf, back, 4096), 0);
	ok(all_zero(back + 4096, sizeof(back) - 4096));
	finish(dir, st);
}

pl_test("seek_data finds data, skips holes and says when there is no more")
{
	struct pl_dir *dir;
	struct pl_store *st = fresh(&dir, "usage", 0, NULL);
	uint64_t start, end;

	require(st);
	is_int(pl_store_truncate(st, 64 << 20), 0);
	is_int(pl_store_write(st, buf, 8192, 16 << 20, 0), 0);
	is_int(pl_store_seek_data(st, 0, &start, &end), 0);
	ok(start <= 16 << 20 && start > 15 << 20);
	ok(end >= (16 << 20) + 8192 && end < 17 << 20);
	is_int(pl_store_seek_data(st, end, &start, &end), 0);
	ok(start == UINT64_MAX);
	is_int(pl_store_seek_data(st, 1ull << 40, &start, &end), 0);
	ok(start == UINT64_MAX);
	finish(dir, st);
}

pl_test("data goes around the page cache with direct I/O, metadata does not")
{
	struct pl_dir *dir;
	struct pl_store *st = fresh(&dir, "direct", PL_OPEN_DIRECT, NULL);
	struct pl_err plain;
	struct pl_store *other;

	require(st);
	if (st->align == 1) {
		finish(dir, st);
		skip("direct: this file system has no O_DIRECT");
	}
	ok(st->align == 512 || st->align == 4096);
	is_int(pl_store_write(st, buf, 65536, 0, 0), 0);
	/* Unaligned: only the page cache can. */
	is_int(pl_store_write(st, buf, 100, 65536 + 7, PL_IO_META), 0);
	is_int(pl_store_write(st, buf + 1, 4096, 0, 0), -EINVAL);
	is_int(dir->ops->open(dir, "direct", 0, &other, &plain), 0);
	is_int(pl_store_read(other, back, 65536 + 107, 0, 0), 0);
	is_int(memcmp(back, buf, 65536), 0);
	is_int(memcmp(back + 65536 + 7, buf, 100), 0);
	pl_store_close(other);
	finish(dir, st);
}

int main(void)
{
	return pl_tap_main();
}
