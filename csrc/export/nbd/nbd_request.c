/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The transmission: takes requests one after the other, gives them to the
 * engine, which answers them in any order.
 *
 * STATES of a request
 *   taken --wrong--> answered
 *   taken --room for it and its data there--> in the engine --done--> answered
 *   answered (nbd_answer) --sender--> sent, freed
 *
 * What is wrong with a request is found before anything is kept for it; the
 * data that came with it are thrown away.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "export/nbd/nbd_int.h"

/* ---- what may be asked ---- */

static const struct command {
	uint16_t flags; /* beside FUA, which goes with everything */
	bool changes; /* the disk */
	enum pl_req_op op;
} commands[] = {
	[NBD_CMD_READ] = { NBD_CMD_FLAG_DF, false, PL_REQ_READ },
	[NBD_CMD_WRITE] = { 0, true, PL_REQ_WRITE },
	[NBD_CMD_FLUSH] = { 0, false, PL_REQ_FLUSH },
	[NBD_CMD_TRIM] = { 0, true, PL_REQ_DISCARD },
	[NBD_CMD_CACHE] = { 0, false, PL_REQ_READ },
	[NBD_CMD_WRITE_ZEROES] = { NBD_CMD_FLAG_NO_HOLE |
					   NBD_CMD_FLAG_FAST_ZERO,
				   true, PL_REQ_WRITE_ZEROES },
	[NBD_CMD_BLOCK_STATUS] = { NBD_CMD_FLAG_REQ_ONE, false, PL_REQ_STATUS },
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static bool is_command(const struct nbd_req *r)
{
	return r->type < COMMANDS && r->type != NBD_CMD_DISC;
}

static int wrong(struct nbd_req *r, int error, const char *why)
{
	r->why = why;
	return error;
}

static int check_range(struct nbd_req *r)
{
	uint64_t size = pl_engine_size(r->conn->nbd->p.engine);
	bool data = r->type == NBD_CMD_READ || r->type == NBD_CMD_WRITE;

	if (r->len == 0)
		return wrong(r, -EINVAL, "a length of 0");
	if (data && r->len > PL_NBD_REQUEST_MAX)
		return wrong(r, -EINVAL, "more than 32 MiB of data");
	if (r->off > size || r->len > size - r->off)
		return wrong(r,
			     r->type == NBD_CMD_WRITE ||
					     r->type == NBD_CMD_WRITE_ZEROES ?
				     -ENOSPC :
				     -EINVAL,
			     "beyond the end of the disk");
	return 0;
}

/* Goes with every command when offered, or depends on the handshake. */
static unsigned flags_of(const struct nbd_req *r)
{
	const struct nbd_conn *c = r->conn;
	unsigned flags = commands[r->type].flags | NBD_CMD_FLAG_FUA;

	if (!c->structured)
		flags &= ~NBD_CMD_FLAG_DF;
	if (c->extended && (r->type == NBD_CMD_WRITE ||
			    (r->type == NBD_CMD_BLOCK_STATUS && c->n_contexts)))
		flags |= NBD_CMD_FLAG_PAYLOAD_LEN;
	return flags;
}

static int check_flags(struct nbd_req *r)
{
	if (!is_command(r))
		return wrong(r, -EINVAL, "this command is not supported");
	if (r->flags & ~flags_of(r))
		return wrong(r, -EINVAL,
			     "a flag that does not go with this command");
	return 0;
}

/* 0, or what is wrong with it. Before its payload has come. */
static int check(struct nbd_req *r)
{
	const struct nbd_conn *c = r->conn;
	int rc = check_flags(r);

	if (c->nbd->stopping)
		return wrong(r, -ESHUTDOWN, "this export is being ended");
	if (rc < 0)
		return rc;
	if (commands[r->type].changes && c->nbd->p.read_only)
		return wrong(r, -EPERM, "this export is read-only");
	if (r->type == NBD_CMD_FLUSH)
		return r->off || r->len ?
			       wrong(r, -EINVAL, "a flush of a part") :
			       0;
	if (r->type == NBD_CMD_BLOCK_STATUS && c->n_contexts == 0)
		return wrong(r, -EINVAL, "no metadata context was chosen");
	if (r->type == NBD_CMD_BLOCK_STATUS && r->payload)
		return 0; /* it says what it is about */
	/* Zeros that have to have host space behind them are written. */
	if (r->type == NBD_CMD_WRITE_ZEROES &&
	    r->flags & NBD_CMD_FLAG_FAST_ZERO &&
	    r->flags & NBD_CMD_FLAG_NO_HOLE)
		return wrong(r, -EOPNOTSUPP, "without a hole it is not fast");
	return check_range(r);
}

/* ---- to the engine ---- */

static void on_done(struct pl_req *req, int res)
{
	struct nbd_req *r = (struct nbd_req *)req;

	if (r->changing)
		nbd_change_end(r->conn->nbd->p.share, false);
	r->changing = false;
	nbd_answer(r, res);
}

static void status_coroutine(void *arg)
{
	struct nbd_req *r = arg;

	nbd_answer(r, nbd_block_status(r));
}

static bool aligned(const struct nbd_req *r)
{
	return r->off % 512 == 0 && r->len % 512 == 0;
}

/* The sectors that are in it wholly, or (outward) even in part. */
static void to_sectors(struct nbd_req *r, bool outward)
{
	uint64_t off = r->off, end = r->off + r->len;

	off = (outward ? off : off + 511) / 512 * 512;
	end = (outward ? end + 511 : end) / 512 * 512;
	r->req.off = off;
	r->req.len = end > off ? end - off : 0;
}

static void submit(struct nbd_req *r)
{
	const struct command *cmd = &commands[r->type];

	r->req.op = cmd->op;
	r->req.done = on_done;
	if (r->flags & NBD_CMD_FLAG_FUA)
		r->req.flags |= PL_REQ_FUA;
	if (r->flags & NBD_CMD_FLAG_NO_HOLE)
		r->req.flags |= PL_REQ_NO_UNMAP;
	if (cmd->changes)
		nbd_change_begin(r->conn->nbd->p.share, false);
	r->changing = cmd->changes;
	pl_engine_submit(r->conn->nbd->p.engine, &r->req);
}

/* NULL: the engine's answer is all there is to it. */
static pl_co_fn *coroutine_of(const struct nbd_req *r)
{
	if (r->type == NBD_CMD_READ)
		return nbd_sparse_wanted(r) ? nbd_sparse_read : NULL;
	if (r->type == NBD_CMD_BLOCK_STATUS)
		return status_coroutine;
	if (nbd_is_large(r) && (aligned(r) || r->type == NBD_CMD_TRIM))
		return nbd_change_large;
	return r->type == NBD_CMD_CACHE ? nbd_cache : NULL;
}

static void start(struct nbd_req *r)
{
	pl_co_fn *coroutine = coroutine_of(r);

	if (coroutine) {
		if (pl_co_start(coroutine, r) < 0)
			nbd_answer(r, -ENOMEM);
	} else if ((r->type == NBD_CMD_WRITE ||
		    r->type == NBD_CMD_WRITE_ZEROES) &&
		   !aligned(r)) {
		nbd_answer(r, nbd_change_unaligned(r));
	} else if (r->type == NBD_CMD_TRIM && r->req.len == 0) {
		nbd_answer(r, 0);
	} else {
		submit(r);
	}
}

/* ---- data ---- */

static int get_memory(struct nbd_req *r)
{
	size_t len = r->type == NBD_CMD_READ ? r->req.len : r->len;

	if (r->type != NBD_CMD_READ && r->type != NBD_CMD_WRITE)
		return 0;
	r->data = nbd_share_get(r->conn, len);
	if (!r->data)
		return -ENOMEM;
	r->charged = len;
	r->req.buf = r->data;
	r->begin = (uint8_t *)r->data + (r->off - r->req.off);
	return 0;
}

static void within(struct nbd_conn *c, uint64_t len)
{
	nbd_recv_within(c, c->nbd->p.stall_ms + (unsigned)(len / NBD_SLOWEST));
}

/* The payload of a BLOCK_STATUS, which may turn out to be wrong. */
static int take_status(struct nbd_req *r, int *error)
{
	uint8_t payload[NBD_STATUS_PAYLOAD_MAX];
	int rc;

	if (r->payload > sizeof(payload)) {
		*error = wrong(r, -EINVAL, "the payload is too long");
		return nbd_skip(r->conn, r->payload);
	}
	rc = nbd_recv(r->conn, payload, r->payload);
	if (rc == 0 && nbd_status_payload(r, payload, r->payload) < 0)
		*error = wrong(r, -EINVAL, "the payload is malformed");
	else if (rc == 0)
		*error = check_range(r);
	return rc;
}

/* Takes what came with it; -errno: the connection is lost. */
static int take_data(struct nbd_req *r, int *error)
{
	struct nbd_conn *c = r->conn;
	int rc;

	if (!r->payload)
		return 0;
	within(c, r->payload);
	if (*error)
		rc = nbd_skip(c, r->payload);
	else if (r->type == NBD_CMD_BLOCK_STATUS)
		rc = take_status(r, error);
	else
		rc = nbd_recv(c, r->data, r->len);
	nbd_recv_within(c, 0);
	return rc;
}

/* ---- one after the other ---- */

static size_t head_size(const struct nbd_conn *c)
{
	return c->extended ? NBD_EXTENDED_SIZE : NBD_REQUEST_SIZE;
}

static int take_head(struct nbd_conn *c, uint8_t *head)
{
	size_t size = head_size(c);
	int rc;

	if (c->rx_len == 0 && c->nbd->p.idle_ms)
		nbd_recv_within(c, c->nbd->p.idle_ms);
	c->idle = true;
	rc = nbd_recv(c, head, 1);
	c->idle = false;
	if (rc < 0)
		return rc;
	if (c->rx_len < size - 1)
		nbd_recv_within(c, c->nbd->p.stall_ms);
	rc = nbd_recv(c, head + 1, size - 1);
	if (c->recv_by_ms)
		nbd_recv_within(c, 0);
	return rc;
}

/* What follows the head is counted by its length, or not at all. */
static int parse_length(struct nbd_req *r, const uint8_t *length)
{
	if (!r->conn->extended) {
		r->len = nbd_get32(length);
		r->payload = r->type == NBD_CMD_WRITE ? r->len : 0;
		return 0;
	}
	r->len = nbd_get64(length);
	/* qemu (10.0) writes without the flag, and its server takes that. */
	if (r->flags & NBD_CMD_FLAG_PAYLOAD_LEN || r->type == NBD_CMD_WRITE)
		r->payload = r->len;
	return r->payload > PL_NBD_REQUEST_MAX ? -EPROTO : 0;
}

static int parse(struct nbd_req *r, const uint8_t *head)
{
	if (nbd_get32(head) != (r->conn->extended ? NBD_EXTENDED_REQUEST_MAGIC :
						    NBD_REQUEST_MAGIC))
		return -EPROTO;
	r->flags = nbd_get16(head + 4);
	r->type = nbd_get16(head + 6);
	r->cookie = nbd_get64(head + 8);
	r->off = nbd_get64(head + 16);
	if (r->type == NBD_CMD_DISC) {
		r->conn->end = PL_NBD_GOODBYE;
		return -ESHUTDOWN;
	}
	return parse_length(r, head + 24);
}

/* 0, or -errno: the connection ends. */
static int take_request(struct nbd_conn *c)
{
	uint8_t head[NBD_EXTENDED_SIZE];
	struct nbd_req *r;
	int rc, error = 0;

	while (c->inflight >= PL_NBD_REQUESTS)
		pl_waitq_wait(&c->room);
	rc = take_head(c, head);
	if (rc < 0)
		return rc;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->conn = c;
	c->inflight++;
	rc = parse(r, head);
	if (rc == 0) {
		error = check(r);
		if (error == 0) {
			to_sectors(r, r->type != NBD_CMD_TRIM);
			error = get_memory(r);
		}
		rc = take_data(r, &error);
	}
	if (rc < 0)
		nbd_req_free(r);
	else if (error < 0)
		nbd_answer(r, error);
	else
		start(r);
	return rc;
}

void nbd_transmission(struct nbd_conn *c)
{
	if (nbd_sender_start(c) < 0)
		return;
	while (!c->broken && nbd_kernel_next(c) == 0 && take_request(c) == 0)
		;
	nbd_recv_within(c, 0);
	c->lost = c->end == PL_NBD_LOST;
	nbd_sender_end(c);
}
