/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the NBD export: the server, its connections, their requests. */
#ifndef PLOOP_EXPORT_NBD_NBD_INT_H
#define PLOOP_EXPORT_NBD_NBD_INT_H

#include <linux/time_types.h>
#include <sys/uio.h>

#include "base/co.h"
#include "base/loop.h"
#include "engine/engine.h"
#include "export/nbd/nbd_server.h"
#include "export/nbd/nbd_wire.h"

#define NBD_RX 16384u /* bytes read ahead; a TLS record fits */
#define NBD_TX 131072u /* bytes of ciphertext collected before they are sent */
#define NBD_IOV 64u /* pieces of one sendmsg */
#define NBD_EXTENTS 4096u /* runs in one answer about one context */
#define NBD_HANDSHAKE_MS 10000u
#define NBD_STALL_MS 30000u /* for a message that was begun */
#define NBD_CUT_MS 5000u /* for taking the last answers */
#define NBD_SLOWEST 128u /* bytes a millisecond, on top of that */
#define NBD_HEAD 48u /* bytes before an answer's data */
#define NBD_PARTS \
	30u /* chunks of one read; a head and data each, see NBD_IOV */
#define NBD_CONTEXT_NAME 256u

struct nbd_tls_session;

/* A read that is answered in several chunks. */
struct nbd_parts {
	unsigned n;
	struct nbd_part {
		const uint8_t *begin; /* NULL: a hole */
		uint64_t off;
		uint32_t len;
		unsigned n_head;
		uint8_t head[48];
	} part[NBD_PARTS];
};

/* One request on its way through the engine and back to the client. */
struct nbd_req {
	struct pl_req req; /* first: the engine hands this back */
	struct nbd_conn *conn;
	struct nbd_req *next; /* of those to be answered */
	uint64_t cookie, off, len;
	uint64_t payload; /* bytes that follow the head */
	uint32_t asked; /* contexts of BLOCK_STATUS, a bit for each place */
	uint16_t type, flags;
	const char *why; /* of an error, for who reads it; may be NULL */
	bool changing; /* between nbd_change_begin() and _end() */
	void *data; /* what was read, is to be written, or the status */
	size_t charged; /* bytes of data counted against the bounds */
	size_t n_data; /* bytes of it that follow the head */
	const uint8_t *begin; /* of what follows, in data */
	struct nbd_parts *parts; /* NULL: head, then data */
	size_t n_head;
	uint8_t head[NBD_HEAD];
};

/* One metadata context that a client has chosen. Its id is the place + 1. */
struct nbd_context {
	bool allocation; /* base:allocation; else one of nbd_contexts */
	char name[NBD_CONTEXT_NAME];
};

struct nbd_conn {
	struct pl_ev timer_ev; /* first: the loop hands this back */
	struct pl_nbd *nbd;
	struct nbd_conn *next;
	int fd;
	struct nbd_tls_session *tls; /* NULL = plain (as yet) */
	/* deadlines, CLOCK_MONOTONIC; 0 = none */
	uint64_t recv_by_ms, send_by_ms, timer_ms;
	struct __kernel_timespec timer_ts;
	bool timer_armed, timer_ending;
	bool idle; /* it is the next request that is waited for */
	/* agreed on */
	bool no_zeroes;
	bool structured; /* answers are chunks, be it with extended headers */
	bool extended;
	struct nbd_context *contexts; /* PL_NBD_CONTEXTS of them, or NULL */
	unsigned n_contexts;
	/* requests */
	unsigned inflight; /* taken and not yet answered, or not sent yet */
	size_t bytes; /* their data */
	struct nbd_req *answers, **answers_tail;
	bool broken; /* nothing can be sent any more */
	bool lost; /* the client left without a goodbye */
	bool sending; /* the sender is there */
	bool sender_ends;
	struct pl_ev *receiving; /* the kernel's next request; NULL = not now */
	enum pl_nbd_end end; /* of a kernel's connection */
	struct pl_waitq to_send, room, drained;
	size_t rx_at, rx_len;
	uint8_t rx[NBD_RX];
};

struct pl_nbd {
	struct pl_nbd_params p;
	char *name, *description;
	struct pl_poll *poll; /* NULL: takes no clients (any more) */
	struct nbd_conn *conns;
	unsigned n_conns;
	bool stopping;
	bool leaving; /* the kernel's connection */
	uint64_t noted_ms; /* when the log got its last line */
	struct pl_waitq gone; /* wakes when a connection is gone */
};

/* A line for the log, now and then: clients can cause any number of them. */
void nbd_note(struct nbd_conn *c, const char *what, const char *why);

/* ---- nbd_share.c ---- */

/* Inside a coroutine: len bytes, aligned to 4096, in the order of the calls;
 * waits until there is room. NULL when the host has no memory. */
void *nbd_share_get(struct nbd_conn *c, size_t len);
void nbd_share_put(struct nbd_conn *c, void *buf, size_t len);
bool nbd_share_enter(struct pl_nbd_share *share); /* one more client */
void nbd_share_leave(struct pl_nbd_share *share);
/*
 * Inside a coroutine, around everything that changes the disk. alone: nothing
 * else changes it meanwhile (a block is read, changed in part, and written).
 */
void nbd_change_begin(struct pl_nbd_share *share, bool alone);
void nbd_change_end(struct pl_nbd_share *share, bool alone);

/* ---- nbd_io.c: bytes in and out, inside a coroutine ---- */

/*
 * All of len bytes; 0 or -errno, -ECONNRESET at the end of the stream. The
 * deadline is the caller's: nbd_deadline().
 */
int nbd_recv(struct nbd_conn *c, void *buf, size_t len);
int nbd_skip(struct nbd_conn *c, uint64_t len);
int nbd_send(struct nbd_conn *c, const struct iovec *iov, unsigned n);
int nbd_send_buf(struct nbd_conn *c, const void *buf, size_t len);
/* Lets everything else have its turn; long work does it between its pieces. */
int nbd_pass(struct nbd_conn *c);
/* From / to the socket as it is. More than 0, or -errno. */
int nbd_raw_recv(struct nbd_conn *c, void *buf, size_t len);
int nbd_raw_send(struct nbd_conn *c, const void *buf, size_t len);

uint64_t nbd_now_ms(void);
/* When what is being received (or sent) has to be complete; 0 = never. */
void nbd_recv_within(struct nbd_conn *c, uint64_t ms);
void nbd_send_within(struct nbd_conn *c, uint64_t ms);
/* Inside a coroutine: no timer is left. */
void nbd_timer_end(struct nbd_conn *c);
void nbd_timer_init(struct nbd_conn *c);

/* ---- nbd_handshake.c ---- */

/* 0: on to the transmission. -errno: the connection ends. */
int nbd_handshake(struct nbd_conn *c);

/* ---- nbd_context.c ---- */

/* The data of LIST_ or SET_META_CONTEXT; answers the client. */
int nbd_meta_context(struct nbd_conn *c, uint32_t opt, const uint8_t *data,
		     uint32_t len);
/* Inside a coroutine: the answer to BLOCK_STATUS, into r->data. */
int nbd_block_status(struct nbd_req *r);
/* BLOCK_STATUS with a payload: how much it is about, and the contexts. */
#define NBD_STATUS_PAYLOAD_MAX (8u + 4u * PL_NBD_CONTEXTS)
int nbd_status_payload(struct nbd_req *r, const uint8_t *payload, size_t len);

/* ---- nbd_sparse.c: coroutines with a struct nbd_req ---- */

/* Is this READ to be answered without the zeros of holes? */
bool nbd_sparse_wanted(const struct nbd_req *r);
void nbd_sparse_read(void *arg);
void nbd_cache(void *arg);

/* ---- nbd_edge.c: inside a coroutine ---- */

/* A request of our own to the engine: 0 or -errno. */
int nbd_engine_call(struct nbd_conn *c, struct pl_req *req);
/* WRITE or WRITE_ZEROES that does not begin and end with a sector. */
int nbd_change_unaligned(struct nbd_req *r);

/* ---- nbd_large.c ---- */

/* TRIM or WRITE_ZEROES of more than is done in one piece? */
bool nbd_is_large(const struct nbd_req *r);
/* A coroutine with a struct nbd_req of whole sectors. */
void nbd_change_large(void *arg);
/* Inside a coroutine: PL_REQ_DISCARD or _WRITE_ZEROES, whole sectors. */
int nbd_in_pieces(struct nbd_conn *c, const struct pl_req *req);
/* Is there nobody (any more) to do long work for? */
bool nbd_given_up(const struct nbd_conn *c);

/* Answers an option: nbd_handshake.c. */
int nbd_opt_reply(struct nbd_conn *c, uint32_t opt, uint32_t type,
		  const void *data, size_t len);
int nbd_opt_refuse(struct nbd_conn *c, uint32_t opt, uint32_t type,
		   const char *why);
bool nbd_name_matches(const struct nbd_conn *c, const uint8_t *name,
		      uint32_t len);

/* ---- nbd_request.c, nbd_reply.c ---- */

void nbd_transmission(struct nbd_conn *c);
/* Makes the head and hands the request to the sender. */
void nbd_answer(struct nbd_req *r, int error);
int nbd_sender_start(struct nbd_conn *c);
/* Inside a coroutine: when all is answered and sent. */
void nbd_sender_end(struct nbd_conn *c);
void nbd_req_free(struct nbd_req *r);
/* The head of one chunk of an answer; returns where its payload goes. */
uint8_t *nbd_put_chunk(uint8_t *p, const struct nbd_req *r, unsigned flags,
		       unsigned type, uint64_t len);

/* ---- nbd_kernel.c ---- */

/*
 * Between two requests: something of the next one is in rx. -errno: there will
 * be none; c->end says why. Does nothing for other clients.
 */
int nbd_kernel_next(struct nbd_conn *c);

/* ---- nbd_tls.c ---- */

/* Inside a coroutine: the client has asked for it and got its ACK. */
int nbd_tls_start(struct nbd_conn *c);
int nbd_tls_recv(struct nbd_conn *c, void *buf, size_t len);
int nbd_tls_send(struct nbd_conn *c, const struct iovec *iov, unsigned n);
/* Inside a coroutine: says goodbye where it can. */
void nbd_tls_bye(struct nbd_conn *c);
void nbd_tls_end(struct nbd_conn *c);

#endif
