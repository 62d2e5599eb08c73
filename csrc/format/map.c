/* SPDX-License-Identifier: Apache-2.0 */
/* Map pages and the directory (FMT-020 ff., FMT-030 ff.). */
#include <errno.h>

#include "base/crc32c.h"
#include "base/zero.h"
#include "format/format.h"
#include "format/le.h"

#define DIR_CRC (PL_PAGE - 16)
#define DIR_MAGIC_OFF (PL_PAGE - 12)
#define DIR_NUMBER (PL_PAGE - 8)
#define DIR_MAGIC 0x50444c50u /* "PLDP" */

void pl_map_encode(const struct pl_entry *entries, void *page)
{
	for (unsigned i = 0; i < PL_PAGE_ENTRIES; i++) {
		put64(page, (size_t)i * 16, entries[i].where);
		put64(page, (size_t)i * 16 + 8, entries[i].owned);
	}
}

void pl_map_decode(const void *page, struct pl_entry *entries)
{
	for (unsigned i = 0; i < PL_PAGE_ENTRIES; i++) {
		entries[i].where = get64(page, (size_t)i * 16);
		entries[i].owned = get64(page, (size_t)i * 16 + 8);
	}
}

int pl_entry_validate(const struct pl_header *hdr, uint64_t cno,
		      const struct pl_entry *entry, struct pl_err *err)
{
	if (entry->where > PL_WHERE_MAX)
		return pl_err_set(err, PL_E_CORRUPT, EUCLEAN,
				  "cluster %llu: reserved bits are set",
				  (unsigned long long)cno);
	if (entry->where && entry->where < hdr->first_cluster)
		return pl_err_set(err, PL_E_CORRUPT, EUCLEAN,
				  "cluster %llu: host cluster %llu lies in "
				  "the metadata",
				  (unsigned long long)cno,
				  (unsigned long long)entry->where);
	if (entry->owned & ~pl_owned_limit(hdr, cno))
		return pl_err_set(err, PL_E_CORRUPT, EUCLEAN,
				  "cluster %llu: owns blocks beyond the end "
				  "of the disk",
				  (unsigned long long)cno);
	return 0;
}

static uint32_t dir_crc(const void *page)
{
	const char *p = page;
	uint32_t crc = pl_crc32c(0, p, DIR_CRC);

	return pl_crc32c(crc, p + DIR_CRC + 4, 12);
}

void pl_dir_page_encode(const struct pl_dir_entry *entries, uint64_t dpno,
			void *page)
{
	memset(page, 0, PL_PAGE);
	for (unsigned i = 0; i < PL_DIR_ENTRIES; i++) {
		put64(page, (size_t)i * 16, entries[i].location);
		put32(page, (size_t)i * 16 + 8, entries[i].crc);
	}
	put32(page, DIR_MAGIC_OFF, DIR_MAGIC);
	put64(page, DIR_NUMBER, dpno);
	put32(page, DIR_CRC, dir_crc(page));
}

uint32_t pl_dir_page_crc(const void *page)
{
	return get32(page, DIR_CRC);
}

enum pl_dir_page_state pl_dir_page_decode(const void *page, uint64_t dpno,
					  struct pl_dir_entry *entries)
{
	for (unsigned i = 0; i < PL_DIR_ENTRIES; i++) {
		entries[i].location = get64(page, (size_t)i * 16);
		entries[i].crc = get32(page, (size_t)i * 16 + 8);
	}
	if (pl_is_zero(page, PL_PAGE))
		return PL_DIR_PAGE_EMPTY;
	if (get32(page, DIR_CRC) != dir_crc(page) ||
	    get32(page, DIR_MAGIC_OFF) != DIR_MAGIC ||
	    get64(page, DIR_NUMBER) != dpno)
		return PL_DIR_PAGE_BAD;
	return PL_DIR_PAGE_OK;
}
