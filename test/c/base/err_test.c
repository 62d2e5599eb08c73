/* SPDX-License-Identifier: Apache-2.0 */
/* Error objects: filling, wrapping, limits. */
#include <errno.h>

#include "base/err.h"
#include "tap.h"

pl_test("set fills code, errno and message and returns the errno negated")
{
	struct pl_err err;

	is_int(pl_err_set(&err, PL_E_CORRUPT, EUCLEAN, "page %d", 17),
	       -EUCLEAN);
	is_int(err.code, PL_E_CORRUPT);
	is_int(err.sys_errno, EUCLEAN);
	is_str(err.msg, "page 17");
}

pl_test("set without an errno returns -EINVAL")
{
	struct pl_err err;

	is_int(pl_err_set(&err, PL_E_INTERNAL, 0, "x"), -EINVAL);
	is_int(err.sys_errno, 0);
}

pl_test("every function accepts no object at all")
{
	is_int(pl_err_set(NULL, PL_E_BUSY, EBUSY, "x"), -EBUSY);
	is_int(pl_err_sys(NULL, -EIO, "x"), -EIO);
	pl_err_wrap(NULL, "x");
}

pl_test("sys picks the code that says what is wrong for the user")
{
	static const struct {
		int sys_errno;
		enum pl_code code;
	} cases[] = {
		{ ENOSPC, PL_E_NO_SPACE },
		{ EDQUOT, PL_E_NO_SPACE },
		{ ENOMEM, PL_E_NO_MEMORY },
		{ EACCES, PL_E_NOT_PERMITTED },
		{ EPERM, PL_E_NOT_PERMITTED },
		{ EROFS, PL_E_READ_ONLY },
		{ EIO, PL_E_IO },
		{ ESTALE, PL_E_IO },
	};
	struct pl_err err;

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		is_int(pl_err_sys(&err, -cases[i].sys_errno, "x"),
		       -cases[i].sys_errno);
		is_int(err.code, cases[i].code);
		is_int(err.sys_errno, cases[i].sys_errno);
	}
}

pl_test("sys says what the system said")
{
	struct pl_err err;

	pl_err_sys(&err, -ENOSPC, "layer %s", "9f2c");
	is_str(err.msg, "layer 9f2c: No space left on device");
	pl_err_sys(&err, -4095, "x");
	is_str(err.msg, "x: unknown error");
}

pl_test("wrap puts the context in front")
{
	struct pl_err err;

	pl_err_set(&err, PL_E_CORRUPT, EUCLEAN, "checksum mismatch");
	pl_err_wrap(&err, "map page %d", 3);
	pl_err_wrap(&err, "layer %s", "9f2c");
	is_str(err.msg, "layer 9f2c: map page 3: checksum mismatch");
}

pl_test("long messages are cut at the end, never overrun")
{
	struct pl_err err;
	char text[2000];

	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	pl_err_set(&err, PL_E_IO, EIO, "%s", text);
	is_int(strlen(err.msg), sizeof(err.msg) - 1);
	pl_err_wrap(&err, "front");
	is_int(strlen(err.msg), sizeof(err.msg) - 1);
	is_int(strncmp(err.msg, "front: aaa", 10), 0);
	pl_err_wrap(&err, "%s", text);
	ok(strlen(err.msg) < sizeof(err.msg));
	pl_err_sys(&err, -EIO, "%s", text);
	is_int(strlen(err.msg), sizeof(err.msg) - 1);
}

pl_test("codes have their names and exit statuses")
{
	is_str(pl_code_name(PL_E_CORRUPT), "CORRUPT");
	is_int(pl_code_exit(PL_E_CORRUPT), 4);
	is_str(pl_code_name(PL_E_OK), "OK");
	is_int(pl_code_exit(PL_E_OK), 0);
	is_str(pl_code_name((enum pl_code)999), "INTERNAL");
	is_int(pl_code_exit((enum pl_code)999), 70);
}

pl_test("lets nothing in a message steer a terminal")
{
	struct pl_err e = { 0 };

	pl_err_set(&e, PL_E_CORRUPT, EUCLEAN, "name \"%s\"", "a\033[2J\nb\177");
	is_str(e.msg, "name \"a?[2J?b?\"");
	pl_err_wrap(&e, "%s", "dir\r");
	ok(strncmp(e.msg, "dir?: name", 10) == 0);
	pl_err_sys(&e, -EIO, "file\t");
	ok(strncmp(e.msg, "file?: ", 7) == 0);
}

int main(void)
{
	return pl_tap_main();
}
