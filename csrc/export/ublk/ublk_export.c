/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ublk export: see ublk_export.h. A tag is a slot of the kernel's queue:
 * it carries one request at a time, and the command that brings the answer
 * asks for the next one.
 *
 * STATES of a tag
 *   fetching --OK--> in the engine --done: COMMIT_AND_FETCH--> fetching
 *   fetching --OK, not served yet--> early --pl_ublk_serve()--> in the engine
 *   fetching --OK, stopped--> (left to the next server)
 *   fetching --ABORT--> (the device is gone)
 *
 * INVARIANTS
 *  1. The memory of a tag is ours from OK to COMMIT_AND_FETCH. Outside of that
 *     the kernel writes to it, but only in a turn of the loop; it is taken away
 *     only when the loop is settled (loop.h).
 *  2. There is no way to end the commands but the end of the device or of this
 *     process; so the object stays until then.
 */
#include "export/ublk/ublk_export.h"

#include <errno.h>
#include <liburing.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/co.h"
#include "base/loop.h"
#include "export/ublk/ublk_buf.h"
#include "export/ublk/ublk_parse.h"

#define PAGE 4096u
#define QUIET_MS 2000u /* without a request: memory goes back */
#define RESIDENT_MAX (16u << 20) /* bytes; beyond that idle tags get no more */

struct tag {
	struct pl_req req; /* first: the engine hands this back */
	struct pl_ev fetched;
	struct pl_ublk *ublk;
	uint64_t answered; /* the turn in which the last answer was queued */
	bool early, busy;
};

struct pl_ublk {
	struct pl_ublk_params p;
	struct pl_engine *engine; /* NULL until it is served */
	const volatile struct pl_ublk_io_desc *desc;
	struct pl_ublk_bufs *bufs;
	unsigned inflight;
	bool stopped, gone;
	bool shrinking; /* the coroutine for quiet is there */
	bool trimming; /* the coroutine for too much is there */
	uint64_t served; /* requests, to notice quiet */
	int error; /* of a command, -errno */
	struct tag tag[];
};

static unsigned number_of(const struct tag *tag)
{
	return (unsigned)(tag - tag->ublk->tag);
}

/* ---- memory goes back when it is quiet, or too much ---- */

/*
 * The kernel has copied what the last answer of the tag read, and not yet
 * copied what the next request writes (or we would have been told).
 */
static bool idle(const struct tag *tag)
{
	return !tag->busy && !tag->early &&
	       tag->answered < pl_loop_turns(tag->ublk->p.loop);
}

static bool shrink(struct pl_ublk *u)
{
	if (!pl_loop_settled(u->p.loop))
		return false;
	for (unsigned i = 0; i < u->p.depth; i++)
		if (idle(&u->tag[i]))
			pl_ublk_bufs_shrink(u->bufs, i);
	return true;
}

static void shrink_when_quiet(void *arg)
{
	struct pl_ublk *u = arg;
	uint64_t seen;

	do {
		seen = u->served;
		pl_loop_sleep_ms(u->p.loop, QUIET_MS);
	} while (u->inflight || u->served != seen || !shrink(u));
	u->shrinking = false;
}

static void shrink_now(void *arg)
{
	struct pl_ublk *u = arg;

	shrink(u);
	u->trimming = false;
}

static void shrink_later(struct pl_ublk *u)
{
	if (!u->shrinking && !u->stopped)
		u->shrinking = pl_co_start(shrink_when_quiet, u) == 0;
	if (!u->trimming && pl_ublk_bufs_resident(u->bufs) > RESIDENT_MAX)
		u->trimming = pl_co_start(shrink_now, u) == 0;
}

/* ---- commands ---- */

static void command(struct tag *tag, uint32_t op, int32_t result)
{
	struct pl_ublk *u = tag->ublk;
	struct io_uring_sqe *sqe = pl_loop_sqe(u->p.loop, &tag->fetched);
	struct pl_ublk_io_cmd cmd = {
		.tag = (uint16_t)number_of(tag),
		.result = result,
		.addr = (uintptr_t)pl_ublk_bufs_at(u->bufs, number_of(tag)),
	};

	memset(sqe, 0, sizeof(*sqe));
	io_uring_sqe_set_data(sqe, &tag->fetched);
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = u->p.fd;
	sqe->cmd_op = op;
	memcpy((uint8_t *)sqe + offsetof(struct io_uring_sqe, cmd), &cmd,
	       sizeof(cmd));
}

/* ---- requests through the engine ---- */

static void commit(struct tag *tag, int res)
{
	if (res == -EOPNOTSUPP && tag->req.op == PL_REQ_DISCARD)
		res = -EIO; /* or the kernel never discards again */
	tag->busy = false;
	tag->answered = pl_loop_turns(tag->ublk->p.loop);
	tag->ublk->inflight--;
	command(tag, PL_UBLK_IO_COMMIT_AND_FETCH,
		pl_ublk_result(&tag->req, res));
}

static void done(struct pl_req *req, int res)
{
	commit((struct tag *)req, res);
}

static void take(struct tag *tag)
{
	struct pl_ublk *u = tag->ublk;
	unsigned i = number_of(tag);
	int rc;

	memset(&tag->req, 0, sizeof(tag->req));
	tag->req.done = done;
	rc = pl_ublk_parse(&u->desc[i], pl_ublk_bufs_at(u->bufs, i),
			   u->p.max_bytes, &tag->req);
	tag->early = false;
	tag->busy = true;
	u->inflight++;
	u->served++;
	if (rc == 0 && tag->req.buf)
		pl_ublk_bufs_use(u->bufs, i, tag->req.len);
	shrink_later(u);
	if (rc < 0 || (tag->req.len == 0 && tag->req.op != PL_REQ_FLUSH))
		commit(tag, rc);
	else
		pl_engine_submit(u->engine, &tag->req);
}

/* ---- what a fetch ends with ---- */

static void device_gone(struct pl_ublk *u)
{
	if (u->gone)
		return;
	u->gone = true;
	if (!u->stopped && u->engine)
		u->p.gone(u->p.arg);
}

/*
 * The kernel does not take what we say. What it holds for us can not be
 * answered any more; the next server gets it.
 */
static void refused(struct pl_ublk *u, int error)
{
	char text[100];

	u->error = error;
	if (!u->engine)
		return; /* pl_ublk_new() sees it */
	snprintf(text, sizeof(text), "ublk: a command failed: %s",
		 strerrorname_np(-error));
	u->p.note(u->p.arg, text);
	abort();
}

static void fetched(struct pl_ev *ev, int res, bool more)
{
	struct tag *tag = (struct tag *)(void *)((char *)ev -
						 offsetof(struct tag, fetched));
	struct pl_ublk *u = tag->ublk;

	(void)more;
	if (res == PL_UBLK_IO_ABORT)
		device_gone(u);
	else if (res < 0)
		refused(u, res);
	else if (!u->engine)
		tag->early = true;
	else if (!u->stopped)
		take(tag);
}

/* ---- life ---- */

static int map_descriptors(struct pl_ublk *u, struct pl_err *err)
{
	size_t len = (u->p.depth * sizeof(struct pl_ublk_io_desc) + PAGE - 1) &
		     ~(size_t)(PAGE - 1);
	void *at = mmap(NULL, len, PROT_READ, MAP_SHARED, u->p.fd, 0);

	if (at == MAP_FAILED)
		return pl_err_sys(err, -errno, "mapping the ublk queue");
	u->desc = at;
	return 0;
}

static int fetch_all(struct pl_ublk *u, struct pl_err *err)
{
	int rc;

	for (unsigned i = 0; i < u->p.depth; i++) {
		u->tag[i].ublk = u;
		u->tag[i].fetched.fn = fetched;
		command(&u->tag[i], PL_UBLK_IO_FETCH, 0);
	}
	rc = pl_loop_turn(u->p.loop, false);
	if (rc == 0)
		rc = u->gone ? -ENODEV : u->error;
	return rc < 0 ? pl_err_sys(err, rc, "asking ublk for requests") : 0;
}

int pl_ublk_new(struct pl_ublk **ret, const struct pl_ublk_params *params,
		struct pl_err *err)
{
	struct pl_ublk *u =
		calloc(1, sizeof(*u) + params->depth * sizeof(u->tag[0]));
	int rc;

	if (!u)
		return pl_err_sys(err, -ENOMEM, "ublk export");
	u->p = *params;
	rc = map_descriptors(u, err);
	if (rc == 0)
		rc = pl_ublk_bufs_new(&u->bufs, u->p.depth, u->p.max_bytes,
				      err);
	if (rc == 0)
		rc = fetch_all(u, err);
	/* On failure this process ends: the kernel may still hold commands. */
	if (rc == 0)
		*ret = u;
	return rc;
}

void pl_ublk_serve(struct pl_ublk *u, struct pl_engine *engine)
{
	u->engine = engine;
	if (u->gone)
		u->p.gone(u->p.arg);
	else if (u->error)
		refused(u, u->error);
	for (unsigned i = 0; i < u->p.depth; i++)
		if (u->tag[i].early)
			take(&u->tag[i]);
}

unsigned pl_ublk_inflight(const struct pl_ublk *u)
{
	return u ? u->inflight : 0;
}

void pl_ublk_stop(struct pl_ublk *u)
{
	if (u)
		u->stopped = true;
}
