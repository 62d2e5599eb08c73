/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TRIM and WRITE_ZEROES of a large part of the disk, a TiB say. The engine does
 * each request in one go, so these are several, and everything else has its
 * turn in between. Such a request is not one step for others: while it is under
 * way they may see a part of it done, as the protocol allows.
 */
#include <errno.h>

#include "export/nbd/nbd_int.h"

#define PIECE (1ull << 30) /* bytes; some thousand clusters */

bool nbd_is_large(const struct nbd_req *r)
{
	return (r->type == NBD_CMD_TRIM || r->type == NBD_CMD_WRITE_ZEROES) &&
	       r->req.len > PIECE;
}

bool nbd_given_up(const struct nbd_conn *c)
{
	return c->broken || c->lost || c->nbd->stopping;
}

int nbd_in_pieces(struct nbd_conn *c, const struct pl_req *req)
{
	struct pl_req piece = *req;
	uint64_t end = req->off + req->len;
	int rc = 0;

	for (; rc == 0 && piece.off < end; piece.off += piece.len) {
		piece.len = end - piece.off;
		if (piece.len > PIECE)
			piece.len = PIECE;
		rc = nbd_engine_call(c, &piece);
		if (rc == 0 && piece.off + piece.len < end) {
			nbd_pass(c);
			rc = nbd_given_up(c) ? -ESHUTDOWN : 0;
		}
	}
	return rc;
}

void nbd_change_large(void *arg)
{
	struct nbd_req *r = arg;
	struct nbd_conn *c = r->conn;
	struct pl_req req = { .op = r->type == NBD_CMD_TRIM ?
					    PL_REQ_DISCARD :
					    PL_REQ_WRITE_ZEROES,
			      .off = r->req.off,
			      .len = r->req.len };
	struct pl_req flush = { .op = PL_REQ_FLUSH };
	int rc;

	if (r->flags & NBD_CMD_FLAG_NO_HOLE)
		req.flags = PL_REQ_NO_UNMAP;
	nbd_change_begin(c->nbd->p.share, false);
	rc = nbd_in_pieces(c, &req);
	nbd_change_end(c->nbd->p.share, false);
	if (rc == 0 && r->flags & NBD_CMD_FLAG_FUA)
		rc = nbd_engine_call(c, &flush);
	nbd_answer(r, rc);
}
