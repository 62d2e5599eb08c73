/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metadata contexts: base:allocation, and those that the owner of the export
 * adds. Choosing them, and the answers to BLOCK_STATUS.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "export/nbd/nbd_int.h"

static const char allocation[] = "base:allocation";

#define PIECE (16ull << 30) /* bytes of the disk looked at in one go */
#define CHUNK_MAX 40u /* bytes before the runs of one context */

/* ---- what there is ---- */

/* The i-th context of the export; false: there are no more. */
static bool context_at(const struct nbd_conn *c, unsigned i,
		       struct nbd_context *ret)
{
	const struct pl_nbd_contexts *more = c->nbd->p.contexts;

	ret->allocation = i == 0;
	if (i > 0)
		return more && more->name(more->arg, i - 1, ret->name,
					  sizeof(ret->name));
	snprintf(ret->name, sizeof(ret->name), "%s", allocation);
	return true;
}

/*
 * A query is a name, or (for listing) a name space: "base:", which stands for
 * all that begins with it.
 */
static bool matches(const char *name, const uint8_t *query, size_t len,
		    bool listing)
{
	size_t n = strlen(name);

	if (len == n)
		return memcmp(name, query, n) == 0;
	return listing && len > 0 && len < n && query[len - 1] == ':' &&
	       memcmp(name, query, len) == 0;
}

/* ---- choosing ---- */

static int tell(struct nbd_conn *c, uint32_t opt, uint32_t id, const char *name)
{
	uint8_t data[4 + NBD_CONTEXT_NAME];
	size_t len = strlen(name);

	nbd_put32(data, id);
	memcpy(data + 4, name, len);
	return nbd_opt_reply(c, opt, NBD_REP_META_CONTEXT, data, 4 + len);
}

static bool chosen(const struct nbd_conn *c, const char *name)
{
	for (unsigned i = 0; i < c->n_contexts; i++)
		if (!strcmp(c->contexts[i].name, name))
			return true;
	return false;
}

static int choose(struct nbd_conn *c, uint32_t opt,
		  const struct nbd_context *ctx)
{
	if (chosen(c, ctx->name))
		return 0;
	if (c->n_contexts == PL_NBD_CONTEXTS)
		return -E2BIG;
	if (!c->contexts)
		c->contexts = calloc(PL_NBD_CONTEXTS, sizeof(*c->contexts));
	if (!c->contexts)
		return -ENOMEM;
	c->contexts[c->n_contexts++] = *ctx;
	return tell(c, opt, c->n_contexts, ctx->name);
}

/* All contexts that one query names; len = UINT32_MAX: all there are. */
static int answer_query(struct nbd_conn *c, uint32_t opt, const uint8_t *query,
			uint32_t len)
{
	bool listing = opt == NBD_OPT_LIST_META_CONTEXT;
	struct nbd_context ctx;
	int rc = 0;

	for (unsigned i = 0; rc == 0 && context_at(c, i, &ctx); i++) {
		if (len != UINT32_MAX &&
		    !matches(ctx.name, query, len, listing))
			continue;
		rc = listing ? tell(c, opt, 0, ctx.name) : choose(c, opt, &ctx);
	}
	return rc;
}

/* The lengths of all queries fit into the data exactly. */
static bool well_formed(const uint8_t *data, uint32_t len, uint32_t *ret_at)
{
	uint32_t name_len, n, at, query;

	if (len < 8)
		return false;
	name_len = nbd_get32(data);
	if (name_len > NBD_NAME_MAX || name_len > len - 8)
		return false;
	n = nbd_get32(data + 4 + name_len);
	*ret_at = at = 8 + name_len;
	for (; n > 0; n--) {
		if (len - at < 4)
			return false;
		query = nbd_get32(data + at);
		at += 4;
		if (query > len - at)
			return false;
		at += query;
	}
	return at == len;
}

int nbd_meta_context(struct nbd_conn *c, uint32_t opt, const uint8_t *data,
		     uint32_t len)
{
	bool listing = opt == NBD_OPT_LIST_META_CONTEXT;
	uint32_t at = 0, n;
	int rc = 0;

	if (!listing)
		c->n_contexts = 0;
	if (!c->structured)
		return nbd_opt_refuse(c, opt, NBD_REP_ERR_INVALID,
				      "structured replies come first");
	if (!well_formed(data, len, &at))
		return nbd_opt_refuse(c, opt, NBD_REP_ERR_INVALID,
				      "the lengths of this option do not fit");
	if (!nbd_name_matches(c, data + 4, nbd_get32(data)))
		return nbd_opt_refuse(c, opt, NBD_REP_ERR_UNKNOWN,
				      "there is no export of this name");
	if (listing && at == len)
		rc = answer_query(c, opt, NULL, UINT32_MAX);
	for (; rc == 0 && at < len; at += 4 + n) {
		n = nbd_get32(data + at);
		rc = answer_query(c, opt, data + at + 4, n);
	}
	if (rc == -E2BIG) {
		c->n_contexts = 0;
		return nbd_opt_refuse(c, opt, NBD_REP_ERR_TOO_BIG,
				      "more than 32 metadata contexts");
	}
	return rc < 0 ? rc : nbd_opt_reply(c, opt, NBD_REP_ACK, NULL, 0);
}

/* ---- BLOCK_STATUS ---- */

int nbd_status_payload(struct nbd_req *r, const uint8_t *payload, size_t len)
{
	uint32_t id;

	if (len < 12 || len % 4)
		return -EINVAL;
	r->len = nbd_get64(payload);
	for (size_t at = 8; at < len; at += 4) {
		id = nbd_get32(payload + at);
		if (id == 0 || id > r->conn->n_contexts ||
		    r->asked & (1u << (id - 1)))
			return -EINVAL;
		r->asked |= 1u << (id - 1);
	}
	return 0;
}

/* From the sector that off is in; the answer begins at off all the same. */
static int allocation_status(struct nbd_conn *c, uint64_t off, uint64_t len,
			     struct pl_req_status *status)
{
	uint64_t before = off % 512, end = (off + len + 511) / 512;
	struct pl_req req = { .op = PL_REQ_STATUS,
			      .off = off - before,
			      .len = end * 512 - (off - before),
			      .buf = status };
	int rc = nbd_engine_call(c, &req);

	if (rc == 0 && status->n > 0)
		status->run[0].len -= before;
	return rc;
}

/* No further than was asked for. */
static void clip(struct pl_req_status *status, uint64_t len)
{
	for (unsigned i = 0; i < status->n; i++) {
		if (status->run[i].len >= len) {
			status->run[i].len = len;
			status->n = i + 1;
		}
		len -= status->run[i].len;
	}
}

/* Runs of the next piece behind those that are there; false: no more room. */
static bool append(struct pl_req_status *s, const struct pl_req_status *more)
{
	for (unsigned i = 0; i < more->n; i++) {
		if (s->n && s->run[s->n - 1].hole == more->run[i].hole) {
			s->run[s->n - 1].len += more->run[i].len;
			continue;
		}
		if (s->n == s->max)
			return false;
		s->run[s->n++] = more->run[i];
	}
	return true;
}

static uint64_t total(const struct pl_req_status *s)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < s->n; i++)
		sum += s->run[i].len;
	return sum;
}

/* One piece; piece->max is what there is room for. */
static int look(struct nbd_conn *c, const struct nbd_context *ctx, uint64_t off,
		uint64_t len, struct pl_req_status *piece)
{
	const struct pl_nbd_contexts *more = c->nbd->p.contexts;
	int rc;

	piece->n = 0;
	rc = ctx->allocation ?
		     allocation_status(c, off, len, piece) :
		     more->status(more->arg, ctx->name, off, len, piece);
	clip(piece, len);
	return rc < 0 ? rc : piece->n ? 0 : -EIO;
}

/*
 * A large part of the disk is looked at piece by piece, with everybody else's
 * turn in between. What is told may end early: the client asks on from there.
 */
static int status_of(struct nbd_req *r, const struct nbd_context *ctx,
		     struct pl_req_status *s, struct pl_req_status *piece)
{
	uint64_t at = r->off, end = r->off + r->len, len;
	int rc = 0;

	s->n = 0;
	while (rc == 0 && at < end) {
		len = end - at < PIECE ? end - at : PIECE;
		rc = look(r->conn, ctx, at, len, piece);
		if (rc < 0 || !append(s, piece) || total(piece) < len)
			break;
		at += len;
		if (at < end && nbd_given_up(r->conn))
			rc = -ESHUTDOWN;
		else if (at < end)
			nbd_pass(r->conn);
	}
	return rc;
}

static uint32_t state_of(const struct nbd_context *ctx, bool hole)
{
	if (ctx->allocation)
		return hole ? NBD_STATE_HOLE | NBD_STATE_ZERO : 0;
	return hole ? 0 : NBD_STATE_DIRTY;
}

/* One chunk, about the context at place i; returns where the next begins. */
static uint8_t *put_status(uint8_t *p, const struct nbd_req *r, unsigned i,
			   bool last, const struct pl_req_status *s)
{
	const struct nbd_conn *c = r->conn;
	unsigned flags = last ? NBD_REPLY_FLAG_DONE : 0;

	if (c->extended) {
		p = nbd_put_chunk(p, r, flags, NBD_REPLY_TYPE_BLOCK_STATUS_EXT,
				  8 + 16 * (uint64_t)s->n);
		p = nbd_put32(p, i + 1);
		p = nbd_put32(p, s->n);
	} else {
		p = nbd_put_chunk(p, r, flags, NBD_REPLY_TYPE_BLOCK_STATUS,
				  4 + 8 * (uint64_t)s->n);
		p = nbd_put32(p, i + 1);
	}
	for (unsigned k = 0; k < s->n; k++) {
		uint32_t state = state_of(&c->contexts[i], s->run[k].hole);

		if (c->extended) {
			p = nbd_put64(p, s->run[k].len);
			p = nbd_put64(p, state);
		} else {
			p = nbd_put32(p, (uint32_t)s->run[k].len);
			p = nbd_put32(p, state);
		}
	}
	return p;
}

static struct pl_req_status *new_status(unsigned max)
{
	struct pl_req_status *s = malloc(sizeof(*s) + max * sizeof(s->run[0]));

	if (s)
		s->max = max;
	return s;
}

static int put_all(struct nbd_req *r, struct pl_req_status *s,
		   struct pl_req_status *piece)
{
	struct nbd_conn *c = r->conn;
	uint32_t left = r->asked;
	uint8_t *p = r->data;
	int rc = 0;

	for (unsigned i = 0; rc == 0 && left; i++) {
		if (!(left & (1u << i)))
			continue;
		left &= ~(1u << i);
		rc = status_of(r, &c->contexts[i], s, piece);
		if (rc == 0)
			p = put_status(p, r, i, !left, s);
	}
	r->begin = r->data;
	r->n_data = rc == 0 ? (size_t)(p - r->begin) : 0;
	return rc;
}

int nbd_block_status(struct nbd_req *r)
{
	struct nbd_conn *c = r->conn;
	unsigned n, max;
	struct pl_req_status *s, *piece;
	size_t size;
	int rc = -ENOMEM;

	if (!r->asked)
		r->asked = (uint32_t)((1ull << c->n_contexts) - 1);
	n = (unsigned)__builtin_popcount(r->asked);
	max = r->flags & NBD_CMD_FLAG_REQ_ONE ? 1 : NBD_EXTENTS / n;
	s = new_status(max);
	piece = new_status(max);
	size = n * (CHUNK_MAX + (c->extended ? 16 : 8) * (size_t)max);
	r->data = nbd_share_get(c, size);
	r->charged = r->data ? size : 0;
	if (s && piece && r->data)
		rc = put_all(r, s, piece);
	free(s);
	free(piece);
	return rc;
}
