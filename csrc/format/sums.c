/* SPDX-License-Identifier: Apache-2.0 */
/* Block checksums of sealed layers (FMT-120 ff.). */
#include "base/crc32c.h"
#include "format/format.h"
#include "format/le.h"

#define SUMS_CRC (PL_PAGE - 16)
#define SUMS_MAGIC_OFF (PL_PAGE - 12)
#define SUMS_NUMBER (PL_PAGE - 8)
#define SUMS_MAGIC 0x53424c50u /* "PLBS" */

_Static_assert(PL_SUMS_PER_PAGE * 4 <= SUMS_CRC, "the sums fit");

static uint32_t sums_crc(const void *page)
{
	const char *p = page;
	uint32_t crc = pl_crc32c(0, p, SUMS_CRC);

	return pl_crc32c(crc, p + SUMS_CRC + 4, 12);
}

void pl_sums_encode(const uint32_t *sums, uint64_t number, void *page)
{
	memset(page, 0, PL_PAGE);
	for (unsigned i = 0; i < PL_SUMS_PER_PAGE; i++)
		put32(page, (size_t)i * 4, sums[i]);
	put32(page, SUMS_MAGIC_OFF, SUMS_MAGIC);
	put64(page, SUMS_NUMBER, number);
	put32(page, SUMS_CRC, sums_crc(page));
}

bool pl_sums_decode(const void *page, uint64_t number, uint32_t *sums)
{
	for (unsigned i = 0; i < PL_SUMS_PER_PAGE; i++)
		sums[i] = get32(page, (size_t)i * 4);
	return get32(page, SUMS_CRC) == sums_crc(page) &&
	       get32(page, SUMS_MAGIC_OFF) == SUMS_MAGIC &&
	       get64(page, SUMS_NUMBER) == number;
}
