/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32C: see crc32c.h. */
#include "base/crc32c.h"

#include <isa-l/crc.h>

uint32_t pl_crc32c(uint32_t crc, const void *buf, size_t len)
{
	const unsigned char *p = buf;

	/* ISA-L counts in int. */
	while (len > (1u << 30)) {
		crc = ~crc32_iscsi((unsigned char *)(uintptr_t)p, 1 << 30,
				   ~crc);
		p += 1u << 30;
		len -= 1u << 30;
	}
	return ~crc32_iscsi((unsigned char *)(uintptr_t)p, (int)len, ~crc);
}
