/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers: their heads, and the coroutine that sends them, in the order in
 * which they were ready. What is ready at the same time goes out together.
 *
 * When nothing can be sent any more the answers are thrown away, and the
 * connection ends as soon as the engine has answered everything.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "export/nbd/nbd_int.h"

#define BATCH_BYTES (512u << 10)

/* ---- heads ---- */

/* Only a fast zero may say "not supported". */
static uint32_t wire_error(const struct nbd_req *r, int error)
{
	switch (error) {
	case 0:
		return 0;
	case -EPERM:
	case -EROFS:
		return NBD_EPERM;
	case -ENOMEM:
		return NBD_ENOMEM;
	case -EINVAL:
		return NBD_EINVAL;
	case -ENOSPC:
	case -EDQUOT:
	case -EFBIG:
		return NBD_ENOSPC;
	case -EOPNOTSUPP:
		return r->type == NBD_CMD_WRITE_ZEROES &&
				       r->flags & NBD_CMD_FLAG_FAST_ZERO ?
			       NBD_ENOTSUP :
			       NBD_EIO;
	case -ESHUTDOWN:
		return NBD_ESHUTDOWN;
	default:
		return NBD_EIO;
	}
}

static void simple_head(struct nbd_req *r, uint32_t error)
{
	uint8_t *p = nbd_put32(r->head, NBD_SIMPLE_REPLY_MAGIC);

	p = nbd_put32(p, error);
	p = nbd_put64(p, r->cookie);
	r->n_head = (size_t)(p - r->head);
}

uint8_t *nbd_put_chunk(uint8_t *p, const struct nbd_req *r, unsigned flags,
		       unsigned type, uint64_t len)
{
	bool extended = r->conn->extended;

	p = nbd_put32(p, extended ? NBD_EXTENDED_REPLY_MAGIC :
				    NBD_STRUCTURED_REPLY_MAGIC);
	p = nbd_put16(p, flags);
	p = nbd_put16(p, type);
	p = nbd_put64(p, r->cookie);
	if (!extended)
		return nbd_put32(p, (uint32_t)len);
	p = nbd_put64(p, r->off);
	return nbd_put64(p, len);
}

static uint8_t *chunk_head(struct nbd_req *r, unsigned type, size_t len)
{
	return nbd_put_chunk(r->head, r, NBD_REPLY_FLAG_DONE, type, len);
}

static void part_heads(struct nbd_req *r)
{
	struct nbd_parts *parts = r->parts;

	for (unsigned i = 0; i < parts->n; i++) {
		struct nbd_part *part = &parts->part[i];
		bool last = i + 1 == parts->n;
		uint8_t *p = nbd_put_chunk(
			part->head, r, last ? NBD_REPLY_FLAG_DONE : 0,
			part->begin ? NBD_REPLY_TYPE_OFFSET_DATA :
				      NBD_REPLY_TYPE_OFFSET_HOLE,
			part->begin ? 8 + (uint64_t)part->len : 12);

		p = nbd_put64(p, part->off);
		if (!part->begin)
			p = nbd_put32(p, part->len);
		else
			r->n_data += part->len;
		part->n_head = (unsigned)(p - part->head);
	}
}

static void structured_head(struct nbd_req *r, uint32_t error)
{
	uint8_t *p = r->head;

	if (error) {
		r->begin = (const uint8_t *)r->why;
		r->n_data = r->why ? strlen(r->why) : 0;
		p = chunk_head(r, NBD_REPLY_TYPE_ERROR, 6 + r->n_data);
		p = nbd_put32(p, error);
		p = nbd_put16(p, (unsigned)r->n_data);
	} else if (r->parts) {
		part_heads(r);
	} else if (r->type == NBD_CMD_READ) {
		p = chunk_head(r, NBD_REPLY_TYPE_OFFSET_DATA, 8 + r->n_data);
		p = nbd_put64(p, r->off);
	} else if (r->type != NBD_CMD_BLOCK_STATUS) {
		p = chunk_head(r, NBD_REPLY_TYPE_NONE, 0);
	}
	r->n_head = (size_t)(p - r->head);
}

/* The data are done with: room for the next request. */
static void give_data_back(struct nbd_req *r)
{
	if (r->charged)
		nbd_share_put(r->conn, r->data, r->charged);
	r->data = NULL;
	r->charged = 0;
}

void nbd_answer(struct nbd_req *r, int error)
{
	struct nbd_conn *c = r->conn;

	if (error < 0) {
		give_data_back(r);
		r->n_data = 0;
		free(r->parts);
		r->parts = NULL;
	} else if (r->type == NBD_CMD_READ && !r->parts) {
		r->n_data = r->len;
	}
	if (c->structured)
		structured_head(r, wire_error(r, error));
	else
		simple_head(r, wire_error(r, error));
	if (r->n_data == 0)
		give_data_back(r);
	r->next = NULL;
	*c->answers_tail = r;
	c->answers_tail = &r->next;
	pl_waitq_wake_all(&c->to_send);
}

void nbd_req_free(struct nbd_req *r)
{
	struct nbd_conn *c = r->conn;

	nbd_share_put(c, r->data, r->charged);
	free(r->parts);
	c->inflight--;
	free(r);
	pl_waitq_wake_all(&c->room);
	if (c->inflight == 0)
		pl_waitq_wake_all(&c->drained);
}

/* ---- the sender ---- */

static struct nbd_req *take_answer(struct nbd_conn *c)
{
	struct nbd_req *r = c->answers;

	c->answers = r->next;
	if (!c->answers)
		c->answers_tail = &c->answers;
	return r;
}

static unsigned add_piece(struct iovec *iov, const void *piece, size_t len)
{
	*iov = (struct iovec){ (void *)(uintptr_t)piece, len };
	return len > 0;
}

static unsigned pieces_of(const struct nbd_req *r)
{
	return r->parts ? 2 * r->parts->n : 2;
}

/* Adds an answer's pieces; returns how many. */
static unsigned add_answer(struct iovec *iov, const struct nbd_req *r)
{
	unsigned n = add_piece(iov, r->head, r->n_head);

	if (!r->parts)
		return n + add_piece(iov + n, r->begin, r->n_data);
	for (unsigned i = 0; i < r->parts->n; i++) {
		const struct nbd_part *part = &r->parts->part[i];

		n += add_piece(iov + n, part->head, part->n_head);
		if (part->begin)
			n += add_piece(iov + n, part->begin, part->len);
	}
	return n;
}

/* What is ready now, as far as it fits; the requests are linked to *ret. */
static unsigned gather(struct nbd_conn *c, struct iovec *iov,
		       struct nbd_req **ret, size_t *ret_bytes)
{
	unsigned n = 0;
	struct nbd_req *r;

	*ret_bytes = 0;
	*ret = NULL;
	while (c->answers && n + pieces_of(c->answers) <= NBD_IOV &&
	       *ret_bytes < BATCH_BYTES) {
		r = take_answer(c);
		n += add_answer(iov + n, r);
		*ret_bytes += r->n_head + r->n_data;
		r->next = *ret;
		*ret = r;
	}
	return n;
}

static void send_answers(struct nbd_conn *c)
{
	struct iovec iov[NBD_IOV];
	struct nbd_req *sent, *next;
	size_t bytes;
	unsigned n = gather(c, iov, &sent, &bytes);

	if (!c->broken) {
		nbd_send_within(c, c->nbd->stopping ?
					   NBD_CUT_MS :
					   c->nbd->p.stall_ms +
						   bytes / NBD_SLOWEST);
		if (nbd_send(c, iov, n) < 0) {
			c->broken = true;
			shutdown(c->fd, SHUT_RDWR);
		}
		nbd_send_within(c, 0);
	}
	for (; sent; sent = next) {
		next = sent->next;
		nbd_req_free(sent);
	}
}

static void sender(void *arg)
{
	struct nbd_conn *c = arg;

	while (c->answers || !c->sender_ends) {
		if (c->answers)
			send_answers(c);
		else
			pl_waitq_wait(&c->to_send);
	}
	c->sending = false;
	pl_waitq_wake_all(&c->drained);
}

int nbd_sender_start(struct nbd_conn *c)
{
	int rc = pl_co_start(sender, c);

	c->sending = rc == 0;
	return rc;
}

void nbd_sender_end(struct nbd_conn *c)
{
	while (c->inflight)
		pl_waitq_wait(&c->drained);
	c->sender_ends = true;
	pl_waitq_wake_all(&c->to_send);
	while (c->sending)
		pl_waitq_wait(&c->drained);
}
