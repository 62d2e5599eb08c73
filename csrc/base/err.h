/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors of the control path: a caller-owned, fixed-size object.
 *
 * A function that takes `struct pl_err *err` fills it where the fault is seen
 * and returns a negative value; callers add context with pl_err_wrap(). On
 * success it is not touched. `err` may be NULL. The data path (one call per
 * request) returns 0 or -errno and never an object.
 */
#ifndef PLOOP_BASE_ERR_H
#define PLOOP_BASE_ERR_H

#include <stdarg.h>
#include <stddef.h>

enum pl_code {
	PL_E_OK = 0,
#define PL_ERROR(name, number, exit_code, meaning) PL_E_##name = number,
#include "ploop/errors.def"
#undef PL_ERROR
};

struct pl_err {
	enum pl_code code; /* what is wrong, for the user */
	int sys_errno; /* what the system said, positive; 0 = nothing */
	char msg[480]; /* "layer 9f2c…: map page 17: checksum mismatch" */
};

/* Fills err; returns -(sys_errno) or -EINVAL when there is none. */
int pl_err_set(struct pl_err *err, enum pl_code code, int sys_errno,
	       const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/*
 * From a negative errno: picks the code (ENOSPC/EDQUOT -> NO_SPACE, ENOMEM ->
 * NO_MEMORY, EACCES/EPERM -> NOT_PERMITTED, EROFS -> READ_ONLY, otherwise IO)
 * and appends ": <errno name>" to the message. Returns `neg_errno`.
 */
int pl_err_sys(struct pl_err *err, int neg_errno, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Puts "context: " before the message. Does nothing when err is NULL. */
void pl_err_wrap(struct pl_err *err, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* "CORRUPT" for PL_E_CORRUPT; never NULL. */
const char *pl_code_name(enum pl_code code);

/* The process exit status of a code (docs/errors.md); 0 for PL_E_OK. */
int pl_code_exit(enum pl_code code);

#endif
