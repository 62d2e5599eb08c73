/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The map of a damaged layer, entry by entry.
 *
 * Map pages with the right checksum come first: what they say has the better
 * claim. Of a page without it, entries stay that are possible on their own and
 * name a host cluster that nobody else does.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/zero.h"
#include "layer/salvage.h"

#define COPY_ALIGN 4096u

typedef unsigned long long ull;

static bool bit(const uint64_t *map, uint64_t c)
{
	return map[c / 64] >> (c % 64) & 1;
}

static void set_bit(uint64_t *map, uint64_t c)
{
	map[c / 64] |= 1ull << (c % 64);
}

/* ---- what the metadata takes ---- */

static void mark_meta(struct pl_layer *ly, uint64_t off, uint64_t len)
{
	uint64_t cs = pl_cluster_size(&ly->hdr);

	for (uint64_t c = off / cs; c * cs < off + len; c++) {
		if (c >= ly->salvage->limit)
			return;
		set_bit(ly->salvage->used, c);
		set_bit(ly->salvage->meta, c);
	}
}

/* Where a directory entry says that its map page is. */
struct placed {
	uint64_t place, page_no;
};

static int by_place(const void *a, const void *b)
{
	const struct placed *x = a, *y = b;

	if (x->place != y->place)
		return x->place < y->place ? -1 : 1;
	return x->page_no < y->page_no ? -1 : x->page_no > y->page_no;
}

/* Two directory entries with one place: the later one gives it up. */
static void part_page(struct pl_layer *ly, const struct placed *first,
		      const struct placed *later)
{
	salvage_found(ly, PL_DAMAGE_SHARED_PAGE, first->place,
		      "map pages %llu and %llu share one place",
		      (ull)first->page_no, (ull)later->page_no);
	ly->salvage->bad_dirs[later->page_no / PL_DIR_ENTRIES] = true;
	ly->dir[later->page_no] = (struct pl_dir_entry){ 0 };
}

static int mark_pages(struct pl_layer *ly)
{
	struct placed *all = calloc(ly->page_count, sizeof(*all));
	uint64_t n = 0, first = 0;

	if (!all)
		return -ENOMEM;
	for (uint64_t p = 0; p < ly->page_count; p++)
		if (ly->dir[p].location) {
			all[n++] = (struct placed){ ly->dir[p].location, p };
			mark_meta(ly, ly->dir[p].location, PL_PAGE);
		}
	qsort(all, n, sizeof(*all), by_place);
	for (uint64_t i = 1; i < n; i++)
		if (all[i].place == all[first].place)
			part_page(ly, &all[first], &all[i]);
		else
			first = i;
	free(all);
	return 0;
}

/*
 * A closed layer's file holds all its map pages; a crash may lose the file's
 * end, but no more than a writer puts up with (FMT-052).
 */
static void drop_cut_pages(struct pl_layer *ly)
{
	uint64_t cs = pl_cluster_size(&ly->hdr), end = ly->salvage->size;

	if (!(ly->hdr.flags & PL_HEADER_CLEAN))
		end = (end / cs + BEYOND_END_MAX) * cs;
	for (uint64_t p = 0; p < ly->page_count; p++) {
		if (ly->dir[p].location < end)
			continue;
		ly->salvage->cut_pages++;
		ly->salvage->bad_dirs[p / PL_DIR_ENTRIES] = true;
		ly->dir[p] = (struct pl_dir_entry){ 0 };
	}
}

static int start(struct pl_layer *ly)
{
	struct salvage *sv = ly->salvage;
	uint64_t cs = pl_cluster_size(&ly->hdr);

	sv->n_clusters = pl_div_up(sv->size, cs);
	if (sv->n_clusters < ly->hdr.first_cluster)
		sv->n_clusters = ly->hdr.first_cluster;
	sv->limit = sv->n_clusters + BEYOND_END_MAX + 1;
	sv->used = calloc(sv->limit / 64 + 1, sizeof(uint64_t));
	sv->meta = calloc(sv->limit / 64 + 1, sizeof(uint64_t));
	sv->owned = calloc(sv->limit, sizeof(uint64_t));
	if (!sv->used || !sv->meta || !sv->owned)
		return -ENOMEM;
	drop_cut_pages(ly);
	mark_meta(ly, 0, ly->hdr.first_cluster * cs);
	mark_meta(ly, ly->hdr.dir_off, ly->hdr.dir_pages * PL_PAGE);
	if (pl_header_has_sums(&ly->hdr))
		mark_meta(ly, ly->hdr.sums_off, ly->hdr.sums_pages * PL_PAGE);
	return mark_pages(ly);
}

/* ---- one entry ---- */

struct page {
	uint64_t no;
	struct pl_entry entry[PL_PAGE_ENTRIES];
	bool bad, changed;
	unsigned kept, dropped; /* of a bad page */
};

static void told(struct pl_layer *ly, struct page *pg, uint64_t cno,
		 enum pl_damage kind, uint64_t off, const char *what)
{
	pg->changed = true;
	if (pg->bad)
		return; /* the page is told as a whole */
	salvage_found(ly, kind, off, "cluster %llu: %s", (ull)cno, what);
}

/* In the file: where the entry itself is. */
static uint64_t place_of(const struct pl_layer *ly, uint64_t cno)
{
	return ly->dir[cno / PL_PAGE_ENTRIES].location +
	       cno % PL_PAGE_ENTRIES * 16;
}

/* A closed layer's file holds all it names. */
static void cut_off(struct pl_layer *ly, struct page *pg, uint64_t cno,
		    struct pl_entry *e)
{
	uint64_t size = ly->salvage->size, bs = ly->hdr.block_size, lost = 0;
	uint64_t start = e->where * pl_cluster_size(&ly->hdr);

	for (unsigned b = 0; b < PL_CLUSTER_BLOCKS; b++)
		if (e->owned >> b & 1 && start + (b + 1) * bs > size)
			lost |= 1ull << b;
	if (!lost)
		return;
	if (!ly->salvage->cut_blocks)
		ly->salvage->cut_cno = cno;
	ly->salvage->cut_blocks += (uint64_t)__builtin_popcountll(lost);
	e->owned &= ~lost;
	if (start >= size)
		e->where = 0;
	pg->changed = true;
}

static int add_twin(struct salvage *sv, uint64_t cno, uint64_t where)
{
	size_t cap = sv->cap_twins ? sv->cap_twins * 2 : 64;
	void *p;

	if (sv->n_twins == sv->cap_twins) {
		p = realloc(sv->twins, cap * sizeof(*sv->twins));
		if (!p)
			return -ENOMEM;
		sv->twins = p;
		sv->cap_twins = cap;
	}
	sv->twins[sv->n_twins++] = (struct salvage_twin){ cno, where };
	return 0;
}

static int claim(struct pl_layer *ly, struct page *pg, uint64_t cno,
		 struct pl_entry *e)
{
	struct salvage *sv = ly->salvage;
	char what[80];

	snprintf(what, sizeof(what), "host cluster %llu holds metadata",
		 (ull)e->where);
	if (bit(sv->meta, e->where)) {
		told(ly, pg, cno, PL_DAMAGE_MAP_ENTRY, place_of(ly, cno), what);
		*e = (struct pl_entry){ 0 };
		return 0;
	}
	if (!bit(sv->used, e->where)) {
		set_bit(sv->used, e->where);
		sv->owned[e->where] = e->owned;
		return 0;
	}
	if (pg->bad) {
		*e = (struct pl_entry){ 0 };
		return 0;
	}
	salvage_found(ly, PL_DAMAGE_SHARED_CLUSTER,
		      e->where * pl_cluster_size(&ly->hdr),
		      "cluster %llu: host cluster %llu has another user, too",
		      (ull)cno, (ull)e->where);
	pg->changed = true;
	return add_twin(sv, cno, e->where);
}

static int look_at(struct pl_layer *ly, struct page *pg, uint64_t cno,
		   struct pl_entry *e)
{
	struct salvage *sv = ly->salvage;
	uint64_t limit = pl_owned_limit(&ly->hdr, cno);
	bool clean = ly->hdr.flags & PL_HEADER_CLEAN;
	char what[80];

	if (e->where > PL_WHERE_MAX || e->where >= sv->limit ||
	    (pg->bad && e->where >= sv->n_clusters)) {
		snprintf(what, sizeof(what),
			 "host cluster %llu lies beyond the end of the file",
			 (ull)(e->where & PL_WHERE_MAX));
		told(ly, pg, cno,
		     e->where > PL_WHERE_MAX ? PL_DAMAGE_MAP_ENTRY :
					       PL_DAMAGE_BEYOND_END,
		     place_of(ly, cno),
		     e->where > PL_WHERE_MAX ? "reserved bits are set" : what);
		*e = (struct pl_entry){ 0 };
		return 0;
	}
	if (e->owned & ~limit) {
		told(ly, pg, cno, PL_DAMAGE_MAP_ENTRY, place_of(ly, cno),
		     "owns blocks beyond the end of the disk");
		e->owned &= limit;
	}
	if (!e->where)
		return 0;
	if (clean)
		cut_off(ly, pg, cno, e);
	return e->where ? claim(ly, pg, cno, e) : 0;
}

/* ---- one page ---- */

static int read_page(struct pl_layer *ly, struct page *pg)
{
	struct mpage *mp = mpage_get(ly, pg->no);
	char page[PL_PAGE];
	int rc;

	pg->changed = false;
	pg->kept = pg->dropped = 0;
	if (mp) {
		memcpy(pg->entry, mp->entry, sizeof(pg->entry));
		pg->bad = mp->damaged;
		return 0;
	}
	rc = pl_store_read(ly->st, page, PL_PAGE, ly->dir[pg->no].location,
			   PL_IO_META);
	pg->bad = pl_crc32c(0, page, PL_PAGE) != ly->dir[pg->no].crc;
	pl_map_decode(page, pg->entry);
	return rc;
}

static int keep_page(struct pl_layer *ly, const struct page *pg)
{
	struct mpage *mp = mpage_get(ly, pg->no);
	int rc = mp ? 0 : mpage_new(ly, pg->no, &mp);

	if (rc < 0)
		return rc;
	memcpy(mp->entry, pg->entry, sizeof(mp->entry));
	mp->damaged = true;
	mpage_mark_dirty(ly, mp);
	return 0;
}

static bool nothing(const struct pl_entry *e)
{
	return !e->where && !e->owned;
}

static int look_at_page(struct pl_layer *ly, struct page *pg)
{
	uint64_t first = pg->no * PL_PAGE_ENTRIES;
	struct pl_entry was;
	int rc = 0;

	for (unsigned i = 0; i < PL_PAGE_ENTRIES && rc == 0; i++) {
		was = pg->entry[i];
		if (nothing(&was))
			continue;
		rc = look_at(ly, pg, first + i, &pg->entry[i]);
		if (nothing(&pg->entry[i]))
			pg->dropped++;
		else
			pg->kept++;
	}
	if (rc < 0)
		return rc;
	if (pg->bad)
		salvage_found(
			ly, PL_DAMAGE_MAP_PAGE, ly->dir[pg->no].location,
			"map page %llu: checksum mismatch: what the layer "
			"holds of virtual clusters %llu to %llu is not "
			"certain; %u entries are possible, %u are not",
			(ull)pg->no, (ull)first,
			(ull)(first + PL_PAGE_ENTRIES - 1), pg->kept,
			pg->dropped);
	return pg->bad || pg->changed ? keep_page(ly, pg) : 0;
}

/* bad: the pages that pass 1 noted, else those that are fine. */
static int pass(struct pl_layer *ly, bool *noted, bool bad)
{
	struct page *pg = calloc(1, sizeof(*pg));
	int rc = pg ? 0 : -ENOMEM;

	for (uint64_t p = 0; p < ly->page_count && rc == 0; p++) {
		if (!pl_layer_page_present(ly, p) || (bad && !noted[p]))
			continue;
		pg->no = p;
		rc = read_page(ly, pg);
		noted[p] = pg->bad;
		if (rc == 0 && pg->bad == bad)
			rc = look_at_page(ly, pg);
	}
	free(pg);
	return rc;
}

int salvage_map(struct pl_layer *ly)
{
	bool *noted = calloc(ly->page_count, sizeof(bool));
	struct salvage *sv = ly->salvage;
	int rc = noted ? start(ly) : -ENOMEM;

	if (rc == 0)
		rc = pass(ly, noted, false);
	if (rc == 0)
		rc = pass(ly, noted, true);
	free(noted);
	if (rc == 0 && (sv->cut_blocks || sv->cut_pages))
		salvage_found(ly, PL_DAMAGE_TRUNCATED, sv->size,
			      "the file is cut off at %llu: %llu map pages are "
			      "missing, and %llu blocks that others name, the "
			      "first in cluster %llu",
			      (ull)sv->size, (ull)sv->cut_pages,
			      (ull)sv->cut_blocks, (ull)sv->cut_cno);
	return rc;
}

/* ---- twins ---- */

static int copy_cluster(struct pl_layer *ly, uint64_t from, uint64_t to,
			uint64_t owned, char *buf)
{
	uint64_t cs = pl_cluster_size(&ly->hdr), bs = ly->hdr.block_size;
	int rc = pl_store_read(ly->st, buf, cs, from * cs, 0);

	for (unsigned b = 0; b < PL_CLUSTER_BLOCKS && rc == 0; b++)
		if (owned >> b & 1 && !pl_is_zero(buf + b * bs, bs))
			rc = pl_store_write(ly->st, buf + b * bs, bs,
					    to * cs + b * bs, 0);
	return rc;
}

static int part(struct pl_layer *ly, const struct salvage_twin *t, uint64_t to,
		char *buf)
{
	struct mpage *mp = mpage_get(ly, t->cno / PL_PAGE_ENTRIES);
	struct pl_entry *e = &mp->entry[t->cno % PL_PAGE_ENTRIES];
	int rc = copy_cluster(ly, t->where, to, e->owned, buf);

	if (rc == 0)
		e->where = to;
	return rc;
}

/* Beyond everything that is used, where the file reads as zeros. */
static uint64_t unused_from(const struct salvage *sv)
{
	uint64_t c = sv->limit;

	while (c > sv->n_clusters && !bit(sv->used, c - 1))
		c--;
	return c;
}

int salvage_part_twins(struct pl_layer *ly)
{
	struct salvage *sv = ly->salvage;
	uint64_t cs = pl_cluster_size(&ly->hdr), to = unused_from(sv);
	void *buf;
	int rc = 0;

	if (!sv->n_twins)
		return 0;
	if (posix_memalign(&buf, COPY_ALIGN, cs) != 0)
		return -ENOMEM;
	/* What an interrupted repair has copied there goes. */
	rc = pl_store_truncate(ly->st, sv->size);
	if (rc == 0)
		rc = pl_store_truncate(ly->st, (to + sv->n_twins) * cs);
	for (size_t i = 0; i < sv->n_twins && rc == 0; i++)
		rc = part(ly, &sv->twins[i], to + i, buf);
	free(buf);
	return rc < 0 ? rc : pl_store_sync(ly->st);
}
