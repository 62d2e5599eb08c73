/* SPDX-License-Identifier: Apache-2.0 */
/* Listening sockets of exports, and the URIs that lead to them. */
#ifndef PLOOP_PLOOPD_OFFER_SOCKET_H
#define PLOOP_PLOOPD_OFFER_SOCKET_H

#include "ploopd/attachment.h"

struct pl_offer_socket {
	int fd; /* listening */
	char path[PATH_MAX]; /* of a unix socket, absolute; "" = TCP */
	char address[256]; /* "192.0.2.1:10809", "[::1]:10809"; "" = unix */
	bool bound; /* the path is ours */
	bool loopback; /* only this host can reach it */
};

/* What was left at the path by a server that is gone is replaced. */
int pl_offer_unix(struct pl_offer_socket *ret, const char *path,
		  struct pl_failure *f);

/* "ADDR", "ADDR:PORT", "[ADDR]:PORT", ":PORT"; port 0 = any. */
int pl_offer_tcp(struct pl_offer_socket *ret, const char *listen,
		 struct pl_failure *f);

/* nbd://…, nbds://…, nbd+unix://…, nbds+unix://…; -ENAMETOOLONG. */
int pl_offer_uri(const struct pl_offer_socket *s, const char *name, bool tls,
		 char *ret, size_t size);

#endif
