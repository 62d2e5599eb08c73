/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket (docs/control.md): connections, lines, answers. What the
 * operations do is control_ops.c.
 *
 * A request is a call; it may be answered at once or later, from a coroutine.
 * Its client may be gone by then: answers to nobody are dropped.
 */
#ifndef PLOOP_PLOOPD_CONTROL_H
#define PLOOP_PLOOPD_CONTROL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "ploopd/keeper/fds.h"

struct pl_loop;
struct pl_control;
struct pl_control_client;

#define PL_CONTROL_LINE_MAX (64u << 10) /* bytes of a request */
#define PL_CONTROL_CLIENTS 64u
#define PL_CONTROL_CALLS 16u /* of one client at a time */
#define PL_CONTROL_FDS PL_FDS_SENT /* descriptors that come with a request */
#define PL_CONTROL_UNSENT (4u << 20) /* bytes a client may leave unread */

struct pl_call {
	struct pl_control_client *client;
	struct pl_call *next; /* of the client's */
	json_t *request; /* the whole object */
	json_t *id; /* in it; NULL = none */
	const char *op; /* in it */
	bool cancelled;
	int fd[PL_CONTROL_FDS]; /* came with it; -1 = none, or taken */
	void *user; /* pl_control_params.user */
};

struct pl_control_params {
	struct pl_loop *loop;
	int listen_fd; /* O_NONBLOCK; stays the caller's */
	/* Starts to work on a call; must end in one of the answers below. */
	void (*call)(struct pl_call *call);
	void *user;
};

int pl_control_new(struct pl_control **ret,
		   const struct pl_control_params *params, struct pl_err *err);
/* Takes no more connections. */
void pl_control_stop(struct pl_control *control);
/* Without clients. Accepts NULL. */
void pl_control_free(struct pl_control *control);
/* Long work that is under way stops where it can. */
void pl_control_cancel_all(struct pl_control *control);
/* Inside a coroutine: waits until what was answered went out (or nobody reads
 * it for a second). */
void pl_control_drain(struct pl_control *control);

/* Answers; the call is gone afterwards. result may be NULL: {}. Steals it. */
void pl_call_result(struct pl_call *call, json_t *result);
void pl_call_error(struct pl_call *call, const struct pl_err *err);
void pl_call_fail(struct pl_call *call, enum pl_code code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void pl_call_progress(struct pl_call *call, uint64_t done, uint64_t total);

/* Marks the same client's call with this id; false: there is none. */
bool pl_call_cancel(struct pl_call *call, const json_t *target);

/* ---- control_line.c ---- */

/*
 * A request line (without its newline) into an object with a usable "op";
 * *ret_id is borrowed from it, NULL when there is none. err: INVALID_ARGUMENT.
 */
json_t *pl_control_parse(const char *line, size_t len, json_t **ret_id,
			 struct pl_err *err);

#endif
