/* SPDX-License-Identifier: Apache-2.0 */
/* Faults in a layer's file, one function each. Part of damage.c. */
#ifndef PLOOP_TOOLS_DAMAGE_LAYER_H
#define PLOOP_TOOLS_DAMAGE_LAYER_H

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "format/format.h"
#include "store/store.h"

#define PATH 96

struct damage {
	struct pl_dir *dir;
	json_t *desc;
	char layer[40], file[PATH];
	struct pl_store *st;
	struct pl_header hdr;
	unsigned slot;
	struct pl_dir_entry dir_page[PL_DIR_ENTRIES]; /* number 0 */
	struct pl_entry map[PL_PAGE_ENTRIES];
	uint64_t page_no; /* the first map page that is there */
};

typedef int damage_fn(struct damage *d);

static int flip(struct damage *d, uint64_t off, unsigned bit)
{
	unsigned char byte;
	int rc = pl_store_read(d->st, &byte, 1, off, PL_IO_META);

	byte ^= (unsigned char)(1u << bit);
	return rc < 0 ? rc : pl_store_write(d->st, &byte, 1, off, PL_IO_META);
}

/* ---- headers ---- */

static int read_header(struct damage *d)
{
	char pages[2 * PL_PAGE];
	int rc = pl_store_read(d->st, pages, sizeof(pages), 0, PL_IO_META);

	return rc < 0 ? rc :
			pl_header_choose(pages, pages + PL_PAGE, &d->hdr,
					 &d->slot, NULL);
}

/* Both copies say d->hdr. */
static int write_headers(struct damage *d)
{
	char page[PL_PAGE];
	int rc = 0;

	for (unsigned i = 0; i < 2 && rc == 0; i++) {
		d->hdr.sequence++;
		pl_header_encode(&d->hdr, page);
		rc = pl_store_write(d->st, page, PL_PAGE, i * PL_PAGE,
				    PL_IO_META);
	}
	return rc;
}

/* Changes four bytes of both copies and their checksums. */
static int patch_headers(struct damage *d, unsigned off, const void *bytes,
			 unsigned n)
{
	static const char zero[4];
	char page[PL_PAGE];
	uint32_t crc;
	int rc = 0;

	for (unsigned i = 0; i < 2 && rc == 0; i++) {
		rc = pl_store_read(d->st, page, PL_PAGE, i * PL_PAGE,
				   PL_IO_META);
		memcpy(page + off, bytes, n);
		memcpy(page + 16, zero, 4);
		crc = pl_crc32c(0, page, PL_PAGE);
		memcpy(page + 16, &crc, 4);
		if (rc == 0)
			rc = pl_store_write(d->st, page, PL_PAGE, i * PL_PAGE,
					    PL_IO_META);
	}
	return rc;
}

static int header_a(struct damage *d)
{
	return flip(d, 300, 3);
}

static int header_b(struct damage *d)
{
	return flip(d, PL_PAGE + 300, 3);
}

static int header_both(struct damage *d)
{
	int rc = header_a(d);

	return rc < 0 ? rc : header_b(d);
}

static int magic(struct damage *d)
{
	int rc = flip(d, 2, 1);

	return rc < 0 ? rc : flip(d, PL_PAGE + 2, 1);
}

static int version(struct damage *d)
{
	return patch_headers(d, 8, "\x02\0\0\0", 4);
}

static int feature(struct damage *d)
{
	int rc = patch_headers(d, 32, "\x80\0\0\0", 4);

	/* The second of the names: bit 7, incompatible. */
	return rc < 0 ? rc :
			patch_headers(d, 1024 + 48, "\x01\x07time-travel", 14);
}

static int directory_used(struct damage *d)
{
	if (!d->hdr.dir_used)
		return -ENODATA;
	d->hdr.dir_used = 0;
	return write_headers(d);
}

static int foreign_layer(struct damage *d)
{
	d->hdr.uuid.b[0] ^= 0x55;
	return write_headers(d);
}

static int foreign_parent(struct damage *d)
{
	memset(d->hdr.parent.b, 0x77, 16);
	return write_headers(d);
}

static int foreign_block_size(struct damage *d)
{
	uint32_t bs = d->hdr.block_size == 4096 ? 8192 : 4096;
	int rc;

	d->hdr.block_size = bs;
	d->hdr.virtual_size = pl_div_up(d->hdr.virtual_size, bs) * bs;
	d->hdr.first_cluster =
		pl_div_up(d->hdr.journal_off + d->hdr.journal_len,
			  pl_cluster_size(&d->hdr));
	d->hdr.dir_used = 0;
	d->hdr.auto_clear = 0;
	rc = pl_store_truncate(d->st,
			       d->hdr.first_cluster * pl_cluster_size(&d->hdr));
	return rc < 0 ? rc : write_headers(d);
}

/* ---- directory ---- */

static int read_map(struct damage *d)
{
	char page[PL_PAGE];
	int rc =
		pl_store_read(d->st, page, PL_PAGE, d->hdr.dir_off, PL_IO_META);

	if (rc < 0)
		return rc;
	if (pl_dir_page_decode(page, 0, d->dir_page) != PL_DIR_PAGE_OK)
		return -ENODATA;
	while (d->page_no < PL_DIR_ENTRIES && !d->dir_page[d->page_no].location)
		d->page_no++;
	if (d->page_no == PL_DIR_ENTRIES)
		return -ENODATA;
	rc = pl_store_read(d->st, page, PL_PAGE,
			   d->dir_page[d->page_no].location, PL_IO_META);
	pl_map_decode(page, d->map);
	return rc;
}

static int write_directory(struct damage *d)
{
	char page[PL_PAGE];

	pl_dir_page_encode(d->dir_page, 0, page);
	return pl_store_write(d->st, page, PL_PAGE, d->hdr.dir_off, PL_IO_META);
}

static int write_map(struct damage *d)
{
	char page[PL_PAGE];
	int rc;

	pl_map_encode(d->map, page);
	rc = pl_store_write(d->st, page, PL_PAGE,
			    d->dir_page[d->page_no].location, PL_IO_META);
	d->dir_page[d->page_no].crc = pl_crc32c(0, page, PL_PAGE);
	return rc < 0 ? rc : write_directory(d);
}

/* In a reserved field: no entry is wrong, only the checksum. */
static int directory_crc(struct damage *d)
{
	int rc = read_map(d);

	return rc < 0 ? rc : flip(d, d->hdr.dir_off + 12, 0);
}

/* In the checksum of a map page. */
static int directory_entry(struct damage *d)
{
	int rc = read_map(d);

	return rc < 0 ? rc : flip(d, d->hdr.dir_off + d->page_no * 16 + 8, 4);
}

static int directory_location(struct damage *d)
{
	int rc = read_map(d);

	d->dir_page[d->page_no].location = PL_PAGE;
	return rc < 0 ? rc : write_directory(d);
}

static int directory_zeros(struct damage *d)
{
	static const char zeros[PL_PAGE];
	int rc = read_map(d);

	return rc < 0 ? rc :
			pl_store_write(d->st, zeros, PL_PAGE, d->hdr.dir_off,
				       PL_IO_META);
}

static int map_page_shared(struct damage *d)
{
	uint64_t other;
	int rc = read_map(d);

	if (rc < 0)
		return rc;
	for (other = d->page_no + 1; other < PL_DIR_ENTRIES; other++)
		if (d->dir_page[other].location)
			break;
	if (other == PL_DIR_ENTRIES)
		return -ENODATA;
	d->dir_page[other] = d->dir_page[d->page_no];
	return write_directory(d);
}

/* ---- map ---- */

/* The k-th entry with a host cluster. */
static struct pl_entry *nth(struct damage *d, unsigned k)
{
	for (unsigned i = 0; i < PL_PAGE_ENTRIES; i++)
		if (d->map[i].where && d->map[i].owned && k-- == 0)
			return &d->map[i];
	return NULL;
}

/* In the owned bits of the first entry that is used. */
static int map_page_crc(struct damage *d)
{
	int rc = read_map(d);
	struct pl_entry *e = rc < 0 ? NULL : nth(d, 0);

	if (!e)
		return -ENODATA;
	return flip(d,
		    d->dir_page[d->page_no].location +
			    (uint64_t)(e - d->map) * 16 + 8,
		    0);
}

static int set_where(struct damage *d, uint64_t where)
{
	struct pl_entry *e = nth(d, 0);

	if (!e)
		return -ENODATA;
	e->where = where;
	return write_map(d);
}

static int entry_into_metadata(struct damage *d)
{
	int rc = read_map(d);

	return rc < 0 ? rc : set_where(d, 1);
}

static int entry_into_map(struct damage *d)
{
	int rc = read_map(d);

	return rc < 0 ? rc :
			set_where(d, d->dir_page[d->page_no].location /
					     pl_cluster_size(&d->hdr));
}

static int entry_beyond_end(struct damage *d)
{
	int rc = read_map(d);

	return rc < 0 ? rc : set_where(d, 1ull << 30);
}

static int entry_reserved(struct damage *d)
{
	int rc = read_map(d);
	struct pl_entry *e = rc < 0 ? NULL : nth(d, 0);

	if (!e)
		return -ENODATA;
	e->where |= 1ull << 50;
	return write_map(d);
}

static int entry_duplicate(struct damage *d)
{
	int rc = read_map(d);
	struct pl_entry *a = rc < 0 ? NULL : nth(d, 0);
	struct pl_entry *b = rc < 0 ? NULL : nth(d, 1);

	if (!a || !b)
		return -ENODATA;
	b->where = a->where;
	return write_map(d);
}

static int owned_beyond_disk(struct damage *d)
{
	uint64_t last = pl_cluster_count(&d->hdr) - 1;
	uint64_t limit = pl_owned_limit(&d->hdr, last);
	int rc;

	d->page_no = last / PL_PAGE_ENTRIES;
	rc = read_map(d);
	if (rc < 0 || limit == UINT64_MAX ||
	    last / PL_PAGE_ENTRIES != d->page_no)
		return rc < 0 ? rc : -ENODATA;
	d->map[last % PL_PAGE_ENTRIES].owned |= 1ull << 63;
	return write_map(d);
}

/* Bytes in a block that its cluster has room for, but nobody owns. */
static int unowned_data(struct damage *d)
{
	int rc = read_map(d);
	uint64_t block;
	char byte = 'x';

	for (unsigned i = 0; rc == 0 && i < PL_PAGE_ENTRIES; i++) {
		if (!d->map[i].where || d->map[i].owned == UINT64_MAX)
			continue;
		block = (uint64_t)__builtin_ctzll(~d->map[i].owned);
		return pl_store_write(d->st, &byte, 1,
				      d->map[i].where *
						      pl_cluster_size(&d->hdr) +
					      block * d->hdr.block_size + 77,
				      PL_IO_META);
	}
	return rc < 0 ? rc : -ENODATA;
}

/* ---- the rest of a layer ---- */

/* In the first record of several. */
static int journal_record(struct damage *d)
{
	uint64_t at = d->hdr.checkpoint_lsn % d->hdr.journal_len;
	char head[PL_RECORD_HEADER];
	int rc = pl_store_read(d->st, head, sizeof(head),
			       d->hdr.journal_off + at, PL_IO_META);

	if (rc == 0 &&
	    (d->hdr.flags & PL_HEADER_CLEAN || memcmp(head, "PLJR", 4) != 0))
		return -ENODATA;
	return rc < 0 ? rc : flip(d, d->hdr.journal_off + at + 40, 0);
}

/* Without its last cluster. */
static int truncated(struct damage *d)
{
	uint64_t size;
	int rc = pl_store_size(d->st, &size);

	return rc < 0 ? rc :
			pl_store_truncate(d->st,
					  size - pl_cluster_size(&d->hdr));
}

/* Only holes of the metadata are cut off. */
static int short_file(struct damage *d)
{
	if (d->hdr.dir_used || !(d->hdr.flags & PL_HEADER_CLEAN))
		return -ENODATA;
	return pl_store_truncate(d->st, d->hdr.journal_off + PL_PAGE);
}

static int data_bitflip(struct damage *d)
{
	int rc = read_map(d);
	struct pl_entry *e = rc < 0 ? NULL : nth(d, 0);

	if (!e)
		return -ENODATA;
	return flip(d,
		    e->where * pl_cluster_size(&d->hdr) +
			    (uint64_t)__builtin_ctzll(e->owned) *
				    d->hdr.block_size +
			    77,
		    5);
}

static int checksum_page(struct damage *d)
{
	return pl_header_has_sums(&d->hdr) ? flip(d, d->hdr.sums_off + 8, 2) :
					     -ENODATA;
}

static int missing_layer(struct damage *d)
{
	return d->dir->ops->unlink(d->dir, d->file);
}

#endif
