/* SPDX-License-Identifier: Apache-2.0 */
/* New files in the scratch directory, and what to fill them with. */
#ifndef PL_TEST_STORE_FILE_H
#define PL_TEST_STORE_FILE_H

#include <errno.h>
#include <fcntl.h>

#include "scratch.h"
#include "store/store.h"
#include "tap.h"

static struct pl_err err;
static char buf[1 << 20] __attribute__((aligned(4096)));

/* Also fills buf. NULL: it failed, and says why. */
static inline struct pl_store *fresh(struct pl_dir **dir, const char *name,
				     unsigned flags, struct pl_loop *loop)
{
	struct pl_store *st = NULL;

	*dir = NULL;
	if (pl_dir_open(dir, scratch(), 0, loop, &err) < 0 ||
	    (*dir)->ops->open(*dir, name,
			      PL_OPEN_WRITE | PL_OPEN_CREATE | flags, &st,
			      &err) < 0)
		printf("# %s\n", err.msg);
	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (char)(i * 31 + i / 4096 + 1);
	return st;
}

static inline bool all_zero(const char *p, size_t n)
{
	return p[0] == 0 && memcmp(p, p + 1, n - 1) == 0;
}

#endif
