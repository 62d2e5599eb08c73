/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads that send no zeros for holes: what no layer has data for is a chunk of
 * its own that gives only its length. For clients with structured replies that
 * did not ask for one chunk (DF). And CACHE, which is a read that nobody gets.
 *
 * The look at what is a hole and the read are two steps. A write between the
 * two is under way at the same time as the read, so either state is right.
 */
#include <errno.h>
#include <stdlib.h>

#include "export/nbd/nbd_int.h"

#define CACHE_BYTES (1u << 20) /* read at a time for CACHE */

bool nbd_sparse_wanted(const struct nbd_req *r)
{
	const struct nbd_conn *c = r->conn;

	return c->structured && !(r->flags & NBD_CMD_FLAG_DF) &&
	       r->len > pl_engine_block_size(c->nbd->p.engine);
}

/* ---- chunks ---- */

/* Bytes [off, off + len) of the disk: a hole, or what is in r->data. */
static void add_part(struct nbd_req *r, uint64_t off, uint64_t len, bool hole)
{
	struct nbd_parts *parts = r->parts;
	struct nbd_part *part = &parts->part[parts->n++];

	part->begin = hole ? NULL :
			     (const uint8_t *)r->data + (off - r->req.off);
	part->off = off;
	part->len = (uint32_t)len;
}

/* The runs, clipped to what was asked for; what they do not tell is data. */
static void make_parts(struct nbd_req *r, const struct pl_req_status *status)
{
	uint64_t at = r->req.off, end = r->off + r->len, from, to;

	for (unsigned i = 0; i < status->n && at < end; i++) {
		from = at > r->off ? at : r->off;
		at += status->run[i].len;
		to = at < end ? at : end;
		if (to > from)
			add_part(r, from, to - from, status->run[i].hole);
	}
	if (at < end) {
		from = at > r->off ? at : r->off;
		add_part(r, from, end - from, false);
	}
}

/* From the first byte of data to the last; len 0: there are none. */
static void range_of_data(const struct pl_req_status *status,
			  struct pl_req *req)
{
	uint64_t at = req->off, end = req->off + req->len, first = end,
		 last = end;

	for (unsigned i = 0; i < status->n; i++) {
		if (!status->run[i].hole && first == end)
			first = at;
		at += status->run[i].len;
		if (!status->run[i].hole)
			last = at;
	}
	if (at < end && first == end)
		first = at;
	if (at < end)
		last = end;
	req->buf = (uint8_t *)req->buf + (first - req->off);
	req->off = first;
	req->len = first < end ? last - first : 0;
}

static bool any_hole(const struct pl_req_status *status)
{
	for (unsigned i = 0; i < status->n; i++)
		if (status->run[i].hole)
			return true;
	return false;
}

/* ---- reading ---- */

static int read_data(struct nbd_req *r)
{
	union {
		struct pl_req_status head;
		char room[sizeof(struct pl_req_status) +
			  NBD_PARTS *
				  sizeof(((struct pl_req_status *)0)->run[0])];
	} status;
	struct pl_req look = { .op = PL_REQ_STATUS,
			       .off = r->req.off,
			       .len = r->req.len,
			       .buf = &status.head };
	struct pl_req read = { .op = PL_REQ_READ,
			       .flags = r->req.flags,
			       .off = r->req.off,
			       .len = r->req.len,
			       .buf = r->data };
	int rc;

	status.head.max = NBD_PARTS - 1; /* the rest is one more */
	rc = nbd_engine_call(r->conn, &look);
	if (rc == 0 && any_hole(&status.head))
		r->parts = calloc(1, sizeof(*r->parts));
	if (r->parts) {
		make_parts(r, &status.head);
		range_of_data(&status.head, &read);
	}
	return rc == 0 && read.len ? nbd_engine_call(r->conn, &read) : rc;
}

void nbd_sparse_read(void *arg)
{
	struct nbd_req *r = arg;

	nbd_answer(r, read_data(r));
}

/* ---- CACHE ---- */

static int read_away(struct nbd_req *r, void *buf)
{
	struct nbd_conn *c = r->conn;
	struct pl_req req = { .op = PL_REQ_READ,
			      .off = r->req.off,
			      .buf = buf };
	uint64_t end = r->req.off + r->req.len;
	int rc = 0;

	for (; rc == 0 && req.off < end; req.off += req.len) {
		if (nbd_given_up(c))
			break;
		req.len = end - req.off < CACHE_BYTES ? end - req.off :
							CACHE_BYTES;
		rc = nbd_engine_call(c, &req);
	}
	return rc;
}

void nbd_cache(void *arg)
{
	struct nbd_req *r = arg;

	r->charged = r->req.len < CACHE_BYTES ? r->req.len : CACHE_BYTES;
	r->data = nbd_share_get(r->conn, r->charged);
	if (!r->data)
		r->charged = 0;
	nbd_answer(r, r->data ? read_away(r, r->data) : -ENOMEM);
}
