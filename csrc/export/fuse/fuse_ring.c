/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests over io_uring (Linux 6.14, fuse.enable_uring) instead of reads and
 * writes of /dev/fuse: two system calls for a request at a queue depth of one
 * instead of three. The kernel has a queue for each possible processor; an
 * entry of ours waits in one of them, and the command that brings the answer
 * asks for the next request. What the kernel begins (INIT, FORGET) or we do
 * (notifications) goes over the descriptor as ever.
 *
 * The kernel gives an entry to one process for good: what a dead one had taken
 * is neither repeated nor failed while somebody holds the descriptor. So the
 * keeper lets it go (ploopd/device/via_fuse_ring.c), and the device fails.
 *
 * STATES of an entry
 *   waiting --0--> in the engine --answered: COMMIT_AND_FETCH--> waiting
 *   waiting --0, control--> (answered at once) --> waiting
 *   waiting --0, stopped--> (never answered: the file system goes)
 *   waiting --an error--> (the file system is gone, or it could not be put in)
 *
 * INVARIANTS
 *  1. An entry's memory is ours from 0 to COMMIT_AND_FETCH. Outside of that
 *     the kernel writes to it, but only in a turn of the loop; it is taken away
 *     only when the loop is settled (loop.h).
 *  2. There is no way to take an entry back; so the object stays until this
 *     process ends.
 */
#include <errno.h>
#include <liburing.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/co.h"
#include "export/fuse/fuse_int.h"
#include "export/fuse/fuse_places.h"

#define ENTRIES 128u /* of all queues together, within: */
#define DEPTH_MIN 4u
#define DEPTH_MAX 32u
#define LONG (128u << 10) /* a request, from this on */
#define BULK (4u << 20) /* so much in long ones: they get huge pages */

struct pl_fuse_ring_ent {
	struct pl_fuse_slot slot; /* first */
	struct pl_ev fetched;
	struct pl_fuse_ring *ring;
	struct pl_fuse_ring_head *head;
	uint8_t *payload;
	struct iovec iov[2]; /* of these, while it is put in */
	uint64_t answered; /* the turn in which the last answer was queued */
	uint16_t queue;
	bool busy;
};

struct pl_fuse_ring {
	struct pl_fuse *f;
	struct pl_fuse_ring_head *heads;
	struct pl_fuse_places *places;
	uint64_t long_bytes; /* since it was quiet */
	bool trimming; /* the coroutine for too much memory is there */
	bool complained;
	unsigned n;
	struct pl_fuse_ring_ent ent[];
};

static unsigned number_of(const struct pl_fuse_ring_ent *ent)
{
	return (unsigned)(ent - ent->ring->ent);
}

/* ---- memory ---- */

/* The kernel has taken the last answer and not written the next request. */
static bool idle(const struct pl_fuse_ring_ent *ent)
{
	return !ent->busy &&
	       ent->answered < pl_loop_turns(ent->ring->f->p.loop);
}

static bool give_back(struct pl_fuse_ring *r)
{
	if (!pl_loop_settled(r->f->p.loop))
		return false;
	for (unsigned i = 0; i < r->n; i++)
		if (idle(&r->ent[i]))
			pl_fuse_places_shrink(r->places, i);
	return true;
}

bool pl_fuse_ring_shrink(struct pl_fuse_ring *r)
{
	if (!r)
		return true;
	r->long_bytes = 0;
	return give_back(r);
}

static void trim(void *arg)
{
	struct pl_fuse_ring *r = arg;

	give_back(r);
	r->trimming = false;
}

static void note_use(struct pl_fuse_ring_ent *ent, size_t len)
{
	struct pl_fuse_ring *r = ent->ring;

	pl_fuse_places_use(r->places, number_of(ent), len);
	if (len >= LONG && r->long_bytes < BULK)
		r->long_bytes += len;
	if (!r->trimming &&
	    pl_fuse_places_resident(r->places) > r->f->p.max_memory)
		r->trimming = pl_co_start(trim, r) == 0;
}

/* Nothing in its place is needed now. */
static void enlarge(struct pl_fuse_ring_ent *ent, size_t len)
{
	if (len >= LONG && ent->ring->long_bytes >= BULK)
		pl_fuse_places_enlarge(ent->ring->places, number_of(ent));
}

/* ---- commands ---- */

static void command(struct pl_fuse_ring_ent *ent, uint32_t op, uint64_t id)
{
	struct pl_fuse *f = ent->ring->f;
	struct io_uring_sqe *sqe = pl_loop_sqe(f->p.loop, &ent->fetched);
	struct pl_fuse_ring_cmd cmd = { .commit_id = id, .queue = ent->queue };

	memset(sqe, 0, PL_LOOP_WIDE);
	io_uring_sqe_set_data(sqe, &ent->fetched);
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = f->p.fd;
	sqe->cmd_op = op;
	if (op == PL_FUSE_CMD_REGISTER) {
		sqe->addr = (uintptr_t)ent->iov;
		sqe->len = 2;
	}
	memcpy((uint8_t *)sqe + offsetof(struct io_uring_sqe, cmd), &cmd,
	       sizeof(cmd));
}

void pl_fuse_ring_reply(struct pl_fuse_ring_ent *ent, int error,
			const void *data, size_t len)
{
	struct fuse_out_header out = {
		.len = (uint32_t)(sizeof(out) + len),
		.error = error,
		.unique = ent->slot.unique,
	};

	memcpy(ent->head->in_out, &out, sizeof(out));
	if (len && data != ent->payload)
		memcpy(ent->payload, data, len);
	ent->head->entry.payload_len = (uint32_t)len;
	ent->busy = false;
	ent->answered = pl_loop_turns(ent->ring->f->p.loop);
	command(ent, PL_FUSE_CMD_COMMIT_AND_FETCH, ent->head->entry.commit_id);
}

void pl_fuse_ring_answer(struct pl_fuse_slot *slot, int error)
{
	struct pl_fuse_ring_ent *ent = (struct pl_fuse_ring_ent *)slot;
	struct fuse_write_out written = { .size = (uint32_t)slot->req.len };

	slot->fuse->inflight--;
	if (slot->opcode == FUSE_WRITE)
		enlarge(ent, slot->req.len);
	if (error == 0 && slot->opcode == FUSE_READ)
		pl_fuse_ring_reply(ent, 0, ent->payload, slot->req.len);
	else if (error == 0 && slot->opcode == FUSE_WRITE)
		pl_fuse_ring_reply(ent, 0, &written, sizeof(written));
	else
		pl_fuse_ring_reply(ent, error, NULL, 0);
}

/* ---- requests ---- */

static void submit(struct pl_fuse_ring_ent *ent, const struct pl_fuse_msg *msg)
{
	struct pl_fuse *f = ent->ring->f;

	f->inflight++;
	if (msg->opcode == FUSE_READ || msg->opcode == FUSE_WRITE) {
		note_use(ent, msg->u.io.len);
		pl_fuse_shrink_later(f);
	}
	if (msg->opcode == FUSE_READ)
		enlarge(ent, msg->u.io.len);
	pl_fuse_submit(&ent->slot, msg, ent->payload);
}

static void take(struct pl_fuse_ring_ent *ent)
{
	struct pl_fuse *f = ent->ring->f;
	struct pl_fuse_msg msg;
	int rc = pl_fuse_parse_ring(ent->head, ent->payload, &msg);

	f->served++;
	ent->busy = true;
	ent->slot.unique = msg.unique;
	if (rc == 0 && pl_fuse_needs_engine(msg.opcode)) {
		submit(ent, &msg);
		return;
	}
	f->now = ent;
	if (rc < 0)
		pl_fuse_reply_error(f, msg.unique, rc);
	else
		pl_fuse_control(f, &msg);
	f->now = NULL;
}

/* Not when the file system goes. Entries that are lost make others wait. */
static void refused(struct pl_fuse_ring *r, int error)
{
	char text[100];

	if (error == ENOTCONN || error == ECONNABORTED || error == ECANCELED ||
	    r->complained || !r->f->taking)
		return;
	r->complained = true;
	snprintf(text, sizeof(text), "fuse: a command of the ring failed: %s",
		 strerrorname_np(error));
	r->f->p.note(r->f->p.arg, text);
}

static void fetched(struct pl_ev *ev, int res, bool more)
{
	struct pl_fuse_ring_ent *ent =
		(struct pl_fuse_ring_ent
			 *)(void *)((char *)ev -
				    offsetof(struct pl_fuse_ring_ent, fetched));

	(void)more;
	if (res < 0)
		refused(ent->ring, -res);
	else if (ent->ring->f->taking)
		take(ent);
}

/* ---- life ---- */

static void put_in(struct pl_fuse_ring *r, unsigned i)
{
	struct pl_fuse_ring_ent *ent = &r->ent[i];

	ent->ring = r;
	ent->slot.fuse = r->f;
	ent->slot.ringed = true;
	ent->fetched.fn = fetched;
	ent->queue = (uint16_t)(i % r->f->p.ring_queues);
	ent->head = &r->heads[i];
	ent->payload = pl_fuse_places_at(r->places, i);
	ent->iov[0] = (struct iovec){ ent->head, sizeof(*ent->head) };
	ent->iov[1] = (struct iovec){ ent->payload, PL_FUSE_DATA_MAX };
	command(ent, PL_FUSE_CMD_REGISTER, 0);
}

static int heads_new(struct pl_fuse_ring *r)
{
	size_t len = r->n * sizeof(r->heads[0]);
	void *at = mmap(NULL, len, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (at == MAP_FAILED)
		return -errno;
	mlock(at, len);
	r->heads = at;
	return 0;
}

static unsigned depth(unsigned queues)
{
	unsigned n = ENTRIES / queues;

	return n < DEPTH_MIN ? DEPTH_MIN : n > DEPTH_MAX ? DEPTH_MAX : n;
}

void pl_fuse_ring_start(struct pl_fuse *f)
{
	unsigned n = depth(f->p.ring_queues) * f->p.ring_queues;
	struct pl_fuse_ring *r = calloc(1, sizeof(*r) + n * sizeof(r->ent[0]));
	struct pl_err err;

	/* The kernel waits for the ring now, so there is no way back. */
	if (!r || pl_fuse_places_new(&r->places, n, &err) < 0)
		abort();
	r->f = f;
	r->n = n;
	if (heads_new(r) < 0)
		abort();
	f->ring = r;
	for (unsigned i = 0; i < n; i++)
		put_in(r, i);
}
