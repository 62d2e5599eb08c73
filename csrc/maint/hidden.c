/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks of a sealed layer that nobody sees go back to the host: they are
 * punched where they are. The map does not change: the layer still owns them,
 * as zeros, so whoever has the layer open goes on with what he knows.
 *
 * Block checksums become those of zeros. Meanwhile the header is not clean and
 * names no table: interrupted there, the layer has no checksums, and the next
 * writer cleans up as after an interrupted pl_checksums_add().
 */
#include <errno.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "maint/maint.h"

static int punch(struct pl_layer *ly, const struct pl_hole *holes, unsigned n)
{
	const struct pl_header *h = pl_layer_header(ly);
	uint64_t cs = pl_cluster_size(h), bs = h->block_size;
	int rc = 0;

	for (unsigned i = 0; i < n && rc == 0; i++)
		rc = pl_store_punch(pl_layer_store(ly),
				    holes[i].where * cs + holes[i].first * bs,
				    holes[i].n * bs);
	return rc;
}

/* ---- block checksums ---- */

struct table {
	struct pl_store *st;
	uint64_t off, pages, first_cluster;
	uint32_t zeros; /* the sum of a block of zeros */
	uint64_t number; /* of the page in memory; UINT64_MAX = none */
	uint32_t sums[PL_SUMS_PER_PAGE];
	bool changed;
};

static int put_page(struct table *t)
{
	char page[PL_PAGE];
	int rc = 0;

	if (t->changed) {
		pl_sums_encode(t->sums, t->number, page);
		rc = pl_store_write(t->st, page, PL_PAGE,
				    t->off + t->number * PL_PAGE, PL_IO_META);
	}
	t->changed = false;
	t->number = UINT64_MAX;
	return rc;
}

/* A page that is damaged has no checksums, and stays as it is (FMT-123). */
static int get_page(struct table *t, uint64_t number, bool *ret_good)
{
	char page[PL_PAGE];
	int rc;

	*ret_good = true;
	if (t->number == number)
		return 0;
	*ret_good = false;
	rc = put_page(t);
	if (rc == 0)
		rc = pl_store_read(t->st, page, PL_PAGE,
				   t->off + number * PL_PAGE, PL_IO_META);
	if (rc < 0 || !pl_sums_decode(page, number, t->sums))
		return rc;
	t->number = number;
	*ret_good = true;
	return 0;
}

static int note_hole(struct table *t, const struct pl_hole *hole)
{
	uint64_t i = hole->where - t->first_cluster;
	uint64_t number = i / PL_SUMS_CLUSTERS;
	uint32_t *sums;
	bool good;
	int rc;

	if (hole->where < t->first_cluster || number >= t->pages)
		return 0; /* not covered (FMT-124) */
	rc = get_page(t, number, &good);
	if (rc < 0 || !good)
		return rc;
	sums = t->sums + i % PL_SUMS_CLUSTERS * PL_CLUSTER_BLOCKS;
	for (unsigned b = hole->first; b < hole->first + hole->n; b++)
		sums[b] = t->zeros;
	t->changed = true;
	return 0;
}

static int zero_sums(struct table *t, uint32_t block_size,
		     const struct pl_hole *holes, unsigned n)
{
	void *zeros = calloc(1, block_size);
	int rc = zeros ? 0 : -ENOMEM;

	t->number = UINT64_MAX;
	if (zeros)
		t->zeros = pl_crc32c(0, zeros, block_size);
	free(zeros);
	for (unsigned i = 0; i < n && rc == 0; i++)
		rc = note_hole(t, &holes[i]);
	return rc < 0 ? rc : put_page(t);
}

static int punch_summed(struct pl_layer *ly, const struct pl_hole *holes,
			unsigned n)
{
	const struct pl_header *h = pl_layer_header(ly);
	struct table t = { .st = pl_layer_store(ly),
			   .off = h->sums_off,
			   .pages = h->sums_pages,
			   .first_cluster = h->first_cluster };
	int rc = pl_layer_begin_sums(ly);

	if (rc == 0)
		rc = punch(ly, holes, n);
	if (rc == 0)
		rc = zero_sums(&t, h->block_size, holes, n);
	if (rc == 0)
		rc = pl_store_sync(t.st);
	return rc < 0 ? rc : pl_layer_end_sums(ly, t.off, t.pages);
}

int pl_layer_punch_hidden(struct pl_layer *ly, const struct pl_hole *holes,
			  unsigned n)
{
	return pl_header_has_sums(pl_layer_header(ly)) ?
		       punch_summed(ly, holes, n) :
		       punch(ly, holes, n);
}
