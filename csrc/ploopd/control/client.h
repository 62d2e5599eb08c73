/* SPDX-License-Identifier: Apache-2.0 */
/* A client of a control socket, for the commands of ploopd. Blocks. */
#ifndef PLOOP_PLOOPD_CLIENT_H
#define PLOOP_PLOOPD_CLIENT_H

#include <jansson.h>

/* A connection whose answers must come in time; or -errno. */
int pl_client_connect(const char *folder, unsigned timeout_ms);

/* Sends one request (a line without its newline) and takes one answer, NULL
 * when none came. fds: PL_FDS_SENT of them, -1 = none; may be NULL. */
json_t *pl_client_ask(int fd, const char *request, const int *fds);

/* Connects, asks, closes; the "result" of the answer, NULL when there is none.
 * The caller owns it. */
json_t *pl_client_result(const char *folder, unsigned timeout_ms,
			 const char *request);

#endif
