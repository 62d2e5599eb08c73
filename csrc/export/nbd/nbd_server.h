/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One virtual disk served by the NBD protocol on one listening socket, under
 * one name (and under the empty one). docs/nbd.md says what of the protocol is
 * there.
 *
 * Bounds: connections of an export and of all together, requests and bytes of
 * data in flight of a connection and of all together, the time a client may
 * take for the handshake, for a message it began and for taking an answer.
 * What would go beyond waits in the socket; nothing is buffered without limit.
 */
#ifndef PLOOP_EXPORT_NBD_NBD_SERVER_H
#define PLOOP_EXPORT_NBD_NBD_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct pl_engine;
struct pl_loop;
struct pl_nbd;
struct pl_nbd_share;
struct pl_nbd_tls;

#define PL_NBD_CLIENTS 16u /* connections of one export */
#define PL_NBD_CLIENTS_ALL 64u
#define PL_NBD_REQUEST_MAX (32u << 20) /* bytes of data of one request */
#define PL_NBD_REQUESTS 128u /* of one connection in flight */
#define PL_NBD_BYTES \
	(8u << 20) /* of data in flight, one connection; or one request */
#define PL_NBD_CONTEXTS 32u /* metadata contexts that one client may choose */

/* What all exports of a process share: memory for data, clients in number. */
int pl_nbd_share_new(struct pl_nbd_share **ret, size_t max_bytes);
void pl_nbd_share_free(struct pl_nbd_share *share); /* accepts NULL */

/*
 * Metadata contexts beside base:allocation.
 *
 * name: the i-th context's, from 0; false = there are no more. status: as
 * PL_REQ_STATUS does it, in a coroutine, hole meaning "not dirty".
 */
struct pl_req_status;
struct pl_nbd_contexts {
	bool (*name)(void *arg, unsigned i, char *ret, size_t size);
	int (*status)(void *arg, const char *name, uint64_t off, uint64_t len,
		      struct pl_req_status *ret);
	void *arg;
};

/* How a kernel's connection ended. */
enum pl_nbd_end {
	PL_NBD_LEFT, /* by pl_nbd_leave(); all that was taken is answered */
	PL_NBD_GOODBYE, /* the kernel is done with it */
	PL_NBD_LOST, /* in the middle of things */
};

struct pl_nbd_params {
	struct pl_loop *loop;
	struct pl_engine *engine;
	struct pl_nbd_share *share;
	int listen_fd; /* O_NONBLOCK; stays the caller's */
	const char *name; /* of the export; copied */
	const char *description; /* copied */
	bool read_only;
	unsigned idle_ms; /* a client without a request; 0 = for ever */
	/* For the handshake, and for a message that was begun; 0 = the usual. */
	unsigned handshake_ms, stall_ms;
	struct pl_nbd_tls *tls; /* NULL = plain; stays the caller's */
	const struct pl_nbd_contexts *contexts; /* may be NULL */
	/* Something worth a line in the log. */
	void (*note)(void *arg, const char *text);
	void *arg;
	/*
	 * The client is the kernel's own: its one connection, which
	 * pl_nbd_serve() gets, is past the handshake, nothing about it has a
	 * deadline, and it may be left to the next server: nbd_kernel.c. ended:
	 * it is over; inside a coroutine.
	 */
	bool kernel;
	void (*ended)(void *arg, enum pl_nbd_end how);
};

/* Starts to serve. */
int pl_nbd_new(struct pl_nbd **ret, const struct pl_nbd_params *params,
	       struct pl_err *err);

unsigned pl_nbd_clients(const struct pl_nbd *nbd);

/*
 * Takes no more clients. What they send from now on gets ESHUTDOWN, requests
 * under way are answered, then the connections end. Clients that do not take
 * their answers are cut off after some seconds.
 */
void pl_nbd_stop(struct pl_nbd *nbd);

/*
 * For the kernel's connection, instead: takes no request any more but what was
 * read already, answers it, and ends; whoever has the socket then goes on.
 */
void pl_nbd_leave(struct pl_nbd *nbd);

/* After pl_nbd_stop(), inside a coroutine: returns when no client is left. */
void pl_nbd_drain(struct pl_nbd *nbd);

/* Requests taken and not yet answered. */
unsigned pl_nbd_inflight(const struct pl_nbd *nbd);

/* Without clients. Accepts NULL. */
void pl_nbd_free(struct pl_nbd *nbd);

/* One connection that is there already (tests). Takes over fd. */
int pl_nbd_serve(struct pl_nbd *nbd, int fd);

/* ---- nbd_tls.c, nbd_gnutls.c ---- */

/*
 * Loads the library that TLS needs, if it is not yet: 0, or -errno with the
 * reason. Opens files and maps code: before privileges are given up, and a
 * process forked from there has it, too.
 */
int pl_nbd_tls_load(struct pl_err *err);
bool pl_nbd_tls_loaded(void);

/* What a server proves itself with, and asks of its clients: PEM texts. */
struct pl_nbd_tls_params {
	const char *ca, *cert, *key; /* X.509; NULL when there are keys */
	const char *crl; /* may be NULL */
	const char *psk; /* "user:hex" lines, or NULL */
	bool verify_peer; /* clients need a certificate of that CA */
};

/* The library is loaded. */
int pl_nbd_tls_new(struct pl_nbd_tls **ret,
		   const struct pl_nbd_tls_params *params, struct pl_err *err);
void pl_nbd_tls_free(struct pl_nbd_tls *tls); /* accepts NULL */

#endif
