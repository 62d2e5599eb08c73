/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FUSE requests that are answered on the spot: the handshake, the file's name,
 * attributes, open and release. The file system has a root directory and one
 * file in it; everything else does not exist.
 *
 * Each of these may be handed out twice (the server died before its answer),
 * so a handle is the number of the request that opened it: opening twice
 * gives the same handle, releasing twice frees it once.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "export/fuse/fuse_int.h"

#define MAX_BACKGROUND 256u
#define OUR_MINOR 38u

/* What we ask for, where the kernel offers it. */
#define WANTED                                                             \
	(FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_ASYNC_DIO |              \
	 FUSE_PARALLEL_DIROPS | FUSE_MAX_PAGES | (uint64_t)FUSE_INIT_EXT | \
	 PL_FUSE_HAS_RESEND)

static void do_init(struct pl_fuse *f, const struct pl_fuse_msg *msg)
{
	struct pl_fuse_session *s = f->p.session;
	uint64_t flags = msg->u.init.flags & WANTED;
	struct fuse_init_out out = {
		.major = FUSE_KERNEL_VERSION,
		.minor = OUR_MINOR,
		.max_readahead = msg->u.init.max_readahead,
		.flags = (uint32_t)flags,
		.flags2 = (uint32_t)(flags >> 32),
		.max_background = MAX_BACKGROUND,
		.congestion_threshold = MAX_BACKGROUND * 3 / 4,
		.max_write = PL_FUSE_DATA_MAX,
		.max_pages = PL_FUSE_DATA_MAX / 4096,
		.time_gran = 1,
	};

	/* A newer major: it asks again with ours. Older than 7.28 (Linux
	 * 4.20): requests would be a different size. */
	if (msg->u.init.major < FUSE_KERNEL_VERSION ||
	    (msg->u.init.major == FUSE_KERNEL_VERSION &&
	     msg->u.init.minor < 28)) {
		f->p.note(f->p.arg, "fuse: the kernel's protocol is too old");
		pl_fuse_reply_error(f, msg->unique, -EPROTO);
		return;
	}
	s->minor = msg->u.init.minor;
	s->flags = flags;
	s->initialised = 1;
	pl_fuse_reply_data(f, msg->unique, &out, sizeof(out));
}

static uint64_t *find_handle(struct pl_fuse_session *s, uint64_t handle)
{
	for (unsigned i = 0; i < PL_FUSE_HANDLES; i++)
		if (s->handles[i] == handle)
			return &s->handles[i];
	return NULL;
}

static void do_open(struct pl_fuse *f, const struct pl_fuse_msg *msg)
{
	uint64_t handle = msg->unique & ~PL_FUSE_UNIQUE_RESEND;
	struct fuse_open_out out = {
		.fh = handle,
		.open_flags = FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES,
	};
	uint64_t *place = find_handle(f->p.session, handle);
	int error = 0;

	if (!place)
		place = find_handle(f->p.session, 0);
	if (msg->nodeid != PL_FUSE_FILE_ID)
		error = -EISDIR;
	else if ((msg->u.open.flags & O_ACCMODE) != O_RDONLY &&
		 pl_engine_read_only(f->p.engine))
		error = -EROFS;
	else if (!place)
		error = -EMFILE;
	if (error) {
		pl_fuse_reply_error(f, msg->unique, error);
		return;
	}
	*place = handle;
	pl_fuse_reply_data(f, msg->unique, &out, sizeof(out));
}

static void do_release(struct pl_fuse *f, const struct pl_fuse_msg *msg)
{
	uint64_t fh = msg->u.handle.fh;
	uint64_t *place = fh ? find_handle(f->p.session, fh) : NULL;

	if (place)
		*place = 0;
	pl_fuse_reply_error(f, msg->unique, 0);
}

static void do_lookup(struct pl_fuse *f, const struct pl_fuse_msg *msg)
{
	const char *name = msg->u.name;

	if (msg->nodeid == FUSE_ROOT_ID &&
	    (!strcmp(name, "disk") || !strcmp(name, f->p.name)))
		pl_fuse_reply_entry(f, msg->unique);
	else
		pl_fuse_reply_error(f, msg->unique, -ENOENT);
}

/* The size is the image's; times, owner and mode are nobody's concern. */
static void do_setattr(struct pl_fuse *f, const struct pl_fuse_msg *msg)
{
	if ((msg->u.setattr.valid & FATTR_SIZE) &&
	    msg->u.setattr.size != pl_engine_size(f->p.engine))
		pl_fuse_reply_error(f, msg->unique, -EPERM);
	else
		pl_fuse_reply_attr(f, msg->unique, msg->nodeid);
}

static bool known_node(const struct pl_fuse_msg *msg)
{
	return msg->nodeid == FUSE_ROOT_ID || msg->nodeid == PL_FUSE_FILE_ID;
}

void pl_fuse_control(struct pl_fuse *f, const struct pl_fuse_msg *msg)
{
	switch (msg->opcode) {
	case FUSE_INIT:
		do_init(f, msg);
		break;
	case FUSE_LOOKUP:
		do_lookup(f, msg);
		break;
	case FUSE_GETATTR:
		if (known_node(msg))
			pl_fuse_reply_attr(f, msg->unique, msg->nodeid);
		else
			pl_fuse_reply_error(f, msg->unique, -ENOENT);
		break;
	case FUSE_SETATTR:
		do_setattr(f, msg);
		break;
	case FUSE_OPEN:
		do_open(f, msg);
		break;
	case FUSE_RELEASE:
		do_release(f, msg);
		break;
	case FUSE_STATFS:
		pl_fuse_reply_statfs(f, msg->unique);
		break;
	case FUSE_DESTROY:
		pl_fuse_reply_error(f, msg->unique, 0);
		break;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
		break; /* has no answer; our one node is never forgotten */
	default:
		pl_fuse_reply_error(f, msg->unique, -ENOSYS);
	}
}
