/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Free host clusters, derived from the map (FMT-050): what no entry, map page,
 * directory or journal uses is free.
 *
 * Only clusters that read as zeros are handed out. A cluster freed in this
 * session was punched by the caller and becomes free with the flush that makes
 * its release durable; after a crash alloc_sanitize() punches what free
 * clusters hold before any is used.
 *
 * Next fit from a cursor, then the end of the file: sequential writes stay
 * sequential on the host.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/plant.h"
#include "layer/layer_int.h"

static uint64_t cluster_size(const struct pl_layer *ly)
{
	return pl_cluster_size(&ly->hdr);
}

static bool is_used(const struct alloc *a, uint64_t c)
{
	return a->used[c / 64] >> (c % 64) & 1;
}

static int reserve(struct alloc *a, uint64_t n)
{
	uint64_t cap = a->cap ? a->cap : 1024;
	uint64_t *used;

	if (n <= a->cap)
		return 0;
	while (cap < n)
		cap *= 2;
	used = realloc(a->used, cap / 8);
	if (!used)
		return -ENOMEM;
	memset((char *)used + a->cap / 8, 0, (cap - a->cap) / 8);
	a->used = used;
	a->cap = cap;
	return 0;
}

/* Clusters beyond n up to c become free ones. */
static int extend(struct alloc *a, uint64_t n)
{
	int rc = reserve(a, n);

	if (rc < 0)
		return rc;
	if (n > a->n) {
		a->n_free += n - a->n;
		a->n = n;
	}
	return 0;
}

static void set_used(struct alloc *a, uint64_t c)
{
	if (is_used(a, c))
		return;
	a->used[c / 64] |= 1ull << (c % 64);
	a->n_free--;
}

static void set_free(struct alloc *a, uint64_t c)
{
	assert(is_used(a, c));
	a->used[c / 64] &= ~(1ull << (c % 64));
	a->n_free++;
}

/* Metadata; a file that says nonsense must not cost the memory to note it. */
static int mark_bytes(struct pl_layer *ly, uint64_t off, uint64_t len,
		      struct pl_err *err)
{
	uint64_t cs = cluster_size(ly);
	uint64_t end = pl_div_up(off + len, cs);

	if (end > ly->alloc.file_clusters + BEYOND_END_MAX)
		return pl_err_set(err, PL_E_CORRUPT, EUCLEAN,
				  "layer %s: metadata at %llu lies beyond the "
				  "end of the file",
				  ly->id, (unsigned long long)off);
	if (extend(&ly->alloc, end) < 0)
		return pl_err_sys(err, -ENOMEM, "layer %s: free space", ly->id);
	for (uint64_t c = off / cs; c < end; c++)
		set_used(&ly->alloc, c);
	return 0;
}

static int mark_entry(struct pl_layer *ly, uint64_t where, struct pl_err *err)
{
	struct alloc *a = &ly->alloc;

	if (where > a->file_clusters + BEYOND_END_MAX)
		return pl_err_set(err, PL_E_CORRUPT, EUCLEAN,
				  "layer %s: host cluster %llu lies beyond "
				  "the end of the file",
				  ly->id, (unsigned long long)where);
	if (extend(a, where + 1) < 0)
		return pl_err_sys(err, -ENOMEM, "free space");
	if (is_used(a, where))
		return pl_err_set(err, PL_E_CORRUPT, EUCLEAN,
				  "layer %s: host cluster %llu is used twice",
				  ly->id, (unsigned long long)where);
	set_used(a, where);
	a->n_used++;
	return 0;
}

static void note_map_page(struct pl_layer *ly, uint64_t location)
{
	struct alloc *a = &ly->alloc;
	uint64_t next = location + PL_PAGE;

	if (next > a->meta_next)
		a->meta_next = next;
}

static int scan_page(struct pl_layer *ly, uint64_t page_no, struct pl_err *err)
{
	struct pl_entry entries[PL_PAGE_ENTRIES];
	struct mpage *mp = ly->pages[page_no];
	/* Nobody else is there yet; and it is not worth keeping all of them. */
	int rc = mp ? 0 : mpage_read(ly, page_no, entries);

	if (mp)
		memcpy(entries, mp->entry, sizeof(entries));
	if (rc < 0)
		return pl_err_set(err, rc == -EUCLEAN ? PL_E_CORRUPT : PL_E_IO,
				  -rc, "layer %s: map page %llu: %s", ly->id,
				  (unsigned long long)page_no,
				  rc == -EUCLEAN ? "checksum mismatch" :
						   "can't be read");
	for (unsigned i = 0; i < PL_PAGE_ENTRIES && rc == 0; i++)
		if (entries[i].where)
			rc = mark_entry(ly, entries[i].where, err);
	return rc;
}

int alloc_scan(struct pl_layer *ly, struct pl_err *err)
{
	uint64_t cs = cluster_size(ly), size = 0;
	int rc = pl_store_size(ly->st, &size);

	if (rc < 0)
		return pl_err_sys(err, rc, "layer %s: free space", ly->id);
	ly->alloc.file_clusters = size / cs;
	rc = mark_bytes(ly, 0, ly->hdr.first_cluster * cs, err);
	if (rc == 0)
		rc = mark_bytes(ly, ly->hdr.dir_off,
				ly->hdr.dir_pages * PL_PAGE, err);
	if (rc == 0 && pl_header_has_sums(&ly->hdr))
		rc = mark_bytes(ly, ly->hdr.sums_off,
				ly->hdr.sums_pages * PL_PAGE, err);
	for (uint64_t p = 0; p < ly->page_count && rc == 0; p++)
		if (ly->dir[p].location) {
			rc = mark_bytes(ly, ly->dir[p].location, PL_PAGE, err);
			note_map_page(ly, ly->dir[p].location);
		}
	if (ly->alloc.meta_next % cs == 0)
		ly->alloc.meta_next = 0;
	for (uint64_t p = 0; p < ly->page_count && rc == 0; p++)
		if (pl_layer_page_present(ly, p))
			rc = scan_page(ly, p, err);
	if (rc < 0)
		return rc;
	ly->alloc.cursor = ly->hdr.first_cluster;
	return extend(&ly->alloc, ly->alloc.file_clusters);
}

/* Punches the free clusters of a data range. */
static int punch_free(struct pl_layer *ly, uint64_t start, uint64_t end)
{
	uint64_t cs = cluster_size(ly);
	int rc = 0;

	for (uint64_t c = start / cs; c * cs < end && rc == 0; c++)
		if (c < ly->alloc.n && !is_used(&ly->alloc, c))
			rc = pl_store_punch(ly->st, c * cs, cs);
	return rc;
}

int alloc_sanitize(struct pl_layer *ly)
{
	uint64_t cs = cluster_size(ly), start, end;
	uint64_t off = ly->hdr.first_cluster * cs;
	/* What says that they are free must be durable before it is acted on. */
	int rc = pl_layer_flush(ly);

	if (rc == 0)
		rc = pl_store_sync(ly->st);
	if (rc == 0)
		rc = pl_store_truncate(ly->st, alloc_end(ly) * cs);
	ly->alloc.file_clusters = alloc_end(ly);
	while (rc == 0) {
		rc = pl_store_seek_data(ly->st, off, &start, &end);
		if (rc < 0 || start == UINT64_MAX)
			break;
		rc = punch_free(ly, start, end);
		off = end;
	}
	return rc < 0 ? rc : pl_store_sync(ly->st);
}

/* The file's length goes ahead in steps, so that writes are inside it. */
static int cover(struct pl_layer *ly, uint64_t clusters)
{
	uint64_t cs = cluster_size(ly);
	uint64_t step = GROW_STEP / cs ? GROW_STEP / cs : 1;
	uint64_t want = clusters + step;
	int rc;

	if (clusters <= ly->alloc.file_clusters)
		return 0;
	if (clusters > PL_WHERE_MAX)
		return -ENOSPC;
	rc = pl_store_truncate(ly->st, want * cs);
	if (rc < 0) {
		want = clusters;
		rc = pl_store_truncate(ly->st, want * cs);
	}
	if (rc == 0)
		ly->alloc.file_clusters = want;
	return rc == -EFBIG ? -ENOSPC : rc;
}

static uint64_t find_free(const struct alloc *a, uint64_t from, uint64_t to)
{
	for (uint64_t c = from; c < to; c++) {
		if (c % 64 == 0 && a->used[c / 64] == UINT64_MAX)
			c += 63;
		else if (!is_used(a, c))
			return c;
	}
	return 0;
}

int alloc_take(struct pl_layer *ly, uint64_t *ret_where)
{
	struct alloc *a = &ly->alloc;
	uint64_t c = 0;
	int rc;

	if (a->n_free) {
		c = find_free(a, a->cursor, a->n);
		if (!c)
			c = find_free(a, ly->hdr.first_cluster, a->n);
	}
	if (!c) {
		c = a->n;
		rc = extend(a, c + 1);
		if (rc < 0)
			return rc;
	}
	rc = cover(ly, c + 1);
	if (rc < 0)
		return rc;
	set_used(a, c);
	a->n_used++;
	a->cursor = c + 1;
	*ret_where = c;
	return 0;
}

int alloc_take_run(struct pl_layer *ly, uint64_t count, uint64_t *ret_where)
{
	struct alloc *a = &ly->alloc;
	uint64_t c = a->n;
	int rc = extend(a, c + count);

	if (rc == 0)
		rc = cover(ly, c + count);
	for (uint64_t i = 0; rc == 0 && i < count; i++)
		set_used(a, c + i);
	*ret_where = c;
	return rc;
}

uint64_t pl_layer_take_below(struct pl_layer *ly, uint64_t limit)
{
	struct alloc *a = &ly->alloc;
	uint64_t c;

	if (limit > a->n)
		limit = a->n;
	c = find_free(a, ly->hdr.first_cluster, limit);
	if (c) {
		set_used(a, c);
		a->n_used++;
	}
	return c;
}

/* Without memory the cluster stays out of use until the next open. */
void alloc_free_later(struct pl_layer *ly, uint64_t where)
{
	struct alloc *a = &ly->alloc;
	struct freed *freed;
	size_t cap;

	if (pl_plant(PL_PLANT_EARLY_REUSE)) {
		set_free(a, where);
		a->n_used--;
		a->cursor = where;
		return;
	}
	if (a->n_freed == a->cap_freed) {
		cap = a->cap_freed ? a->cap_freed * 2 : 64;
		freed = realloc(a->freed, cap * sizeof(*freed));
		if (!freed)
			return;
		a->freed = freed;
		a->cap_freed = cap;
	}
	/* The change that frees it is the latest entry of `pending`. */
	a->freed[a->n_freed++] = (struct freed){
		.where = where,
		.after = ly->pending->head->head - 1,
	};
	a->n_used--;
}

/* For clusters whose release is durable and that are punched. */
void alloc_free_now(struct pl_layer *ly, uint64_t where)
{
	set_free(&ly->alloc, where);
}

bool alloc_is_used(const struct pl_layer *ly, uint64_t where)
{
	return where < ly->alloc.n && is_used(&ly->alloc, where);
}

void alloc_release(struct pl_layer *ly)
{
	struct alloc *a = &ly->alloc;
	size_t keep = 0;

	for (size_t i = 0; i < a->n_freed; i++) {
		if (a->freed[i].after < ly->pending->head->tail)
			set_free(a, a->freed[i].where);
		else
			a->freed[keep++] = a->freed[i];
	}
	a->n_freed = keep;
}

/* Makes sure that a page of the file has host space; keeps what it holds. */
static int back_page(struct pl_layer *ly, uint64_t off)
{
	char page[PL_PAGE];
	int rc = pl_store_read(ly->st, page, PL_PAGE, off, PL_IO_META);

	return rc < 0 ? rc :
			pl_store_write(ly->st, page, PL_PAGE, off, PL_IO_META);
}

int alloc_map_page(struct pl_layer *ly, uint64_t page_no)
{
	struct alloc *a = &ly->alloc;
	uint64_t where, dpno = page_no / PL_DIR_ENTRIES;
	int rc = 0;

	if (!a->meta_next) {
		rc = alloc_take(ly, &where);
		if (rc < 0)
			return rc;
		a->n_used--; /* not data */
		a->meta_next = where * cluster_size(ly);
	}
	if (dpno >= ly->hdr.dir_used)
		rc = back_page(ly, ly->hdr.dir_off + dpno * PL_PAGE);
	if (rc == 0)
		rc = back_page(ly, a->meta_next);
	if (rc < 0)
		return rc;
	ly->dir[page_no].location = a->meta_next;
	a->meta_next += PL_PAGE;
	if (a->meta_next % cluster_size(ly) == 0)
		a->meta_next = 0;
	return 0;
}

uint64_t alloc_end(const struct pl_layer *ly)
{
	uint64_t c = ly->alloc.n;

	while (c > ly->hdr.first_cluster && !is_used(&ly->alloc, c - 1))
		c--;
	return c;
}

uint64_t pl_layer_end(const struct pl_layer *ly)
{
	return alloc_end(ly);
}

int pl_layer_trim_tail(struct pl_layer *ly, uint64_t *ret_len)
{
	struct alloc *a = &ly->alloc;
	uint64_t end = alloc_end(ly), cs = cluster_size(ly);
	int rc = pl_store_truncate(ly->st, end * cs);

	if (rc < 0)
		return rc;
	a->n_free -= a->n - end;
	a->n = end;
	a->file_clusters = end;
	if (a->cursor > end)
		a->cursor = ly->hdr.first_cluster;
	*ret_len = end * cs;
	ly->data_dirty = true;
	return 0;
}

void alloc_fini(struct pl_layer *ly)
{
	free(ly->alloc.used);
	free(ly->alloc.freed);
	memset(&ly->alloc, 0, sizeof(ly->alloc));
}
