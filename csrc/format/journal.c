/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Journal records (FMT-040 ff.). Each record's checksum starts from the one
 * before it, so that a leftover of an earlier round of the ring, or of a
 * journal that went another way before a crash, is never taken for a successor.
 */
#include "base/crc32c.h"
#include "format/format.h"
#include "format/le.h"

#define RECORD_MAGIC 0x524a4c50u /* "PLJR" */

enum {
	R_MAGIC = 0,
	R_CRC = 4,
	R_LSN = 8,
	R_LEN = 16,
	R_TYPE = 20,
	R_ITEMS = 24,
	R_DIR_ITEMS = 28,
};

static char *item(void *record, uint32_t i)
{
	return (char *)record + PL_RECORD_HEADER + (size_t)i * PL_RECORD_ITEM;
}

static const char *citem(const void *record, uint32_t i)
{
	return (const char *)record + PL_RECORD_HEADER +
	       (size_t)i * PL_RECORD_ITEM;
}

void pl_record_put_map(void *record, uint32_t i, const struct pl_map_item *it)
{
	put64(item(record, i), 0, it->cno);
	put64(item(record, i), 8, it->entry.where);
	put64(item(record, i), 16, it->entry.owned);
}

void pl_record_get_map(const void *record, uint32_t i, struct pl_map_item *ret)
{
	ret->cno = get64(citem(record, i), 0);
	ret->entry.where = get64(citem(record, i), 8);
	ret->entry.owned = get64(citem(record, i), 16);
}

void pl_record_put_page(void *record, uint32_t i, const struct pl_page_item *it)
{
	put64(item(record, i), 0, it->page_no);
	put64(item(record, i), 8, it->location);
	put32(item(record, i), 16, it->crc);
	put32(item(record, i), 20, 0);
}

void pl_record_get_page(const void *record, uint32_t i,
			struct pl_page_item *ret)
{
	ret->page_no = get64(citem(record, i), 0);
	ret->location = get64(citem(record, i), 8);
	ret->crc = get32(citem(record, i), 16);
}

void pl_record_put_dir(void *record, uint32_t items, uint32_t i,
		       const struct pl_dir_item *it)
{
	char *p = item(record, items) + (size_t)i * PL_RECORD_DIR_ITEM;

	put64(p, 0, it->dpno);
	put32(p, 8, it->crc);
	put32(p, 12, 0);
}

void pl_record_get_dir(const void *record, uint32_t items, uint32_t i,
		       struct pl_dir_item *ret)
{
	const char *p = citem(record, items) + (size_t)i * PL_RECORD_DIR_ITEM;

	ret->dpno = get64(p, 0);
	ret->crc = get32(p, 8);
}

/* Over all of the record but its magic and CRC, from the chain's value. */
static uint32_t record_crc(const void *record, size_t len, uint32_t prev)
{
	return pl_crc32c(prev, (const char *)record + R_LSN, len - R_LSN);
}

uint32_t pl_record_seal(void *record, const struct pl_record *rec,
			uint32_t prev_crc)
{
	uint32_t crc;

	put32(record, R_MAGIC, RECORD_MAGIC);
	put64(record, R_LSN, rec->lsn);
	put32(record, R_LEN, rec->len);
	put32(record, R_TYPE, rec->type);
	put32(record, R_ITEMS, rec->items);
	put32(record, R_DIR_ITEMS, rec->dir_items);
	crc = record_crc(record, rec->len, prev_crc);
	put32(record, R_CRC, crc);
	return crc;
}

bool pl_record_peek(const void *buf, size_t avail, uint64_t lsn,
		    struct pl_record *ret)
{
	uint64_t want;

	if (avail < PL_RECORD_HEADER || get32(buf, R_MAGIC) != RECORD_MAGIC ||
	    get64(buf, R_LSN) != lsn)
		return false;
	ret->lsn = lsn;
	ret->crc = get32(buf, R_CRC);
	ret->len = get32(buf, R_LEN);
	ret->type = (enum pl_record_type)get32(buf, R_TYPE);
	ret->items = get32(buf, R_ITEMS);
	ret->dir_items = get32(buf, R_DIR_ITEMS);
	if (ret->len > avail || ret->len > PL_RECORD_MAX)
		return false;
	want = PL_RECORD_HEADER + (uint64_t)ret->items * PL_RECORD_ITEM +
	       (uint64_t)ret->dir_items * PL_RECORD_DIR_ITEM;
	if (want != ret->len)
		return false;
	return ret->type == PL_RECORD_MAP || ret->type == PL_RECORD_CHECKPOINT;
}

bool pl_record_parse(const void *buf, size_t avail, uint64_t lsn,
		     uint32_t prev_crc, struct pl_record *ret)
{
	return pl_record_peek(buf, avail, lsn, ret) &&
	       record_crc(buf, ret->len, prev_crc) == ret->crc;
}
