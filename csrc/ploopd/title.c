/* SPDX-License-Identifier: Apache-2.0 */
/* The command line in /proc: see title.h. It is the memory of argv itself. */
#include "ploopd/title.h"

#include <stdio.h>
#include <string.h>

static char *start;
static size_t size;

void pl_title_init(int argc, char **argv)
{
	start = argv[0];
	size = 0;
	for (int i = 0; i < argc && argv[i] == start + size; i++)
		size += strlen(argv[i]) + 1;
}

void pl_title_set(const char *who, const char *directory)
{
	if (size == 0)
		return;
	memset(start, 0, size);
	snprintf(start, size, "ploopd: %s of %s", who, directory);
}
