/* SPDX-License-Identifier: Apache-2.0 */
/* UUIDs: see uuid.h. */
#include "base/uuid.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

int pl_uuid_random(struct pl_uuid *ret)
{
	ssize_t n;

	do {
		n = getrandom(ret->b, sizeof(ret->b), 0);
	} while (n < 0 && errno == EINTR);
	if (n != (ssize_t)sizeof(ret->b))
		return n < 0 ? -errno : -EIO;
	ret->b[6] = (uint8_t)((ret->b[6] & 0x0f) | 0x40);
	ret->b[8] = (uint8_t)((ret->b[8] & 0x3f) | 0x80);
	return 0;
}

static bool dash_after(int byte)
{
	return byte == 3 || byte == 5 || byte == 7 || byte == 9;
}

void pl_uuid_format(const struct pl_uuid *uuid, char text[PL_UUID_TEXT])
{
	char *p = text;

	for (int i = 0; i < 16; i++) {
		p += snprintf(p, 3, "%02x", (unsigned)uuid->b[i]);
		if (dash_after(i))
			*p++ = '-';
	}
	*p = '\0';
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

bool pl_uuid_parse(const char *text, struct pl_uuid *ret)
{
	int hi, lo;

	if (strnlen(text, PL_UUID_TEXT) != PL_UUID_TEXT - 1)
		return false;
	for (int i = 0; i < 16; i++) {
		hi = hex(text[0]);
		lo = hex(text[1]);
		if (hi < 0 || lo < 0)
			return false;
		ret->b[i] = (uint8_t)(hi << 4 | lo);
		text += 2;
		if (dash_after(i) && *text++ != '-')
			return false;
	}
	return true;
}

bool pl_uuid_is_nil(const struct pl_uuid *uuid)
{
	static const struct pl_uuid nil;

	return pl_uuid_equal(uuid, &nil);
}

bool pl_uuid_equal(const struct pl_uuid *a, const struct pl_uuid *b)
{
	return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}
