/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the fuse export: the export object, its slots, its answers. */
#ifndef PLOOP_EXPORT_FUSE_FUSE_INT_H
#define PLOOP_EXPORT_FUSE_FUSE_INT_H

#include "base/loop.h"
#include "engine/engine.h"
#include "export/fuse/fuse_buf.h"
#include "export/fuse/fuse_export.h"
#include "export/fuse/fuse_parse.h"

#define PL_FUSE_FILE_ID 2u /* node id of the disk; 1 is the root */

/* One request on its way through the engine. */
struct pl_fuse_slot {
	struct pl_req req; /* first: the engine hands this back */
	struct pl_fuse *fuse;
	struct pl_fuse_slot *next; /* free list */
	uint64_t unique;
	unsigned chunk; /* of its data */
	uint32_t opcode;
	/* The answer under way; that to a READ is before its data instead. */
	struct pl_ev answered;
	struct {
		struct fuse_out_header head;
		struct fuse_write_out write;
	} out;
};

struct pl_fuse {
	struct pl_fuse_params p;
	struct pl_fuse_pool *pool;
	struct pl_ev ready; /* there are requests to take */
	struct pl_fuse_slot *free;
	unsigned inflight;
	uint64_t begun; /* bytes of the requests that this turn began */
	unsigned credit; /* reads that may be in vain */
	unsigned unasked; /* turns that did not try for another request */
	bool taking; /* requests, until it is stopped */
	bool armed; /* `ready` will be called */
	bool reading; /* inside take_requests() */
	bool starved; /* no slot or no memory for the next request */
	bool shrinking; /* the shrink coroutine is there */
	bool freeing; /* the last of these two frees the object */
	uint64_t served; /* requests, to notice quiet */
	struct pl_fuse_slot slot[PL_FUSE_SLOTS];
};

/* ---- fuse_reply.c: answers, each one write to the kernel ---- */

/*
 * Answers a slot's request with 0 and what its operation returns, or -errno,
 * together with what else the loop submits; pl_fuse_answered() when written.
 */
void pl_fuse_answer(struct pl_fuse_slot *slot, int error);
/* error: 0 or -errno. At once, for requests without a slot. */
void pl_fuse_reply_error(struct pl_fuse *f, uint64_t unique, int error);
void pl_fuse_reply_data(struct pl_fuse *f, uint64_t unique, const void *data,
			size_t len);
void pl_fuse_reply_attr(struct pl_fuse *f, uint64_t unique, uint64_t nodeid);
void pl_fuse_reply_entry(struct pl_fuse *f, uint64_t unique);
void pl_fuse_reply_statfs(struct pl_fuse *f, uint64_t unique);
/* Asks for what the last server left unanswered; 0 or -errno. */
int pl_fuse_resend(struct pl_fuse *f);

/* ---- fuse_export.c ---- */

void pl_fuse_answered(struct pl_fuse_slot *slot);

/* ---- fuse_take.c: requests from the kernel ---- */

/* From now on. */
void pl_fuse_take(struct pl_fuse *f);
/* There is a slot and memory again. */
void pl_fuse_take_on(struct pl_fuse *f);
void pl_fuse_take_no_more(struct pl_fuse *f);
/* What to do with the bytes of a request; data: see fuse_buf.h. */
void pl_fuse_handle(struct pl_fuse *f, uint8_t *data, size_t len);

/* ---- fuse_control.c: requests that need no engine ---- */

void pl_fuse_control(struct pl_fuse *f, const struct pl_fuse_msg *msg);

#endif
