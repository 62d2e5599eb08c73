/* SPDX-License-Identifier: Apache-2.0 */
/* Random UUIDs (RFC 9562, version 4), binary and textual. */
#ifndef PLOOP_BASE_UUID_H
#define PLOOP_BASE_UUID_H

#include <stdbool.h>
#include <stdint.h>

#define PL_UUID_TEXT 37 /* with the NUL */

struct pl_uuid {
	uint8_t b[16];
};

/* From the kernel's generator; 0 or -errno. */
int pl_uuid_random(struct pl_uuid *ret);
void pl_uuid_format(const struct pl_uuid *uuid, char text[PL_UUID_TEXT]);
/* false when text is not exactly 8-4-4-4-12 lower-case hex digits. */
bool pl_uuid_parse(const char *text, struct pl_uuid *ret);
bool pl_uuid_is_nil(const struct pl_uuid *uuid);
bool pl_uuid_equal(const struct pl_uuid *a, const struct pl_uuid *b);

#endif
