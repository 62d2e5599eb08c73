/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32C against published values. */
#include "base/crc32c.h"
#include "tap.h"

pl_test("gives the check value of CRC-32C (FMT-002)")
{
	is_int(pl_crc32c(0, "123456789", 9), 0xe3069283);
}

/* RFC 3720, B.4. */
pl_test("gives the values of RFC 3720 for 32 bytes (FMT-002)")
{
	uint8_t buf[32];

	memset(buf, 0, sizeof(buf));
	is_int(pl_crc32c(0, buf, sizeof(buf)), 0x8a9136aa);
	memset(buf, 0xff, sizeof(buf));
	is_int(pl_crc32c(0, buf, sizeof(buf)), 0x62a8ab43);
	for (unsigned i = 0; i < 32; i++)
		buf[i] = (uint8_t)i;
	is_int(pl_crc32c(0, buf, sizeof(buf)), 0x46dd794e);
	for (unsigned i = 0; i < 32; i++)
		buf[i] = (uint8_t)(31 - i);
	is_int(pl_crc32c(0, buf, sizeof(buf)), 0x113fdb5c);
}

pl_test("chains over any split of the bytes (FMT-002)")
{
	uint8_t buf[3000];
	uint32_t whole, part;

	for (unsigned i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)(i * 7 + i / 256);
	whole = pl_crc32c(0, buf, sizeof(buf));
	for (unsigned cut = 0; cut <= sizeof(buf); cut += 37) {
		part = pl_crc32c(0, buf, cut);
		is_int(pl_crc32c(part, buf + cut, sizeof(buf) - cut), whole);
	}
}

pl_test("leaves the start value as it is over no bytes")
{
	is_int(pl_crc32c(0, "", 0), 0);
	is_int(pl_crc32c(0x12345678, "", 0), 0x12345678);
}

int main(void)
{
	return pl_tap_main();
}
