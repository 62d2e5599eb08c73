/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the bytes of images live. Only this module calls pwrite, fallocate,
 * fsync, rename ... on images; `file` is the real one, `memory`, `faulty` and
 * `recording` serve tests.
 *
 * A store is one file; a directory (pl_dir) opens, renames and removes stores.
 * Names are relative to the image directory: "image.json", "layers/x.plp".
 *
 * Inside a coroutine of a thread that has a loop, calls suspend the coroutine
 * while the I/O is under way; elsewhere they block.
 */
#ifndef PLOOP_STORE_STORE_H
#define PLOOP_STORE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/loop.h"

struct pl_store;
struct pl_dir;
struct pl_loop;

enum pl_io_op {
	PL_IO_READ,
	PL_IO_WRITE,
	PL_IO_SYNC, /* fdatasync: what was written and punched is durable */
	PL_IO_PUNCH, /* deallocate; reads as zeros afterwards; keeps the size */
};

/* Metadata: goes through the page cache, where it outlives this process. */
#define PL_IO_META 1u
/* Of PL_IO_PUNCH: the host space stays allocated where the host can do that. */
#define PL_IO_KEEP 2u
/* Of PL_IO_WRITE: the host has to allocate for it, which may block. */
#define PL_IO_ALLOCATES 4u

/*
 * One operation. res: 0 or -errno. Reads beyond the end of the file give
 * zeros. Data transfers (without PL_IO_META) must have buf, off and len
 * aligned to pl_store_align().
 */
struct pl_io {
	enum pl_io_op op;
	unsigned flags;
	uint64_t off, len;
	void *buf;
	int res;
	bool done;
	void (*fn)(struct pl_io *io); /* called once when done */
	void *user;
	/* the store's own while the operation is under way */
	struct pl_ev ev;
	struct pl_store *st;
	uint64_t progress, start_ns;
};

/*
 * Who looks at a file that somebody else may want to change, holds it shared;
 * who changes a file that others may look at, exclusively. Both refuse instead
 * of waiting. It belongs to the open store, not to the process.
 */
enum pl_store_lock {
	PL_STORE_UNLOCKED,
	PL_STORE_SHARED,
	PL_STORE_EXCLUSIVE, /* of a store that is open for writing */
};

struct pl_store_ops {
	const char *name;
	void (*submit)(struct pl_store *st, struct pl_io *io);
	int (*size)(struct pl_store *st, uint64_t *ret_bytes);
	int (*truncate)(struct pl_store *st, uint64_t size);
	/*
	 * The next range [*ret_start, *ret_end) that may hold data at or after
	 * off; *ret_start = UINT64_MAX when there is none.
	 */
	int (*seek_data)(struct pl_store *st, uint64_t off, uint64_t *ret_start,
			 uint64_t *ret_end);
	int (*usage)(struct pl_store *st, uint64_t *ret_host_bytes);
	/* May be NULL, as the four below: see their functions. */
	int (*seek_space)(struct pl_store *st, uint64_t off,
			  uint64_t *ret_start, uint64_t *ret_end);
	int (*clone)(struct pl_store *st, uint64_t off, struct pl_store *from,
		     uint64_t from_off, uint64_t len);
	int (*lock)(struct pl_store *st, enum pl_store_lock lock);
	int (*links)(struct pl_store *st, uint64_t *ret);
	void (*close)(struct pl_store *st);
};

struct pl_store {
	const struct pl_store_ops *ops;
	uint32_t align; /* of data transfers, bytes */
};

int pl_store_read(struct pl_store *st, void *buf, uint64_t len, uint64_t off,
		  unsigned flags);
int pl_store_write(struct pl_store *st, const void *buf, uint64_t len,
		   uint64_t off, unsigned flags);
int pl_store_sync(struct pl_store *st);
int pl_store_punch(struct pl_store *st, uint64_t off, uint64_t len);
/* Reads as zeros afterwards, too, but keeps its host space (PL_IO_KEEP). */
int pl_store_clear(struct pl_store *st, uint64_t off, uint64_t len);
int pl_store_size(struct pl_store *st, uint64_t *ret_bytes);
int pl_store_truncate(struct pl_store *st, uint64_t size);
int pl_store_seek_data(struct pl_store *st, uint64_t off, uint64_t *ret_start,
		       uint64_t *ret_end);
/*
 * The same for what occupies host space, zeros that were kept included.
 * -EOPNOTSUPP where that is not known.
 */
int pl_store_seek_space(struct pl_store *st, uint64_t off, uint64_t *ret_start,
			uint64_t *ret_end);
int pl_store_usage(struct pl_store *st, uint64_t *ret_host_bytes);
/*
 * Makes the range hold what `from` holds, sharing its host space (a reflink);
 * -EOPNOTSUPP where that can't be, and nothing has changed. Blocks.
 */
int pl_store_clone(struct pl_store *st, uint64_t off, struct pl_store *from,
		   uint64_t from_off, uint64_t len);
/* -EBUSY: another open store holds a lock that excludes this one. */
int pl_store_lock(struct pl_store *st, enum pl_store_lock lock);
/* Names (hard links) that the file has. */
int pl_store_links(struct pl_store *st, uint64_t *ret);
void pl_store_close(struct pl_store *st); /* accepts NULL */

/* Starts n operations and waits for all; the first failure, or 0. */
int pl_store_run(struct pl_store *const *st, struct pl_io *io, unsigned n);

/* ---- directories ---- */

#define PL_OPEN_WRITE 1u
#define PL_OPEN_CREATE 2u /* must not exist (O_EXCL) */
#define PL_OPEN_DIRECT 4u /* data bypasses the page cache where possible */
#define PL_OPEN_BESIDE \
	8u /* with WRITE: this process may have it open for \
			     writing already, so nobody's I/O is waited for */

struct pl_dir_ops {
	const char *name;
	/*
	 * With WRITE: waits for the last writes of a process that was killed
	 * with the file open for writing; TIMEOUT after ten seconds.
	 */
	int (*open)(struct pl_dir *dir, const char *name, unsigned flags,
		    struct pl_store **ret, struct pl_err *err);
	int (*rename)(struct pl_dir *dir, const char *from, const char *to);
	int (*unlink)(struct pl_dir *dir, const char *name);
	int (*mkdir)(struct pl_dir *dir, const char *name);
	/* A second name here for a file of another directory; may be NULL. */
	int (*link)(struct pl_dir *dir, struct pl_dir *from, const char *name);
	/* Makes creations, renames and removals under `sub` ("" = top) durable. */
	int (*sync)(struct pl_dir *dir, const char *sub);
	int (*list)(struct pl_dir *dir, const char *sub,
		    int (*each)(void *arg, const char *name), void *arg);
	/*
	 * Takes the image's lock, exclusive or shared, without waiting. -EBUSY:
	 * err says who holds it. `who` names the taker for others to read.
	 */
	int (*lock)(struct pl_dir *dir, bool exclusive, const char *who,
		    struct pl_err *err);
	void (*unlock)(struct pl_dir *dir);
	void (*close)(struct pl_dir *dir);
};

struct pl_dir {
	const struct pl_dir_ops *ops;
	char path[256]; /* for messages */
};

/*
 * A directory of the host. loop may be NULL (everything blocks). PL_OPEN_CREATE
 * makes the directory. Symbolic links inside are refused.
 */
int pl_dir_open(struct pl_dir **ret, const char *path, unsigned flags,
		struct pl_loop *loop, struct pl_err *err);
/* Stores of dir opened from now on use loop. */
void pl_dir_set_loop(struct pl_dir *dir, struct pl_loop *loop);
/*
 * A file descriptor that holds dir's lock, for handing the lock to another
 * process: the lock lasts until every duplicate is closed. -1 = not locked.
 */
int pl_dir_lock_fd(const struct pl_dir *dir);
/*
 * Makes `name` a file that holds text: written and durable as `fresh` (what is
 * left under that name is removed) before it is renamed. The rename is durable
 * only after dir->ops->sync(dir, "").
 */
int pl_dir_replace(struct pl_dir *dir, const char *name, const char *fresh,
		   const char *text, struct pl_err *err);
/* The first half of it, up to the rename. */
int pl_dir_write_new(struct pl_dir *dir, const char *fresh, const char *text,
		     struct pl_err *err);
/*
 * In memory, for tests. yield_seed != 0: inside a coroutine, operations take
 * effect at once but complete after pseudo-random turns.
 */
int pl_dir_memory(struct pl_dir **ret, uint64_t yield_seed);
void pl_dir_close(struct pl_dir *dir); /* accepts NULL */

#endif
