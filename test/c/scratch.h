/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A temporary directory under TMPDIR (on a file system with holes and direct
 * I/O: /var/tmp by default), removed when the test program ends.
 */
#ifndef PL_TEST_SCRATCH_H
#define PL_TEST_SCRATCH_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char scratch_path[200];

static int scratch_remove_one(const char *path, const struct stat *sb, int type,
			      struct FTW *ftw)
{
	(void)sb, (void)type, (void)ftw;
	return remove(path);
}

static void scratch_remove(void)
{
	nftw(scratch_path, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* The program's scratch directory. */
static inline const char *scratch(void)
{
	const char *tmp = getenv("TMPDIR");

	if (!scratch_path[0]) {
		snprintf(scratch_path, sizeof(scratch_path), "%s/pl-c-XXXXXX",
			 tmp && *tmp ? tmp : "/var/tmp");
		if (!mkdtemp(scratch_path)) {
			perror(scratch_path);
			exit(1);
		}
		atexit(scratch_remove);
	}
	return scratch_path;
}

/* A path in there, for use until the next call but three. */
static inline const char *scratch_file(const char *name)
{
	static char path[4][300];
	static unsigned next;

	next = (next + 1) % 4;
	snprintf(path[next], sizeof(path[next]), "%s/%s", scratch(), name);
	return path[next];
}

#endif
