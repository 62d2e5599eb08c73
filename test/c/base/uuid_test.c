/* SPDX-License-Identifier: Apache-2.0 */
/* UUIDs: text, parsing, randomness. */
#include "base/uuid.h"
#include "tap.h"

#define TEXT "00112233-4455-6677-8899-aabbccddeeff"

pl_test("writes 8-4-4-4-12 lower-case digits, first byte first (FMT-104)")
{
	struct pl_uuid uuid;
	char text[PL_UUID_TEXT];

	for (unsigned i = 0; i < 16; i++)
		uuid.b[i] = (uint8_t)(i * 0x11);
	pl_uuid_format(&uuid, text);
	is_str(text, TEXT);
}

pl_test("reads what it wrote")
{
	struct pl_uuid uuid;
	char text[PL_UUID_TEXT];

	require(pl_uuid_parse(TEXT, &uuid));
	is_int(uuid.b[0], 0);
	is_int(uuid.b[15], 0xff);
	pl_uuid_format(&uuid, text);
	is_str(text, TEXT);
}

pl_test("refuses every other way to write one (FMT-104)")
{
	static const char *const bad[] = {
		"",
		"00112233-4455-6677-8899-aabbccddeef",
		"00112233-4455-6677-8899-aabbccddeefff",
		"00112233-4455-6677-8899-AABBCCDDEEFF",
		"00112233445566778899aabbccddeeff",
		"00112233-4455-6677-8899aabbccddeeff-",
		"{0112233-4455-6677-8899-aabbccddeef}",
		"0011223g-4455-6677-8899-aabbccddeeff",
		"../../../../../../../../../../etc/pwd",
		" 0112233-4455-6677-8899-aabbccddeeff",
	};
	struct pl_uuid uuid;

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (!ok(!pl_uuid_parse(bad[i], &uuid)))
			printf("# \"%s\"\n", bad[i]);
}

pl_test("makes random ones of version 4 that differ")
{
	struct pl_uuid a, b;

	is_int(pl_uuid_random(&a), 0);
	is_int(pl_uuid_random(&b), 0);
	is_int(a.b[6] >> 4, 4);
	is_int(a.b[8] >> 6, 2);
	ok(!pl_uuid_equal(&a, &b));
	ok(!pl_uuid_is_nil(&a));
}

pl_test("knows the nil one")
{
	struct pl_uuid nil = { { 0 } }, other = { { 0 } };

	other.b[15] = 1;
	ok(pl_uuid_is_nil(&nil));
	ok(!pl_uuid_is_nil(&other));
	ok(pl_uuid_equal(&nil, &nil));
	ok(!pl_uuid_equal(&nil, &other));
}

int main(void)
{
	return pl_tap_main();
}
