/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests at odd bytes. The engine works in sectors of 512 bytes; the protocol
 * lets a client that did not ask for the block size send any offset and length.
 * A sector that is changed in part is read and written again, while nothing
 * else changes the disk.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "export/nbd/nbd_int.h"

#define SECTOR 512u

struct engine_call {
	struct pl_req req; /* first: the engine hands this back */
	struct pl_co *co;
	int res;
	bool done;
};

static void on_done(struct pl_req *req, int res)
{
	struct engine_call *call = (struct engine_call *)req;

	call->res = res;
	call->done = true;
	pl_co_wake(call->co);
}

int nbd_engine_call(struct nbd_conn *c, struct pl_req *req)
{
	struct engine_call call = { .req = *req, .co = pl_co_self() };

	call.req.done = on_done;
	pl_engine_submit(c->nbd->p.engine, &call.req);
	while (!call.done)
		pl_co_yield();
	return call.res;
}

/* Bytes [from, to) of the sector at off; data NULL = zeros. */
static int change_sector(struct nbd_conn *c, uint64_t off, unsigned from,
			 unsigned to, const uint8_t *data)
{
	struct pl_req req = { .op = PL_REQ_READ, .off = off, .len = SECTOR };
	uint8_t *sector;
	int rc;

	if (posix_memalign(&req.buf, 4096, SECTOR) != 0)
		return -ENOMEM;
	sector = req.buf;
	rc = nbd_engine_call(c, &req);
	if (rc == 0) {
		if (data)
			memcpy(sector + from, data, to - from);
		else
			memset(sector + from, 0, to - from);
		req.op = PL_REQ_WRITE;
		rc = nbd_engine_call(c, &req);
	}
	free(sector);
	return rc;
}

/* Whole sectors; data is anywhere in memory, NULL = zeros. */
static int change_sectors(struct nbd_req *r, uint64_t off, uint64_t len,
			  const uint8_t *data)
{
	struct pl_req req = { .op = data ? PL_REQ_WRITE : PL_REQ_WRITE_ZEROES,
			      .off = off,
			      .len = len };
	int rc;

	if (len == 0)
		return 0;
	if (!data) {
		if (r->flags & NBD_CMD_FLAG_NO_HOLE)
			req.flags = PL_REQ_NO_UNMAP;
		return nbd_in_pieces(r->conn, &req);
	}
	if (posix_memalign(&req.buf, 4096, len) != 0)
		return -ENOMEM;
	memcpy(req.buf, data, len);
	rc = nbd_engine_call(r->conn, &req);
	free(req.buf);
	return rc;
}

static int change(struct nbd_req *r)
{
	const uint8_t *data = r->type == NBD_CMD_WRITE ? r->data : NULL;
	struct pl_req flush = { .op = PL_REQ_FLUSH };
	uint64_t off = r->off, end = r->off + r->len, n;
	unsigned from = (unsigned)(off % SECTOR), to;
	int rc = 0;

	if (from) {
		to = end - off < SECTOR - from ? from + (unsigned)(end - off) :
						 SECTOR;
		rc = change_sector(r->conn, off - from, from, to, data);
		off += to - from;
		data = data ? data + (to - from) : NULL;
	}
	n = (end - off) / SECTOR * SECTOR;
	if (rc == 0)
		rc = change_sectors(r, off, n, data);
	off += n;
	if (rc == 0 && off < end)
		rc = change_sector(r->conn, off, 0, (unsigned)(end - off),
				   data ? data + n : NULL);
	if (rc == 0 && r->flags & NBD_CMD_FLAG_FUA)
		rc = nbd_engine_call(r->conn, &flush);
	return rc;
}

int nbd_change_unaligned(struct nbd_req *r)
{
	struct pl_nbd_share *share = r->conn->nbd->p.share;
	int rc;

	nbd_change_begin(share, true);
	rc = change(r);
	nbd_change_end(share, true);
	return rc;
}
