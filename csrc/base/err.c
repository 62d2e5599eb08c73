/* SPDX-License-Identifier: Apache-2.0 */
/* Error objects of the control path: see err.h. */
#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct {
	enum pl_code code;
	int exit_code;
	const char *name;
} codes[] = {
#define PL_ERROR(name, number, exit_code, meaning) \
	{ PL_E_##name, exit_code, #name },
#include "ploop/errors.def"
#undef PL_ERROR
};

const char *pl_code_name(enum pl_code code)
{
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (codes[i].code == code)
			return codes[i].name;
	return code == PL_E_OK ? "OK" : "INTERNAL";
}

int pl_code_exit(enum pl_code code)
{
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (codes[i].code == code)
			return codes[i].exit_code;
	return code == PL_E_OK ? 0 : 70;
}

/* Parts of a message may come from a file: they must not steer a terminal. */
static void make_printable(char *msg)
{
	for (; *msg; msg++)
		if ((unsigned char)*msg < ' ' || *msg == 0x7f)
			*msg = '?';
}

int pl_err_set(struct pl_err *err, enum pl_code code, int sys_errno,
	       const char *fmt, ...)
{
	va_list ap;

	if (err) {
		err->code = code;
		err->sys_errno = sys_errno;
		va_start(ap, fmt);
		vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
		va_end(ap);
		make_printable(err->msg);
	}
	return sys_errno > 0 ? -sys_errno : -EINVAL;
}

static enum pl_code code_of_errno(int e)
{
	switch (e) {
	case ENOSPC:
	case EDQUOT:
		return PL_E_NO_SPACE;
	case ENOMEM:
		return PL_E_NO_MEMORY;
	case EACCES:
	case EPERM:
		return PL_E_NOT_PERMITTED;
	case EROFS:
		return PL_E_READ_ONLY;
	default:
		return PL_E_IO;
	}
}

int pl_err_sys(struct pl_err *err, int neg_errno, const char *fmt, ...)
{
	va_list ap;
	size_t used;

	if (err) {
		err->code = code_of_errno(-neg_errno);
		err->sys_errno = -neg_errno;
		va_start(ap, fmt);
		vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
		va_end(ap);
		make_printable(err->msg);
		used = strlen(err->msg);
		snprintf(err->msg + used, sizeof(err->msg) - used, ": %s",
			 strerrordesc_np(-neg_errno) ?
				 strerrordesc_np(-neg_errno) :
				 "unknown error");
	}
	return neg_errno;
}

void pl_err_wrap(struct pl_err *err, const char *fmt, ...)
{
	char text[sizeof(err->msg) - 2];
	va_list ap;
	size_t used, left;

	if (!err)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	make_printable(text);
	used = strlen(text);
	left = sizeof(err->msg) - used - 2 - 1;
	if (strlen(err->msg) < left)
		left = strlen(err->msg);
	memmove(err->msg + used + 2, err->msg, left);
	err->msg[used + 2 + left] = '\0';
	memcpy(err->msg, text, used);
	memcpy(err->msg + used, ": ", 2);
}
