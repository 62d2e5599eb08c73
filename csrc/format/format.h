/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The layer format, version 1: docs/format.md in C. Encodes, decodes and
 * validates; makes no system calls and allocates nothing, so that all of it
 * can be fuzzed. FMT-nnn names the clause of docs/format.md.
 *
 * Everything on disk is little-endian; the structs below are in host order.
 */
#ifndef PLOOP_FORMAT_FORMAT_H
#define PLOOP_FORMAT_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/uuid.h"

#define PL_PAGE 4096u /* unit of metadata, bytes */
#define PL_CLUSTER_BLOCKS 64u /* blocks in a cluster, always */
#define PL_BLOCK_MIN 4096u
#define PL_BLOCK_MAX 65536u
#define PL_PAGE_ENTRIES 256u /* map entries in a map page */
#define PL_DIR_ENTRIES 255u /* page entries in a directory page */
#define PL_LABEL_MAX 63u
/* Virtual size at most 2^34 blocks: 64 TiB at 4 KiB, 1 PiB at 64 KiB. */
#define PL_MAX_BLOCKS (1ull << 34)
#define PL_DIR_PAGES_MAX (1u << 16)
#define PL_METADATA_MAX (1ull << 30) /* bytes before the first cluster */
#define PL_JOURNAL_MIN (512u << 10)
/* Replay may need memory for a map page per item: 230 MiB at this size. */
#define PL_JOURNAL_MAX (1u << 20)
#define PL_RECORD_MAX (256u << 10)

/* ---- header ---- */

enum pl_layer_state { PL_LAYER_TOP = 1, PL_LAYER_SEALED = 2 };

#define PL_HEADER_CLEAN 1u /* flags: closed in order, journal empty */
/*
 * Unowned blocks of host clusters may hold what a crash left there; otherwise
 * they read as zeros.
 */
#define PL_HEADER_STALE 2u

struct pl_header {
	uint64_t sequence;
	uint64_t incompatible, compatible, auto_clear; /* feature bits */
	struct pl_uuid uuid, parent; /* parent nil = base */
	uint64_t virtual_size; /* bytes, multiple of block_size */
	uint32_t block_size, sector_size; /* bytes */
	enum pl_layer_state state;
	uint32_t flags; /* PL_HEADER_* */
	uint64_t dir_off, dir_pages; /* bytes; capacity in pages */
	uint64_t dir_used; /* directory pages ever written */
	uint64_t journal_off, journal_len; /* bytes */
	uint64_t checkpoint_lsn; /* replay starts here */
	uint32_t checkpoint_crc; /* chain value before that record */
	uint64_t first_cluster; /* first host cluster for data and maps */
	uint64_t created; /* seconds since 1970, UTC */
	char label[PL_LABEL_MAX + 1];
	uint64_t sums_off, sums_pages; /* block checksums; see has_sums */
};

/* auto_clear: the layer has block checksums (FMT-120). */
#define PL_AUTO_CLEAR_SUMS 1ull

void pl_header_encode(const struct pl_header *hdr, void *page);

/* Validates everything a header says on its own. CORRUPT, NOT_AN_IMAGE,
 * UNSUPPORTED_FEATURE (with the feature's name from the file). */
int pl_header_decode(const void *page, struct pl_header *ret,
		     struct pl_err *err);

/* The newest intact of the two copies; *ret_slot is which (0 or 1). */
int pl_header_choose(const void *page_a, const void *page_b,
		     struct pl_header *ret, unsigned *ret_slot,
		     struct pl_err *err);

/* Is this a legal block size? */
bool pl_block_size_valid(uint32_t block_size);

/* ---- geometry ---- */

static inline uint64_t pl_cluster_size(const struct pl_header *hdr)
{
	return (uint64_t)hdr->block_size * PL_CLUSTER_BLOCKS;
}

static inline uint64_t pl_div_up(uint64_t a, uint64_t b)
{
	return a / b + (a % b != 0);
}

/* Virtual clusters; the last may be partial. */
static inline uint64_t pl_cluster_count(const struct pl_header *hdr)
{
	return pl_div_up(hdr->virtual_size, pl_cluster_size(hdr));
}

static inline uint64_t pl_page_count(const struct pl_header *hdr)
{
	return pl_div_up(pl_cluster_count(hdr), PL_PAGE_ENTRIES);
}

static inline uint64_t pl_dir_page_count(const struct pl_header *hdr)
{
	return pl_div_up(pl_page_count(hdr), PL_DIR_ENTRIES);
}

/* The owned bits that cluster cno may have: those inside the virtual size. */
uint64_t pl_owned_limit(const struct pl_header *hdr, uint64_t cno);

/*
 * Lays a new layer out: fills dir_off, dir_pages, journal_off, journal_len and
 * first_cluster from virtual_size and block_size.
 */
void pl_header_layout(struct pl_header *hdr, uint32_t journal_len);

/* Has it block checksums, at a place that can be (FMT-121)? */
bool pl_header_has_sums(const struct pl_header *hdr);

/* ---- map ---- */

struct pl_entry {
	uint64_t where; /* host cluster number; 0 = no host space */
	uint64_t owned; /* bit i: this layer decides block i */
};

#define PL_WHERE_MAX ((1ull << 40) - 1) /* host cluster numbers */

void pl_map_encode(const struct pl_entry *entries, void *page);
void pl_map_decode(const void *page, struct pl_entry *entries);

/* -1 when entry i of page is legal for this layer, else fills err. */
int pl_entry_validate(const struct pl_header *hdr, uint64_t cno,
		      const struct pl_entry *entry, struct pl_err *err);

/* ---- directory ---- */

struct pl_dir_entry {
	uint64_t location; /* byte offset of the map page; 0 = absent */
	uint32_t crc; /* CRC-32C of the map page */
};

/* Checks of a directory page: intact, all zeros (never written), or not. */
enum pl_dir_page_state { PL_DIR_PAGE_EMPTY, PL_DIR_PAGE_OK, PL_DIR_PAGE_BAD };

void pl_dir_page_encode(const struct pl_dir_entry *entries, uint64_t dpno,
			void *page);
/* Decodes entries whatever the state, so that replay can heal a torn page. */
enum pl_dir_page_state pl_dir_page_decode(const void *page, uint64_t dpno,
					  struct pl_dir_entry *entries);
/* The CRC field of an encoded directory page. */
uint32_t pl_dir_page_crc(const void *page);

/* ---- block checksums ---- */

#define PL_SUMS_CLUSTERS 15u /* host clusters that one page is for */
#define PL_SUMS_PER_PAGE (PL_SUMS_CLUSTERS * PL_CLUSTER_BLOCKS)

/* Page `number` of the table; sums has PL_SUMS_PER_PAGE. */
void pl_sums_encode(const uint32_t *sums, uint64_t number, void *page);
/* False when the page is not right. */
bool pl_sums_decode(const void *page, uint64_t number, uint32_t *sums);

/* ---- journal ---- */

enum pl_record_type { PL_RECORD_MAP = 1, PL_RECORD_CHECKPOINT = 2 };

#define PL_RECORD_HEADER 32u
#define PL_RECORD_ITEM 24u /* map item, page item */
#define PL_RECORD_DIR_ITEM 16u

/* The entry of cluster cno from now on. */
struct pl_map_item {
	uint64_t cno;
	struct pl_entry entry;
};

/* This map page is about to be written there with this CRC. */
struct pl_page_item {
	uint64_t page_no, location;
	uint32_t crc;
};

/* This directory page is about to be written with this CRC. */
struct pl_dir_item {
	uint64_t dpno;
	uint32_t crc;
};

struct pl_record {
	uint64_t lsn; /* position in the endless journal, bytes */
	uint32_t crc, len; /* len: bytes, multiple of 8 */
	enum pl_record_type type;
	uint32_t items, dir_items;
};

static inline uint32_t pl_record_len(uint32_t items, uint32_t dir_items)
{
	return PL_RECORD_HEADER + items * PL_RECORD_ITEM +
	       dir_items * PL_RECORD_DIR_ITEM;
}

void pl_record_put_map(void *record, uint32_t i, const struct pl_map_item *it);
void pl_record_put_page(void *record, uint32_t i,
			const struct pl_page_item *it);
void pl_record_put_dir(void *record, uint32_t items, uint32_t i,
		       const struct pl_dir_item *it);
/* Writes the record header over filled-in items; returns the new chain CRC. */
uint32_t pl_record_seal(void *record, const struct pl_record *rec,
			uint32_t prev_crc);

/*
 * Is there a record at lsn? buf holds avail bytes from there on. Returns false
 * at the end of the journal: anything that is not the one valid successor.
 */
bool pl_record_parse(const void *buf, size_t avail, uint64_t lsn,
		     uint32_t prev_crc, struct pl_record *ret);
/* The same without looking at the checksum, for bad records. */
bool pl_record_peek(const void *buf, size_t avail, uint64_t lsn,
		    struct pl_record *ret);
void pl_record_get_map(const void *record, uint32_t i, struct pl_map_item *ret);
void pl_record_get_page(const void *record, uint32_t i,
			struct pl_page_item *ret);
void pl_record_get_dir(const void *record, uint32_t items, uint32_t i,
		       struct pl_dir_item *ret);

#endif
