/* SPDX-License-Identifier: Apache-2.0 */
/* Is it all zeros? */
#ifndef PLOOP_BASE_ZERO_H
#define PLOOP_BASE_ZERO_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* len > 0. Each byte is like the one before, and the first one is zero. */
static inline bool pl_is_zero(const void *p, size_t len)
{
	const char *bytes = p;

	return bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0;
}

#endif
