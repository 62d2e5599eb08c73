/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fuse export: gives requests that move data to the engine and answers
 * them; the rest is answered by fuse_control.c. fuse_take.c takes them.
 *
 * INVARIANTS
 *  1. A request is in session->inflight from before the engine sees it until
 *     after its answer was written.
 *  2. Its slot and its memory are free when the kernel has taken the answer.
 *
 * STATES of a slot
 *   free --submit--> in the engine --done--> answering --> free
 */
#include "export/fuse/fuse_export.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "export/fuse/fuse_int.h"

/* ---- slots ---- */

static uint64_t *inflight_of(struct pl_fuse_slot *slot)
{
	struct pl_fuse *f = slot->fuse;

	return &f->p.session->inflight[slot - f->slot];
}

static void slot_put(struct pl_fuse_slot *slot)
{
	struct pl_fuse *f = slot->fuse;

	*inflight_of(slot) = 0;
	pl_fuse_pool_release(f->pool, slot->chunk);
	slot->next = f->free;
	f->free = slot;
	f->inflight--;
}

/* ---- requests through the engine ---- */

static void answer(struct pl_fuse_slot *slot, int res)
{
	if (slot->opcode == FUSE_FALLOCATE && res == -EOPNOTSUPP)
		res = -EIO; /* or the loop device never discards again */
	pl_fuse_answer(slot, res);
}

static void done(struct pl_req *req, int res)
{
	answer((struct pl_fuse_slot *)req, res);
}

void pl_fuse_answered(struct pl_fuse_slot *slot)
{
	struct pl_fuse *f = slot->fuse;

	slot_put(slot);
	pl_fuse_take_on(f);
}

static int prepare_read(struct pl_fuse_slot *slot,
			const struct pl_fuse_msg *msg, uint8_t *data)
{
	uint64_t size = pl_engine_size(slot->fuse->p.engine);
	uint64_t off = msg->u.io.off;

	slot->req.op = PL_REQ_READ;
	slot->req.off = off;
	slot->req.len = msg->u.io.len;
	slot->req.buf = data;
	if (off >= size)
		slot->req.len = 0;
	else if (slot->req.len > size - off)
		slot->req.len = size - off;
	return 0;
}

static int prepare_write(struct pl_fuse_slot *slot,
			 const struct pl_fuse_msg *msg, uint8_t *data)
{
	slot->req.op = PL_REQ_WRITE;
	slot->req.off = msg->u.io.off;
	slot->req.len = msg->u.io.len;
	slot->req.buf = data;
	if (msg->u.io.flags & O_DSYNC)
		slot->req.flags = PL_REQ_FUA;
	return pl_engine_read_only(slot->fuse->p.engine) ? -EROFS : 0;
}

/*
 * PUNCH_HOLE is a discard. ZERO_RANGE, which mkfs and "blkdiscard -z" cause,
 * gives host space back as well: an image is thin, content is what counts.
 */
static int prepare_fallocate(struct pl_fuse_slot *slot,
			     const struct pl_fuse_msg *msg)
{
	uint64_t size = pl_engine_size(slot->fuse->p.engine);
	uint64_t off = msg->u.fallocate.off, len = msg->u.fallocate.len;

	if (msg->u.fallocate.mode ==
	    (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE))
		slot->req.op = PL_REQ_DISCARD;
	else if (msg->u.fallocate.mode ==
		 (FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE))
		slot->req.op = PL_REQ_WRITE_ZEROES;
	else
		return -EINVAL;
	if (pl_engine_read_only(slot->fuse->p.engine))
		return -EROFS;
	slot->req.off = off;
	slot->req.len = off >= size ? 0 : len > size - off ? size - off : len;
	return 0;
}

/* 0: goes to the engine. Otherwise the answer. */
static int prepare(struct pl_fuse_slot *slot, const struct pl_fuse_msg *msg,
		   uint8_t *data)
{
	memset(&slot->req, 0, sizeof(slot->req));
	slot->req.done = done;
	slot->opcode = msg->opcode;
	slot->unique = msg->unique;
	if (msg->nodeid != PL_FUSE_FILE_ID)
		return -EISDIR;
	switch (msg->opcode) {
	case FUSE_READ:
		return prepare_read(slot, msg, data);
	case FUSE_WRITE:
		return prepare_write(slot, msg, data);
	case FUSE_FALLOCATE:
		return prepare_fallocate(slot, msg);
	default:
		slot->req.op = PL_REQ_FLUSH;
		return 0;
	}
}

static bool needs_engine(uint32_t opcode)
{
	return opcode == FUSE_READ || opcode == FUSE_WRITE ||
	       opcode == FUSE_FSYNC || opcode == FUSE_FALLOCATE;
}

static void submit(struct pl_fuse *f, const struct pl_fuse_msg *msg,
		   uint8_t *data)
{
	struct pl_fuse_slot *slot = f->free;
	bool keeps = msg->opcode == FUSE_READ || msg->opcode == FUSE_WRITE;
	int rc = prepare(slot, msg, data);

	f->free = slot->next;
	f->inflight++;
	/* A read takes what it asked for, a write what it brought. */
	f->begun += keeps ? slot->req.len : 0;
	slot->chunk = pl_fuse_pool_keep(f->pool, keeps ? slot->req.len : 0);
	*inflight_of(slot) = slot->unique;
	if (rc < 0 || (slot->req.len == 0 && slot->req.op != PL_REQ_FLUSH))
		answer(slot, rc);
	else
		pl_engine_submit(f->p.engine, &slot->req);
}

void pl_fuse_handle(struct pl_fuse *f, uint8_t *data, size_t len)
{
	struct pl_fuse_msg msg;
	int rc = pl_fuse_parse(data - PL_FUSE_WRITE_HEAD, len, &msg);

	f->served++;
	if (rc == -EBADMSG)
		f->p.note(f->p.arg, "fuse: a request without a header");
	else if (rc < 0)
		pl_fuse_reply_error(f, msg.unique, rc);
	else if (needs_engine(msg.opcode))
		submit(f, &msg, data);
	else
		pl_fuse_control(f, &msg);
}

/* ---- life ---- */

/* Kernels before 6.9 cannot resend: what was in flight fails, not hangs. */
static void fail_lost_requests(struct pl_fuse *f)
{
	struct pl_fuse_session *s = f->p.session;
	unsigned n = 0;
	char text[120];

	for (unsigned i = 0; i < PL_FUSE_SLOTS; i++) {
		if (!s->inflight[i])
			continue;
		pl_fuse_reply_error(f, s->inflight[i], -EIO);
		n++;
	}
	if (n == 0)
		return;
	snprintf(text, sizeof(text),
		 "fuse: this kernel cannot resend requests (Linux 6.9 can): "
		 "%u failed",
		 n);
	f->p.note(f->p.arg, text);
}

static void recover(struct pl_fuse *f)
{
	int rc = pl_fuse_resend(f);

	if (rc == -EINVAL)
		fail_lost_requests(f);
	memset(f->p.session->inflight, 0, sizeof(f->p.session->inflight));
}

int pl_fuse_new(struct pl_fuse **ret, const struct pl_fuse_params *params,
		struct pl_err *err)
{
	struct pl_fuse *f = calloc(1, sizeof(*f));
	int rc;

	if (!f)
		return pl_err_sys(err, -ENOMEM, "fuse export");
	f->p = *params;
	for (unsigned i = PL_FUSE_SLOTS; i-- > 0;) {
		f->slot[i].fuse = f;
		f->slot[i].next = f->free;
		f->free = &f->slot[i];
	}
	rc = pl_fuse_pool_new(&f->pool, params->max_memory, err);
	if (rc < 0)
		goto fail;
	if (!pl_fuse_pool_next(f->pool)) {
		rc = pl_err_sys(err, -ENOMEM, "fuse export");
		goto fail;
	}
	/* INIT itself may be what the last server did not answer. */
	recover(f);
	pl_fuse_take(f);
	*ret = f;
	return 0;
fail:
	pl_fuse_pool_free(f->pool);
	free(f);
	return rc;
}

bool pl_fuse_in_use(const struct pl_fuse *f)
{
	for (unsigned i = 0; f && i < PL_FUSE_HANDLES; i++)
		if (f->p.session->handles[i])
			return true;
	return false;
}

unsigned pl_fuse_inflight(const struct pl_fuse *f)
{
	return f ? f->inflight : 0;
}

void pl_fuse_stop(struct pl_fuse *f)
{
	if (f)
		pl_fuse_take_no_more(f);
}

void pl_fuse_free(struct pl_fuse *f)
{
	if (!f)
		return;
	assert(!f->taking && f->inflight == 0);
	if (f->shrinking || f->armed) {
		f->freeing = true;
		return;
	}
	pl_fuse_pool_free(f->pool);
	free(f);
}
