/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fuse export with this test in the kernel's place: a socket that keeps
 * message boundaries stands for /dev/fuse, the image lives in memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/co.h"
#include "base/loop.h"
#include "engine/engine.h"
#include "export/fuse/fuse_export.h"
#include "export/fuse/fuse_wire.h"
#include "image/image.h"
#include "store/store.h"
#include "tap.h"

#define SIZE (64u << 20) /* bytes of the disk */
#define FILE_ID 2

struct reply {
	struct fuse_out_header head;
	uint8_t data[70000];
};

static struct pl_loop *loop;
static struct pl_dir *dir;
static struct pl_image *image;
static struct pl_engine *engine;
static struct pl_fuse *fuse;
static struct pl_fuse_session session;
static int kernel; /* our end */
static int server;
static unsigned gone, notes;
static struct reply reply;

static void on_gone(void *arg)
{
	(void)arg;
	gone++;
}

static void on_note(void *arg, const char *text)
{
	(void)arg, (void)text;
	notes++;
}

static void serve(void)
{
	struct pl_fuse_params p = { .loop = loop,
				    .engine = engine,
				    .fd = server,
				    .session = &session,
				    .name = "ploop:x",
				    .max_memory = 2u << 20,
				    .gone = on_gone,
				    .note = on_note };
	struct pl_err err = { 0 };

	if (!ok(pl_fuse_new(&fuse, &p, &err) == 0))
		printf("# %s\n", err.msg);
}

static void setup(bool read_only)
{
	struct pl_image_params params = { .size = SIZE };
	struct pl_chain *chain;
	struct pl_err err = { 0 };
	int pair[2];

	memset(&session, 0, sizeof(session));
	gone = notes = 0;
	is_int(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
	kernel = pair[0];
	server = pair[1];
	is_int(pl_loop_new(&loop, 64, &err), 0);
	is_int(pl_dir_memory(&dir, 0), 0);
	is_int(pl_image_create(dir, &params, &err), 0);
	is_int(pl_image_open(&image, dir, PL_IMAGE_WRITE, "test", &err), 0);
	is_int(pl_image_open_chain(image, NULL, read_only, NULL, &chain, &err),
	       0);
	is_int(pl_engine_new(&engine, loop, chain, &err), 0);
	serve();
}

static void turn(int n)
{
	while (n-- > 0)
		pl_loop_turn(loop, false);
}

static void teardown(void)
{
	struct pl_err err = { 0 };

	pl_fuse_stop(fuse);
	turn(10);
	is_int(pl_fuse_inflight(fuse), 0);
	pl_fuse_free(fuse);
	/* A coroutine that waits for quiet may still hold it: let it go. */
	for (int i = 0; i < 25; i++) {
		usleep(100000);
		turn(2);
	}
	is_int(pl_engine_close(engine, &err), 0);
	pl_image_close(image);
	pl_dir_close(dir);
	pl_loop_free(loop);
	pl_co_trim();
	close(kernel);
	close(server);
}

static void ask(uint32_t opcode, uint64_t unique, const void *body, size_t len)
{
	uint8_t bytes[70000];
	struct fuse_in_header head = { .len = (uint32_t)(sizeof(head) + len),
				       .opcode = opcode,
				       .unique = unique,
				       .nodeid = FILE_ID };

	if (opcode == FUSE_LOOKUP || opcode == FUSE_INIT)
		head.nodeid = FUSE_ROOT_ID;
	memcpy(bytes, &head, sizeof(head));
	memcpy(bytes + sizeof(head), body, len);
	is_int(send(kernel, bytes, head.len, 0), head.len);
}

/* The next answer's error, or 1 when there is none. */
static int hear(void)
{
	ssize_t n = -1;

	for (int i = 0; i < 50 && n < 0; i++) {
		turn(1);
		n = recv(kernel, &reply, sizeof(reply), MSG_DONTWAIT);
	}
	if (n < 0)
		return 1;
	is_int(reply.head.len, n);
	return reply.head.error;
}

static int call(uint32_t opcode, uint64_t unique, const void *body, size_t len)
{
	int rc;

	ask(opcode, unique, body, len);
	rc = hear();
	is_int(reply.head.unique, unique);
	return rc;
}

static int write_at(uint64_t unique, uint64_t off, uint8_t fill, uint32_t len)
{
	uint8_t body[sizeof(struct fuse_write_in) + 65536];
	struct fuse_write_in in = { .offset = off, .size = len };

	memcpy(body, &in, sizeof(in));
	memset(body + sizeof(in), fill, len);
	return call(FUSE_WRITE, unique, body, sizeof(in) + len);
}

/* The byte that fills a range, or -1. */
static int read_at(uint64_t off, uint32_t len)
{
	struct fuse_read_in in = { .offset = off, .size = len };

	if (call(FUSE_READ, 99, &in, sizeof(in)) != 0 ||
	    reply.head.len - sizeof(reply.head) != len)
		return -1;
	for (uint32_t i = 1; i < len; i++)
		if (reply.data[i] != reply.data[0])
			return -1;
	return reply.data[0];
}

static int punch(uint64_t off, uint64_t len, uint32_t mode)
{
	struct fuse_fallocate_in in = { .offset = off,
					.length = len,
					.mode = mode };

	return call(FUSE_FALLOCATE, 98, &in, sizeof(in));
}

pl_test("a first server asks the kernel to resend, then shakes hands")
{
	struct fuse_init_in in = { .major = 7,
				   .minor = 40,
				   .flags = 0xffffffff,
				   .flags2 = 0xffffffff };
	struct fuse_init_out out;

	setup(false);
	is_int(hear(), PL_FUSE_NOTIFY_RESEND);
	is_int(reply.head.unique, 0);
	is_int(call(FUSE_INIT, 2, &in, sizeof(in)), 0);
	memcpy(&out, reply.data, sizeof(out));
	is_int(out.major, 7);
	is_int(out.max_background, 256);
	is_int(out.max_write, 1 << 20);
	is_int(out.max_pages, 256);
	ok(out.flags & FUSE_ASYNC_DIO);
	ok(!(out.flags & FUSE_WRITEBACK_CACHE));
	is_int(out.flags2, PL_FUSE_HAS_RESEND >> 32);
	is_int(session.initialised, 1);
	in.minor = 27;
	is_int(call(FUSE_INIT, 4, &in, sizeof(in)), -EPROTO);
	is_int(notes, 1);
	teardown();
}

pl_test("finds one file by two names, and refuses everything else")
{
	struct fuse_entry_out entry;
	struct fuse_statfs_out st;

	setup(false);
	hear();
	is_int(call(FUSE_LOOKUP, 2, "disk", 5), 0);
	memcpy(&entry, reply.data, sizeof(entry));
	is_int(entry.attr.size, SIZE);
	ok(entry.attr_valid >
	   24 * 3600); /* who lists loop devices asks the kernel */
	is_int(call(FUSE_LOOKUP, 4, "ploop:x", 8), 0);
	is_int(call(FUSE_LOOKUP, 6, "other", 6), -ENOENT);
	is_int(call(FUSE_STATFS, 8, "", 0), 0);
	memcpy(&st, reply.data, sizeof(st));
	is_int(st.st.bsize, 4096);
	is_int(call(FUSE_MKDIR, 10, "", 0), -ENOSYS);
	ask(FUSE_FORGET, 12, "", 0);
	is_int(hear(), 1);
	teardown();
}

pl_test("writes, reads, discards and flushes")
{
	struct fuse_fsync_in sync = { 0 };

	setup(false);
	hear();
	is_int(write_at(2, 8192, 'a', 65536), 0);
	is_int(((struct fuse_write_out *)reply.data)->size, 65536);
	is_int(read_at(8192, 65536), 'a');
	is_int(call(FUSE_FSYNC, 4, &sync, sizeof(sync)), 0);
	is_int(punch(8192, 4096, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE),
	       0);
	is_int(read_at(8192, 4096), 0);
	is_int(punch(12288, 512, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE),
	       0);
	is_int(read_at(12288, 512), 0);
	is_int(read_at(12800, 3584), 'a');
	is_int(punch(0, 4096, 0), -EINVAL);
	/* Beyond the end: nothing to do, never EOPNOTSUPP. */
	is_int(punch(SIZE, 4096, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE),
	       0);
	is_int(punch(SIZE - 4096, UINT32_MAX / 512 * 512,
		     FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE),
	       0);
	teardown();
}

pl_test("refuses what does not fit the disk or its sectors")
{
	struct fuse_read_in in = { .offset = SIZE, .size = 4096 };

	setup(false);
	hear();
	is_int(write_at(2, SIZE, 'a', 4096), -ENOSPC);
	is_int(write_at(2, 100, 'a', 4096), -EINVAL);
	is_int(write_at(2, 0, 'a', 100), -EINVAL);
	is_int(write_at(2, UINT64_MAX - 511, 'a', 512), -ENOSPC);
	is_int(call(FUSE_READ, 4, &in, sizeof(in)), 0);
	is_int(reply.head.len, sizeof(reply.head));
	in.offset = SIZE - 512;
	is_int(call(FUSE_READ, 6, &in, sizeof(in)), 0);
	is_int(reply.head.len, sizeof(reply.head) + 512);
	teardown();
}

pl_test("a read-only disk refuses every change")
{
	struct fuse_open_in in = { .flags = O_RDWR };

	setup(true);
	hear();
	is_int(write_at(2, 0, 'a', 4096), -EROFS);
	is_int(punch(0, 4096, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE),
	       -EROFS);
	is_int(call(FUSE_OPEN, 4, &in, sizeof(in)), -EROFS);
	in.flags = O_RDONLY;
	is_int(call(FUSE_OPEN, 4, &in, sizeof(in)), 0);
	teardown();
}

pl_test("an open that is handed out twice counts once, across servers")
{
	struct fuse_open_in in = { .flags = O_RDWR };
	struct fuse_release_in release;
	struct fuse_open_out out;

	setup(false);
	hear();
	ok(!pl_fuse_in_use(fuse));
	is_int(call(FUSE_OPEN, 20, &in, sizeof(in)), 0);
	memcpy(&out, reply.data, sizeof(out));
	ok(out.open_flags & FOPEN_DIRECT_IO);
	ok(out.open_flags & FOPEN_PARALLEL_DIRECT_WRITES);
	pl_fuse_stop(fuse);
	turn(5);
	pl_fuse_free(fuse);
	serve();
	is_int(hear(), PL_FUSE_NOTIFY_RESEND);
	ok(pl_fuse_in_use(fuse));
	/* Answered as it was asked, with the bit. */
	is_int(call(FUSE_OPEN, 20 | PL_FUSE_UNIQUE_RESEND, &in, sizeof(in)), 0);
	release = (struct fuse_release_in){ .fh = out.fh };
	is_int(call(FUSE_RELEASE, 22, &release, sizeof(release)), 0);
	ok(!pl_fuse_in_use(fuse));
	is_int(call(FUSE_RELEASE, 22, &release, sizeof(release)), 0);
	teardown();
}

static void ask_for_reads(unsigned n)
{
	struct fuse_read_in in = { .size = 4096 };

	for (unsigned i = 0; i < n; i++)
		ask(FUSE_READ, 100 + 2 * i, &in, sizeof(in));
}

pl_test("takes together what comes together, once that has been seen")
{
	setup(false);
	hear();
	for (int round = 0; round < 16; round++) {
		ask_for_reads(6);
		for (int i = 0; i < 6; i++)
			is_int(hear(), 0);
	}
	ask_for_reads(6);
	pl_loop_turn(loop, true);
	is_int(pl_fuse_inflight(fuse), 6);
	for (int i = 0; i < 6; i++)
		is_int(hear(), 0);
	teardown();
}

pl_test("begins a long request before it takes another")
{
	struct fuse_read_in in = { .size = 65536 };

	setup(false);
	hear();
	for (int round = 0; round < 16; round++) {
		ask_for_reads(6);
		for (int i = 0; i < 6; i++)
			is_int(hear(), 0);
	}
	for (unsigned i = 0; i < 6; i++)
		ask(FUSE_READ, 1000 + i, &in, sizeof(in));
	pl_loop_turn(loop, true);
	is_int(pl_fuse_inflight(fuse), 1);
	for (int i = 0; i < 6; i++)
		is_int(hear(), 0);
	teardown();
}

static void pause_engine(void *arg)
{
	pl_engine_pause(arg);
}

pl_test("takes as many requests as it has memory for, the others later")
{
	struct fuse_read_in in = { .size = 65536 };
	int bytes = 64 << 20;
	unsigned answered = 0;

	setup(false);
	hear();
	if (setsockopt(server, SOL_SOCKET, SO_SNDBUFFORCE, &bytes,
		       sizeof(bytes)) < 0) {
		teardown();
		skip("root: needs a large socket buffer");
	}
	pl_co_start(pause_engine, engine);
	turn(2);
	for (unsigned i = 0; i < 150; i++)
		ask(FUSE_READ, 1000 + i, &in, sizeof(in));
	turn(20);
	/* 2 MiB hold 16 of these beside room for the largest request. */
	is_int(pl_fuse_inflight(fuse), 16);
	is_int(hear(), 1);
	pl_engine_resume(engine);
	while (hear() == 0)
		answered++;
	is_int(answered, 150);
	is_int(pl_fuse_inflight(fuse), 0);
	for (unsigned i = 0; i < PL_FUSE_SLOTS; i++)
		ok(session.inflight[i] == 0);
	teardown();
}

pl_test("survives requests that are cut short or make no sense")
{
	uint8_t bytes[128] = { 0 };
	uint64_t seed = 1;

	setup(false);
	hear();
	for (int i = 0; i < 3000; i++) {
		for (size_t b = 0; b < sizeof(bytes); b += 8) {
			seed = seed * 6364136223846793005u +
			       1442695040888963407u;
			memcpy(bytes + b, &seed, 8);
		}
		bytes[4] = (uint8_t)(seed >> 40) % 54;
		bytes[5] = bytes[6] = bytes[7] = 0;
		size_t len = 1 + (seed >> 33) % sizeof(bytes);
		if (i % 2) {
			uint32_t n = (uint32_t)len;

			memcpy(bytes, &n, 4);
			bytes[16] = (uint8_t)(1 + i % 3);
			memset(bytes + 17, 0, 7);
		}
		send(kernel, bytes, len, 0);
		turn(2);
		while (recv(kernel, &reply, sizeof(reply), MSG_DONTWAIT) > 0)
			;
	}
	is_int(write_at(2, 0, 'z', 4096), 0);
	is_int(read_at(0, 4096), 'z');
	teardown();
}

pl_test("notices once that the file system is gone")
{
	setup(false);
	hear();
	close(kernel);
	turn(10);
	is_int(gone, 1);
	kernel = open("/dev/null", O_RDONLY | O_CLOEXEC);
	teardown();
}

int main(void)
{
	return pl_tap_main();
}
