/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers to the kernel. A failed write is not an error of ours: ENOENT means
 * that the request was aborted meanwhile, ENODEV that the file system is gone.
 */
#include <errno.h>
#include <liburing.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "export/fuse/fuse_int.h"

static void complain(struct pl_fuse *f, uint64_t unique, int error)
{
	char text[120];

	if (error == ENOENT || error == ENODEV || error == EPERM)
		return;
	snprintf(text, sizeof(text),
		 "fuse: the kernel refused the answer to request %llu: %s",
		 (unsigned long long)unique, strerrorname_np(error));
	f->p.note(f->p.arg, text);
}

static int send_out(struct pl_fuse *f, uint64_t unique, int error,
		    const void *data, size_t len)
{
	struct fuse_out_header head = {
		.len = (uint32_t)(sizeof(head) + len),
		.error = error,
		.unique = unique,
	};
	struct iovec iov[2] = {
		{ &head, sizeof(head) },
		{ (void *)(uintptr_t)data, len },
	};
	ssize_t n;

	do {
		n = writev(f->p.fd, iov, len ? 2 : 1);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

static void answered(struct pl_ev *ev, int res, bool more)
{
	struct pl_fuse_slot *slot =
		(struct pl_fuse_slot *)(void *)((char *)ev -
						offsetof(struct pl_fuse_slot,
							 answered));

	(void)more;
	if (res < 0)
		complain(slot->fuse, slot->unique, -res);
	pl_fuse_answered(slot);
}

/*
 * One span of memory, so that it is a plain write: what a READ answers is
 * preceded by room that its request is not needed in any more (fuse_buf.h).
 */
void pl_fuse_answer(struct pl_fuse_slot *slot, int error)
{
	struct fuse_out_header *head = &slot->out.head;
	size_t len = 0;

	if (error == 0 && slot->opcode == FUSE_READ) {
		head = (struct fuse_out_header *)slot->req.buf - 1;
		len = slot->req.len;
	} else if (error == 0 && slot->opcode == FUSE_WRITE) {
		slot->out.write.size = (uint32_t)slot->req.len;
		len = sizeof(slot->out.write);
	}
	head->len = (uint32_t)(sizeof(*head) + len);
	head->error = error;
	head->unique = slot->unique;
	slot->answered.fn = answered;
	io_uring_prep_write(pl_loop_sqe_prompt(slot->fuse->p.loop,
					       &slot->answered),
			    slot->fuse->p.fd, head, head->len, 0);
}

void pl_fuse_reply_data(struct pl_fuse *f, uint64_t unique, const void *data,
			size_t len)
{
	int rc = send_out(f, unique, 0, data, len);

	if (rc < 0)
		complain(f, unique, -rc);
}

void pl_fuse_reply_error(struct pl_fuse *f, uint64_t unique, int error)
{
	int rc = send_out(f, unique, error, NULL, 0);

	if (rc < 0)
		complain(f, unique, -rc);
}

static void fill_attr(struct pl_fuse *f, uint64_t nodeid, struct fuse_attr *at)
{
	bool file = nodeid == PL_FUSE_FILE_ID;

	memset(at, 0, sizeof(*at));
	at->ino = nodeid;
	at->nlink = file ? 1 : 2;
	at->mode = file ? S_IFREG | 0600 : S_IFDIR | 0700;
	at->blksize = pl_engine_block_size(f->p.engine);
	if (file && pl_engine_read_only(f->p.engine))
		at->mode = S_IFREG | 0400;
	if (file)
		at->size = pl_engine_size(f->p.engine);
	at->blocks = at->size / 512;
}

/*
 * The loop driver asks for attributes whenever somebody lists loop devices, and
 * holds the device's lock meanwhile; so that no worker that hangs holds up
 * everybody on the host, the kernel keeps them. A grown disk is told (below).
 */
#define ATTR_VALID_S (366u * 24 * 3600)

void pl_fuse_reply_attr(struct pl_fuse *f, uint64_t unique, uint64_t nodeid)
{
	struct fuse_attr_out out = { .attr_valid = ATTR_VALID_S };

	fill_attr(f, nodeid, &out.attr);
	pl_fuse_reply_data(f, unique, &out, sizeof(out));
}

void pl_fuse_reply_entry(struct pl_fuse *f, uint64_t unique)
{
	struct fuse_entry_out out = { .nodeid = PL_FUSE_FILE_ID,
				      .attr_valid = ATTR_VALID_S };

	fill_attr(f, PL_FUSE_FILE_ID, &out.attr);
	pl_fuse_reply_data(f, unique, &out, sizeof(out));
}

/* The loop driver takes its discard granularity from bsize. */
void pl_fuse_reply_statfs(struct pl_fuse *f, uint64_t unique)
{
	uint32_t bsize = pl_engine_block_size(f->p.engine);
	struct fuse_statfs_out out = {
		.st = {
			.bsize = bsize,
			.frsize = bsize,
			.blocks = pl_engine_size(f->p.engine) / bsize,
			.files = 1,
			.namelen = 255,
		},
	};

	pl_fuse_reply_data(f, unique, &out, sizeof(out));
}

int pl_fuse_resend(struct pl_fuse *f)
{
	/* A notification: no unique, its code in the place of the error. */
	return send_out(f, 0, PL_FUSE_NOTIFY_RESEND, NULL, 0);
}

/*
 * Up to Linux 6.16 the loop device takes the file's size from the inode as it
 * is cached, and nothing asks us for it again. A notification that stores a
 * byte before the new end moves it there. The byte itself is never read: it
 * is a zero in a page that nobody has read in, of a file used directly.
 */
int pl_fuse_grown(struct pl_fuse *f)
{
	struct {
		struct fuse_notify_store_out out;
		char byte;
	} __attribute__((packed)) store = {
		.out = {
			.nodeid = PL_FUSE_FILE_ID,
			.offset = pl_engine_size(f->p.engine) - 1,
			.size = 1,
		},
	};

	return send_out(f, 0, FUSE_NOTIFY_STORE, &store, sizeof(store));
}
