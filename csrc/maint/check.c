/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Check of one layer file: reads every piece of metadata and says what does
 * not hold. Whatever a crash can leave behind is not damage and not reported.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "maint/maint.h"

struct check {
	const struct pl_check_sink *sink;
	struct pl_layer *ly;
	struct pl_check_layer *ret;
	uint8_t *used; /* bit per host cluster of the file */
	uint64_t n_clusters;
};

static void __attribute__((format(printf, 4, 5)))
found(const struct check *c, enum pl_code code, uint64_t off, const char *fmt,
      ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	c->sink->found(c->sink->arg, code, off, text);
}

/*
 * A header copy may be torn by a crash; but a layer that was closed in order
 * has two good ones.
 */
static int check_headers(struct check *c, struct pl_store *st)
{
	char pages[2][PL_PAGE];
	struct pl_header hdr[2], best;
	struct pl_err err[2], e;
	unsigned slot;
	int rc = pl_store_read(st, pages, sizeof(pages), 0, PL_IO_META);

	if (rc < 0)
		return rc;
	if (pl_header_choose(pages[0], pages[1], &best, &slot, &e) < 0)
		return 0; /* opening reports it */
	for (unsigned i = 0; i < 2; i++)
		if (pl_header_decode(pages[i], &hdr[i], &err[i]) < 0 &&
		    best.flags & PL_HEADER_CLEAN)
			found(c, PL_E_CORRUPT, i * PL_PAGE,
			      "header copy %c: %s (the other copy is good)",
			      'A' + (int)i, err[i].msg);
	return 0;
}

static bool mark(struct check *c, uint64_t cluster)
{
	bool was;

	if (cluster >= c->n_clusters)
		return true; /* beyond the end of the file: holds nothing */
	was = c->used[cluster / 8] >> (cluster % 8) & 1;
	c->used[cluster / 8] |= (uint8_t)(1u << (cluster % 8));
	return !was;
}

static void check_entry(struct check *c, uint64_t cno,
			const struct pl_entry *entry)
{
	uint64_t off = entry->where * pl_cluster_size(pl_layer_header(c->ly));
	struct pl_err err;

	if (pl_entry_validate(pl_layer_header(c->ly), cno, entry, &err) < 0) {
		found(c, err.code, 0, "%s", err.msg);
		return;
	}
	if (!entry->where)
		return;
	c->ret->clusters++;
	if (!mark(c, entry->where))
		found(c, PL_E_CORRUPT, off,
		      "cluster %llu: host cluster %llu has another user, too",
		      (unsigned long long)cno,
		      (unsigned long long)entry->where);
}

static int check_page(struct check *c, uint64_t page_no)
{
	struct pl_entry entries[PL_PAGE_ENTRIES];
	int rc = pl_layer_page(c->ly, page_no, entries);

	if (rc == -EUCLEAN) {
		found(c, PL_E_CORRUPT, pl_layer_page_location(c->ly, page_no),
		      "map page %llu: checksum mismatch: what the layer holds "
		      "of virtual clusters %llu to %llu can't be told",
		      (unsigned long long)page_no,
		      (unsigned long long)(page_no * PL_PAGE_ENTRIES),
		      (unsigned long long)((page_no + 1) * PL_PAGE_ENTRIES -
					   1));
		return 0;
	}
	c->ret->map_pages++;
	for (unsigned i = 0; i < PL_PAGE_ENTRIES && rc == 0; i++)
		check_entry(c, page_no * PL_PAGE_ENTRIES + i, &entries[i]);
	return rc;
}

static void check_page_place(struct check *c, uint64_t page_no)
{
	uint64_t loc = pl_layer_page_location(c->ly, page_no);
	uint64_t cs = pl_cluster_size(pl_layer_header(c->ly));

	for (uint64_t p = 0; loc && p < page_no; p++)
		if (pl_layer_page_location(c->ly, p) == loc)
			found(c, PL_E_CORRUPT, loc,
			      "map pages %llu and %llu share one place",
			      (unsigned long long)p,
			      (unsigned long long)page_no);
	if (loc)
		mark(c, loc / cs);
}

static int check_map(struct check *c)
{
	const struct pl_header *h = pl_layer_header(c->ly);
	uint64_t n = pl_layer_page_count(c->ly), cs = pl_cluster_size(h);
	int rc = 0;

	for (uint64_t i = 0; i < h->first_cluster; i++)
		mark(c, i);
	for (uint64_t off = h->dir_off; off < h->dir_off + h->dir_pages * PL_PAGE;
	     off += PL_PAGE)
		mark(c, off / cs);
	for (uint64_t p = 0; p < n; p++)
		check_page_place(c, p);
	for (uint64_t p = 0; p < n && rc == 0; p++)
		if (pl_layer_page_present(c->ly, p))
			rc = check_page(c, p);
	return rc;
}

static int check_open(struct check *c)
{
	uint64_t size, cs;
	int rc = pl_store_size(pl_layer_store(c->ly), &size);

	c->ret->hdr = *pl_layer_header(c->ly);
	c->ret->opened = true;
	cs = pl_cluster_size(&c->ret->hdr);
	if (rc == 0 && size < c->ret->hdr.first_cluster * cs)
		found(c, PL_E_CORRUPT, size,
		      "the file is truncated: %llu bytes, its metadata needs "
		      "%llu",
		      (unsigned long long)size,
		      (unsigned long long)(c->ret->hdr.first_cluster * cs));
	c->n_clusters = pl_div_up(size, cs);
	if (c->n_clusters < c->ret->hdr.first_cluster)
		c->n_clusters = c->ret->hdr.first_cluster;
	c->used = calloc(1, c->n_clusters / 8 + 1);
	if (!c->used)
		rc = -ENOMEM;
	if (rc == 0)
		rc = check_map(c);
	free(c->used);
	return rc;
}

int pl_check_layer_file(struct pl_store *st, const struct pl_check_sink *sink,
			struct pl_check_layer *ret)
{
	struct check c = { .sink = sink, .ret = ret };
	struct pl_err err;
	int rc;

	memset(ret, 0, sizeof(*ret));
	rc = check_headers(&c, st);
	if (rc == 0 && pl_layer_open(&c.ly, st, 0, NULL, &err) < 0) {
		found(&c, err.code, 0, "%s", err.msg);
		pl_store_close(st);
		return 0;
	}
	if (rc < 0) {
		pl_store_close(st);
		return rc;
	}
	rc = check_open(&c);
	pl_layer_abandon(c.ly);
	return rc;
}
