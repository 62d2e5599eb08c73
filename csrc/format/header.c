/* SPDX-License-Identifier: Apache-2.0 */
/* The layer header (FMT-010 ff.) and what follows from it. */
#include <errno.h>
#include <stdio.h>

#include "base/crc32c.h"
#include "format/format.h"
#include "format/le.h"

#define MAGIC "PLOOPLYR"
#define VERSION 1u

/* Byte offsets in the header page. */
enum {
	H_MAGIC = 0,
	H_VERSION = 8,
	H_CRC = 16,
	H_SEQUENCE = 24,
	H_INCOMPATIBLE = 32,
	H_COMPATIBLE = 40,
	H_AUTO_CLEAR = 48,
	H_UUID = 56,
	H_PARENT = 72,
	H_VIRTUAL_SIZE = 88,
	H_BLOCK_SIZE = 96,
	H_SECTOR_SIZE = 100,
	H_STATE = 104,
	H_FLAGS = 108,
	H_DIR_OFF = 112,
	H_DIR_PAGES = 120,
	H_DIR_USED = 128,
	H_JOURNAL_OFF = 136,
	H_JOURNAL_LEN = 144,
	H_CHECKPOINT_LSN = 152,
	H_CHECKPOINT_CRC = 160,
	H_FIRST_CLUSTER = 168,
	H_CREATED = 176,
	H_LABEL = 184,
	H_SUMS_OFF = 248,
	H_SUMS_PAGES = 256,
	H_FEATURE_NAMES = 1024,
};

#define FEATURE_NAMES 64u
#define FEATURE_NAME_SIZE 48u /* kind, bit, 46 bytes of name */
#define FEATURE_KIND_INCOMPATIBLE 1u
#define FEATURE_KIND_AUTO_CLEAR 3u
#define SUMS_NAME "block-checksums"
#define SUMS_NAME_ENTRY 62u

/* Incompatible features this version knows: none yet. */
#define KNOWN_INCOMPATIBLE 0ull

/* The checksum of a page as if its CRC field were zero. */
static uint32_t page_crc(const void *page, size_t crc_off)
{
	static const char zero[4];
	const char *p = page;
	uint32_t crc = pl_crc32c(0, p, crc_off);

	crc = pl_crc32c(crc, zero, sizeof(zero));
	return pl_crc32c(crc, p + crc_off + 4, PL_PAGE - crc_off - 4);
}

bool pl_block_size_valid(uint32_t block_size)
{
	return block_size >= PL_BLOCK_MIN && block_size <= PL_BLOCK_MAX &&
	       (block_size & (block_size - 1)) == 0;
}

uint64_t pl_owned_limit(const struct pl_header *hdr, uint64_t cno)
{
	uint64_t blocks = hdr->virtual_size / hdr->block_size;
	uint64_t first = cno * PL_CLUSTER_BLOCKS;

	if (first >= blocks)
		return 0;
	blocks -= first;
	return blocks >= 64 ? UINT64_MAX : (1ull << blocks) - 1;
}

bool pl_header_has_sums(const struct pl_header *hdr)
{
	uint64_t cs = pl_cluster_size(hdr);

	return hdr->auto_clear & PL_AUTO_CLEAR_SUMS && hdr->sums_pages > 0 &&
	       hdr->sums_pages <= PL_WHERE_MAX / PL_SUMS_CLUSTERS + 1 &&
	       hdr->sums_off % cs == 0 &&
	       hdr->sums_off >= hdr->first_cluster * cs &&
	       hdr->sums_off / cs <= PL_WHERE_MAX;
}

static uint64_t round_up(uint64_t v, uint64_t unit)
{
	return pl_div_up(v, unit) * unit;
}

void pl_header_layout(struct pl_header *hdr, uint32_t journal_len)
{
	uint64_t need = pl_dir_page_count(hdr);

	/* Room for growth to 1 TiB at 4 KiB blocks before the directory must
	 * move; it is a hole until used. */
	hdr->dir_off = 2 * PL_PAGE;
	hdr->dir_pages = need < 62 ? 62 : need;
	hdr->journal_off = hdr->dir_off + hdr->dir_pages * PL_PAGE;
	hdr->journal_len = journal_len;
	hdr->first_cluster =
		round_up(hdr->journal_off + journal_len, pl_cluster_size(hdr)) /
		pl_cluster_size(hdr);
}

/*
 * The names of all features this version may set, set or not: so that headers
 * differ in their first sector only, and none is ever torn (FMT-090).
 */
static void put_names(void *page)
{
	char *entry = (char *)page + H_FEATURE_NAMES +
		      SUMS_NAME_ENTRY * FEATURE_NAME_SIZE;

	entry[0] = FEATURE_KIND_AUTO_CLEAR;
	entry[1] = __builtin_ctzll(PL_AUTO_CLEAR_SUMS);
	memcpy(entry + 2, SUMS_NAME, sizeof(SUMS_NAME));
}

void pl_header_encode(const struct pl_header *hdr, void *page)
{
	memset(page, 0, PL_PAGE);
	memcpy(page, MAGIC, 8);
	put32(page, H_VERSION, VERSION);
	put64(page, H_SEQUENCE, hdr->sequence);
	put64(page, H_INCOMPATIBLE, hdr->incompatible);
	put64(page, H_COMPATIBLE, hdr->compatible);
	put64(page, H_AUTO_CLEAR, hdr->auto_clear);
	memcpy((char *)page + H_UUID, hdr->uuid.b, 16);
	memcpy((char *)page + H_PARENT, hdr->parent.b, 16);
	put64(page, H_VIRTUAL_SIZE, hdr->virtual_size);
	put32(page, H_BLOCK_SIZE, hdr->block_size);
	put32(page, H_SECTOR_SIZE, hdr->sector_size);
	put32(page, H_STATE, hdr->state);
	put32(page, H_FLAGS, hdr->flags);
	put64(page, H_DIR_OFF, hdr->dir_off);
	put64(page, H_DIR_PAGES, hdr->dir_pages);
	put64(page, H_DIR_USED, hdr->dir_used);
	put64(page, H_JOURNAL_OFF, hdr->journal_off);
	put64(page, H_JOURNAL_LEN, hdr->journal_len);
	put64(page, H_CHECKPOINT_LSN, hdr->checkpoint_lsn);
	put32(page, H_CHECKPOINT_CRC, hdr->checkpoint_crc);
	put64(page, H_FIRST_CLUSTER, hdr->first_cluster);
	put64(page, H_CREATED, hdr->created);
	memcpy((char *)page + H_LABEL, hdr->label,
	       strnlen(hdr->label, PL_LABEL_MAX));
	put64(page, H_SUMS_OFF, hdr->sums_off);
	put64(page, H_SUMS_PAGES, hdr->sums_pages);
	put_names(page);
	put32(page, H_CRC, page_crc(page, H_CRC));
}

static int corrupt(struct pl_err *err, const char *what, uint64_t value)
{
	return pl_err_set(err, PL_E_CORRUPT, EUCLEAN,
			  "header: %s is not valid (%llu)", what,
			  (unsigned long long)value);
}

/* For people: a file that is not trusted must not steer their terminal. */
static void printable(const char *name, char ret[FEATURE_NAME_SIZE])
{
	size_t n = strnlen(name, FEATURE_NAME_SIZE - 2);

	for (size_t i = 0; i < n; i++)
		ret[i] = (char)(name[i] >= ' ' && name[i] <= '~' ? name[i] :
								   '?');
	ret[n] = '\0';
}

/* Names the lowest unknown feature, as the file calls it (FMT-016). */
static int unsupported(const void *page, uint64_t unknown, struct pl_err *err)
{
	unsigned bit = (unsigned)__builtin_ctzll(unknown);
	char name[FEATURE_NAME_SIZE] = "unnamed";
	const char *entry;

	for (unsigned i = 0; i < FEATURE_NAMES; i++) {
		entry = (const char *)page + H_FEATURE_NAMES +
			i * FEATURE_NAME_SIZE;
		if (entry[0] == FEATURE_KIND_INCOMPATIBLE &&
		    (unsigned char)entry[1] == bit)
			printable(entry + 2, name);
	}
	return pl_err_set(err, PL_E_UNSUPPORTED_FEATURE, EOPNOTSUPP,
			  "the layer needs the feature \"%s\" (bit %u), "
			  "which this version does not know",
			  name, bit);
}

static bool region_ok(uint64_t off, uint64_t len)
{
	return off % PL_PAGE == 0 && len % PL_PAGE == 0 && off >= 2 * PL_PAGE &&
	       off < (1ull << 62) && len < (1ull << 40);
}

static int validate_places(const struct pl_header *h, struct pl_err *err)
{
	uint64_t cs = pl_cluster_size(h);

	if (h->dir_pages > PL_DIR_PAGES_MAX ||
	    !region_ok(h->dir_off, h->dir_pages * PL_PAGE))
		return corrupt(err, "the directory's place", h->dir_off);
	if (h->dir_pages < pl_dir_page_count(h))
		return corrupt(err, "the directory's size", h->dir_pages);
	if (h->dir_used > h->dir_pages)
		return corrupt(err, "the count of directory pages",
			       h->dir_used);
	if (!region_ok(h->journal_off, h->journal_len) ||
	    h->journal_len < PL_JOURNAL_MIN || h->journal_len > PL_JOURNAL_MAX)
		return corrupt(err, "the journal's place", h->journal_off);
	if (h->first_cluster == 0 || h->first_cluster > PL_METADATA_MAX / cs ||
	    h->first_cluster * cs < h->journal_off + h->journal_len)
		return corrupt(err, "the first cluster", h->first_cluster);
	if (h->dir_off < h->journal_off + h->journal_len &&
	    h->journal_off < h->dir_off + h->dir_pages * PL_PAGE)
		return corrupt(err,
			       "the directory's place (it overlaps the "
			       "journal)",
			       h->dir_off);
	if (h->dir_off + h->dir_pages * PL_PAGE > h->first_cluster * cs &&
	    h->dir_off < h->first_cluster * cs)
		return corrupt(err, "the directory's place", h->dir_off);
	if (h->checkpoint_lsn % 8 || h->checkpoint_lsn >= 1ull << 63)
		return corrupt(err, "the checkpoint", h->checkpoint_lsn);
	return 0;
}

static int validate(const struct pl_header *h, struct pl_err *err)
{
	if (!pl_block_size_valid(h->block_size))
		return corrupt(err, "the block size", h->block_size);
	if (h->sector_size != 512 && h->sector_size != 4096)
		return corrupt(err, "the sector size", h->sector_size);
	if (h->state != PL_LAYER_TOP && h->state != PL_LAYER_SEALED)
		return corrupt(err, "the state", h->state);
	if (h->virtual_size == 0 || h->virtual_size % h->block_size ||
	    h->virtual_size / h->block_size > PL_MAX_BLOCKS)
		return corrupt(err, "the virtual size", h->virtual_size);
	if (h->sequence >= 1ull << 63)
		return corrupt(err, "the sequence", h->sequence);
	if (pl_uuid_is_nil(&h->uuid))
		return corrupt(err, "the layer's id", 0);
	return validate_places(h, err);
}

static void decode_fields(const void *page, struct pl_header *h)
{
	memset(h, 0, sizeof(*h));
	h->sequence = get64(page, H_SEQUENCE);
	h->incompatible = get64(page, H_INCOMPATIBLE);
	h->compatible = get64(page, H_COMPATIBLE);
	h->auto_clear = get64(page, H_AUTO_CLEAR);
	memcpy(h->uuid.b, (const char *)page + H_UUID, 16);
	memcpy(h->parent.b, (const char *)page + H_PARENT, 16);
	h->virtual_size = get64(page, H_VIRTUAL_SIZE);
	h->block_size = get32(page, H_BLOCK_SIZE);
	h->sector_size = get32(page, H_SECTOR_SIZE);
	h->state = (enum pl_layer_state)get32(page, H_STATE);
	h->flags = get32(page, H_FLAGS);
	h->dir_off = get64(page, H_DIR_OFF);
	h->dir_pages = get64(page, H_DIR_PAGES);
	h->dir_used = get64(page, H_DIR_USED);
	h->journal_off = get64(page, H_JOURNAL_OFF);
	h->journal_len = get64(page, H_JOURNAL_LEN);
	h->checkpoint_lsn = get64(page, H_CHECKPOINT_LSN);
	h->checkpoint_crc = get32(page, H_CHECKPOINT_CRC);
	h->first_cluster = get64(page, H_FIRST_CLUSTER);
	h->created = get64(page, H_CREATED);
	memcpy(h->label, (const char *)page + H_LABEL, PL_LABEL_MAX);
	if (h->auto_clear & PL_AUTO_CLEAR_SUMS) {
		h->sums_off = get64(page, H_SUMS_OFF);
		h->sums_pages = get64(page, H_SUMS_PAGES);
	}
}

int pl_header_decode(const void *page, struct pl_header *ret,
		     struct pl_err *err)
{
	if (memcmp(page, MAGIC, 8) != 0)
		return pl_err_set(err, PL_E_NOT_AN_IMAGE, EINVAL,
				  "header: not a ploop layer (no magic)");
	if (get32(page, H_CRC) != page_crc(page, H_CRC))
		return pl_err_set(err, PL_E_CORRUPT, EUCLEAN,
				  "header: checksum mismatch");
	if (get32(page, H_VERSION) != VERSION)
		return pl_err_set(err, PL_E_UNSUPPORTED_FEATURE, EOPNOTSUPP,
				  "layer format version %u; this program "
				  "knows version %u",
				  get32(page, H_VERSION), VERSION);
	decode_fields(page, ret);
	if (ret->incompatible & ~KNOWN_INCOMPATIBLE)
		return unsupported(
			page, ret->incompatible & ~KNOWN_INCOMPATIBLE, err);
	return validate(ret, err);
}

static bool intact(const void *page)
{
	return memcmp(page, MAGIC, 8) == 0 &&
	       get32(page, H_CRC) == page_crc(page, H_CRC);
}

/*
 * The newest intact copy counts and no other (FMT-013): an older one would
 * be a way around a feature that the newer one names.
 */
int pl_header_choose(const void *page_a, const void *page_b,
		     struct pl_header *ret, unsigned *ret_slot,
		     struct pl_err *err)
{
	bool a = intact(page_a), b = intact(page_b);
	struct pl_err err_b;
	int rc;

	if (a || b) {
		*ret_slot = !a || (b && get64(page_b, H_SEQUENCE) >
						get64(page_a, H_SEQUENCE));
		return pl_header_decode(*ret_slot ? page_b : page_a, ret, err);
	}
	rc = pl_header_decode(page_a, ret, err);
	pl_header_decode(page_b, ret, &err_b);
	/* The more telling of the two. */
	if (err && err->code == PL_E_NOT_AN_IMAGE)
		*err = err_b;
	return rc;
}
