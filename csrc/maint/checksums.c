/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Block checksums of sealed layers (FMT-120 ff.): writing the table, and
 * verifying blocks with it.
 *
 * The table lies behind everything else in the file. While it is written the
 * header says "not clean", so that what an interruption leaves there is cleaned
 * up by the next writer; the header that makes the layer clean again names the
 * table.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "maint/maint.h"

typedef unsigned long long ull;

struct table {
	struct pl_layer *ly;
	uint64_t cs, bs;
	uint64_t first; /* host cluster that the table begins with */
	uint64_t end; /* host clusters up to the last one in use */
	struct pl_entry *by_host; /* .where = cno + 1 of each host cluster */
	char *buf; /* one cluster */
};

static void fini(struct table *t)
{
	free(t->by_host);
	free(t->buf);
}

static void note_end(struct table *t, uint64_t off, uint64_t len)
{
	uint64_t end = pl_div_up(off + len, t->cs);

	if (end > t->end)
		t->end = end;
}

typedef int entry_fn(struct table *t, uint64_t cno, const struct pl_entry *e);

static int each_entry(struct table *t, entry_fn *fn)
{
	struct pl_entry entries[PL_PAGE_ENTRIES];
	int rc = 0;

	for (uint64_t p = 0; p < pl_layer_page_count(t->ly) && rc == 0; p++) {
		if (!pl_layer_page_present(t->ly, p))
			continue;
		rc = pl_layer_page(t->ly, p, entries);
		for (unsigned i = 0; i < PL_PAGE_ENTRIES && rc == 0; i++)
			if (entries[i].where)
				rc = fn(t, p * PL_PAGE_ENTRIES + i,
					&entries[i]);
	}
	return rc;
}

static int measure_entry(struct table *t, uint64_t cno,
			 const struct pl_entry *e)
{
	(void)cno;
	note_end(t, e->where * t->cs, t->cs);
	return 0;
}

static int invert_entry(struct table *t, uint64_t cno, const struct pl_entry *e)
{
	if (e->where >= t->first && e->where < t->end)
		t->by_host[e->where - t->first] = (struct pl_entry){
			.where = cno + 1,
			.owned = e->owned,
		};
	return 0;
}

/* Which virtual cluster each host cluster belongs to. */
static int load(struct table *t, struct pl_layer *ly)
{
	const struct pl_header *h = pl_layer_header(ly);
	void *buf;
	int rc;

	memset(t, 0, sizeof(*t));
	t->ly = ly;
	t->cs = pl_cluster_size(h);
	t->bs = h->block_size;
	t->first = t->end = h->first_cluster;
	note_end(t, h->dir_off, h->dir_pages * PL_PAGE);
	rc = each_entry(t, measure_entry);
	if (rc < 0)
		return rc;
	for (uint64_t p = 0; p < pl_layer_page_count(ly); p++)
		if (pl_layer_page_location(ly, p))
			note_end(t, pl_layer_page_location(ly, p), PL_PAGE);
	t->by_host = calloc(t->end - t->first + PL_SUMS_CLUSTERS,
			    sizeof(*t->by_host));
	if (!t->by_host || posix_memalign(&buf, PL_PAGE, t->cs) != 0)
		return -ENOMEM;
	t->buf = buf;
	return each_entry(t, invert_entry);
}

/* Sums of the owned blocks of host cluster number `first + i`. */
static int sum_cluster(struct table *t, uint64_t i, uint32_t *sums)
{
	uint64_t owned = t->by_host[i].owned;
	int rc;

	memset(sums, 0, PL_CLUSTER_BLOCKS * sizeof(*sums));
	if (!owned)
		return 0;
	rc = pl_store_read(pl_layer_store(t->ly), t->buf, t->cs,
			   (t->first + i) * t->cs, 0);
	for (unsigned b = 0; b < PL_CLUSTER_BLOCKS && rc == 0; b++)
		if (owned >> b & 1)
			sums[b] = pl_crc32c(0, t->buf + b * t->bs, t->bs);
	return rc;
}

/* ---- writing ---- */

static uint64_t table_pages(const struct table *t)
{
	return pl_div_up(t->end - t->first, PL_SUMS_CLUSTERS);
}

static int write_page(struct table *t, uint64_t n, uint64_t off)
{
	uint32_t sums[PL_SUMS_PER_PAGE];
	uint64_t i = n * PL_SUMS_CLUSTERS;
	char page[PL_PAGE];
	int rc = 0;

	for (unsigned k = 0; k < PL_SUMS_CLUSTERS && rc == 0; k++)
		rc = sum_cluster(t, i + k, sums + k * PL_CLUSTER_BLOCKS);
	if (rc < 0)
		return rc;
	pl_sums_encode(sums, n, page);
	return pl_store_write(pl_layer_store(t->ly), page, PL_PAGE,
			      off + n * PL_PAGE, PL_IO_META);
}

static int write_table(struct table *t, uint64_t off,
		       const struct pl_maint_progress *progress)
{
	uint64_t pages = table_pages(t);
	uint64_t len = pl_div_up(pages * PL_PAGE, t->cs) * t->cs;
	int rc = pl_store_truncate(pl_layer_store(t->ly), off + len);

	for (uint64_t n = 0; n < pages && rc == 0; n++) {
		if (progress && progress->fn &&
		    !progress->fn(progress->arg, n, pages))
			return -ECANCELED;
		rc = write_page(t, n, off);
		if (rc == 0 && progress && progress->pace)
			progress->pace(progress->arg, PL_SUMS_CLUSTERS * t->cs);
	}
	return rc < 0 ? rc : pl_store_sync(pl_layer_store(t->ly));
}

/* Nothing to sum: a table that is not there needs no place. */
static int add(struct table *t, const struct pl_maint_progress *progress)
{
	uint64_t size, off, pages = table_pages(t);
	int rc = pl_store_size(pl_layer_store(t->ly), &size);

	if (rc < 0)
		return rc;
	note_end(t, 0, size);
	off = t->end * t->cs;
	t->end = t->first + pages * PL_SUMS_CLUSTERS;
	rc = pl_layer_begin_sums(t->ly);
	if (rc == 0)
		rc = write_table(t, off, progress);
	if (rc < 0) {
		/* Back to what it was; else the next writer cleans up. */
		if (pl_store_truncate(pl_layer_store(t->ly), size) == 0 &&
		    pl_store_sync(pl_layer_store(t->ly)) == 0)
			pl_layer_end_sums(t->ly, 0, 0);
		return rc;
	}
	return pl_layer_end_sums(t->ly, off, pages);
}

static bool wanted(const struct pl_header *h)
{
	return h->state == PL_LAYER_SEALED && h->flags & PL_HEADER_CLEAN &&
	       !h->auto_clear;
}

int pl_checksums_add_to(struct pl_layer *ly,
			const struct pl_maint_progress *progress,
			bool *ret_added, struct pl_err *err)
{
	struct table t;
	int rc;

	*ret_added = false;
	if (!wanted(pl_layer_header(ly)))
		return 0;
	rc = load(&t, ly);
	/* A layer without data gets an empty table all the same. */
	if (rc == 0 && t.end == t.first)
		t.end++;
	if (rc == 0)
		rc = add(&t, progress);
	fini(&t);
	*ret_added = rc == 0;
	if (rc == -ECANCELED)
		return pl_err_set(err, PL_E_INTERRUPTED, ECANCELED,
				  "adding block checksums was interrupted");
	return rc < 0 ? pl_err_sys(err, rc, "layer %s: block checksums",
				   pl_layer_id(ly)) :
			0;
}

int pl_checksums_add(struct pl_store *st,
		     const struct pl_maint_progress *progress, bool *ret_added,
		     struct pl_err *err)
{
	struct pl_layer *ly;
	int rc = pl_layer_open(&ly, st, 0, NULL, err);

	*ret_added = false;
	if (rc < 0) {
		pl_store_close(st);
		return rc;
	}
	rc = pl_checksums_add_to(ly, progress, ret_added, err);
	pl_layer_abandon(ly);
	return rc;
}

/* ---- verifying ---- */

struct verify {
	struct table t;
	const struct pl_damage_sink *sink;
	struct pl_check_layer *ret;
	bool data;
	uint64_t bad_pages, first_bad;
};

/* Adjacent bad blocks are one finding. */
static void compare(struct verify *v, uint64_t i, const uint32_t *want,
		    const uint32_t *got)
{
	const struct pl_entry *e = &v->t.by_host[i];
	uint64_t cno = e->where - 1, off = (v->t.first + i) * v->t.cs;
	unsigned n;

	for (unsigned b = 0; b < PL_CLUSTER_BLOCKS; b += n) {
		for (n = 0;
		     b + n < PL_CLUSTER_BLOCKS && e->owned >> (b + n) & 1 &&
		     want[b + n] != got[b + n];
		     n++)
			;
		if (n)
			pl_damage_tell(
				v->sink, PL_DAMAGE_DATA, off + b * v->t.bs,
				"%u block%s at virtual offset %llu: checksum "
				"mismatch",
				n, n == 1 ? "" : "s",
				(ull)(cno * v->t.cs + b * v->t.bs));
		n += n == 0;
	}
}

static unsigned owned_blocks(const struct verify *v, uint64_t i)
{
	return (unsigned)__builtin_popcountll(v->t.by_host[i].owned);
}

static int verify_page(struct verify *v, uint64_t n, bool good,
		       const uint32_t *want)
{
	uint64_t i = n * PL_SUMS_CLUSTERS;
	uint32_t got[PL_CLUSTER_BLOCKS];
	int rc = 0;

	for (unsigned k = 0; k < PL_SUMS_CLUSTERS && rc == 0; k++) {
		if (v->t.first + i + k >= v->t.end)
			break;
		if (!good) {
			v->ret->uncovered += owned_blocks(v, i + k);
			continue;
		}
		v->ret->verified += owned_blocks(v, i + k);
		rc = sum_cluster(&v->t, i + k, got);
		if (rc == 0)
			compare(v, i + k, want + k * PL_CLUSTER_BLOCKS, got);
	}
	return rc;
}

static int verify_pages(struct verify *v)
{
	const struct pl_header *h = pl_layer_header(v->t.ly);
	uint64_t need = table_pages(&v->t);
	uint32_t sums[PL_SUMS_PER_PAGE];
	char page[PL_PAGE];
	bool good;
	int rc = 0;

	for (uint64_t n = 0; n < need && rc == 0; n++) {
		good = n < h->sums_pages;
		if (good)
			rc = pl_store_read(pl_layer_store(v->t.ly), page,
					   PL_PAGE, h->sums_off + n * PL_PAGE,
					   PL_IO_META);
		if (rc == 0 && good)
			good = pl_sums_decode(page, n, sums);
		if (!good && !v->bad_pages++)
			v->first_bad = n;
		if (rc == 0 && v->data)
			rc = verify_page(v, n, good, sums);
	}
	return rc;
}

static int count_uncovered(struct table *t, uint64_t cno,
			   const struct pl_entry *e)
{
	(void)cno;
	t->end += (uint64_t)__builtin_popcountll(e->owned);
	return 0;
}

static int verify(struct verify *v)
{
	const struct pl_header *h = pl_layer_header(v->t.ly);
	int rc = verify_pages(v);

	if (rc == 0 && v->bad_pages)
		pl_damage_tell(
			v->sink, PL_DAMAGE_CHECKSUMS,
			h->sums_off + v->first_bad * PL_PAGE,
			"block checksums: %llu of %llu pages of the table are "
			"damaged, the first is number %llu",
			(ull)v->bad_pages, (ull)table_pages(&v->t),
			(ull)v->first_bad);
	return rc;
}

int pl_checksums_verify(struct pl_layer *ly, bool data,
			const struct pl_damage_sink *sink,
			struct pl_check_layer *ret, struct pl_err *err)
{
	const struct pl_header *h = pl_layer_header(ly);
	struct verify v = { .sink = sink, .ret = ret, .data = data };
	int rc = 0;

	ret->sums = pl_header_has_sums(h);
	if (ret->sums) {
		rc = load(&v.t, ly);
		if (rc == 0)
			rc = verify(&v);
		fini(&v.t);
	} else {
		v.t.ly = ly;
		if (h->auto_clear & PL_AUTO_CLEAR_SUMS)
			pl_damage_tell(
				sink, PL_DAMAGE_CHECKSUMS, 0,
				"block checksums: the header has no valid place "
				"for them");
		if (data)
			rc = each_entry(&v.t, count_uncovered);
		ret->uncovered = v.t.end;
	}
	return rc < 0 ? pl_err_sys(err, rc, "layer %s: block checksums",
				   pl_layer_id(ly)) :
			0;
}
