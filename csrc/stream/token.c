/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens (STR-060): "ploop1-" and 192 hexadecimal digits: five UUIDs, an
 * offset, a CRC-32C of these, and 4 bytes of zeros.
 */
#include <errno.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/uuid.h"
#include "format/le.h"
#include "stream/manifest.h"

#define PREFIX "ploop1-"
#define IDS 5u
#define BYTES (IDS * 16u + 8u + 8u)

static void put_id(uint8_t *p, const char *text)
{
	struct pl_uuid uuid = { 0 };

	if (*text)
		pl_uuid_parse(text, &uuid);
	memcpy(p, uuid.b, sizeof(uuid.b));
}

static void get_id(const uint8_t *p, char *text)
{
	struct pl_uuid uuid;

	memcpy(uuid.b, p, sizeof(uuid.b));
	text[0] = '\0';
	if (!pl_uuid_is_nil(&uuid))
		pl_uuid_format(&uuid, text);
}

void token_format(const struct stream_token *t, char text[TOKEN_TEXT])
{
	static const char digits[] = "0123456789abcdef";
	const char *ids[IDS] = { t->image, t->from, t->last, t->base,
				 t->snapshot };
	uint8_t raw[BYTES] = { 0 };
	char *p = text + strlen(PREFIX);

	for (unsigned i = 0; i < IDS; i++)
		put_id(raw + i * 16u, ids[i]);
	put64(raw, IDS * 16u, t->off);
	put32(raw, IDS * 16u + 8u, pl_crc32c(0, raw, IDS * 16u + 8u));
	memcpy(text, PREFIX, strlen(PREFIX));
	for (unsigned i = 0; i < BYTES; i++) {
		*p++ = digits[raw[i] >> 4];
		*p++ = digits[raw[i] & 15];
	}
	*p = '\0';
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool unhex(const char *text, uint8_t raw[BYTES])
{
	if (strncmp(text, PREFIX, strlen(PREFIX)) != 0)
		return false;
	text += strlen(PREFIX);
	if (strlen(text) != 2u * BYTES)
		return false;
	for (unsigned i = 0; i < BYTES; i++) {
		int hi = digit(text[2 * i]), lo = digit(text[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return false;
		raw[i] = (uint8_t)(hi << 4 | lo);
	}
	return true;
}

int token_parse(const char *text, struct stream_token *ret, struct pl_err *err)
{
	char *ids[IDS] = { ret->image, ret->from, ret->last, ret->base,
			   ret->snapshot };
	uint8_t raw[BYTES];

	if (!unhex(text, raw) ||
	    get32(raw, IDS * 16u + 8u) != pl_crc32c(0, raw, IDS * 16u + 8u))
		return pl_err_set(err, PL_E_INVALID_ARGUMENT, EINVAL,
				  "the token is not one that ploop receive "
				  "--resume-token printed; copy all of it");
	for (unsigned i = 0; i < IDS; i++)
		get_id(raw + i * 16u, ids[i]);
	ret->off = get64(raw, IDS * 16u);
	return 0;
}
