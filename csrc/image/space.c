/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which blocks of the disk cost host space: two bitmaps, for what the top holds
 * and for what is seen of the layers below. From the maps; only where zeros may
 * hide a layer below in a cluster with data, the top's file is asked for its
 * holes. Whether the file system still needs the blocks is for others to say.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "chain/chain.h"
#include "image/image_int.h"

struct space {
	struct pl_space_page page;
	struct pl_layer *top;
	bool zeros; /* the top may own blocks that are holes in its file */
	uint64_t block_size;
	bool any;
};

static void set_bits(uint64_t *masks, uint64_t bno, uint64_t n)
{
	for (; n; bno++, n--)
		masks[bno / PL_CLUSTER_BLOCKS % PL_PAGE_ENTRIES] |=
			1ull << bno % PL_CLUSTER_BLOCKS;
}

/* The blocks of the top's extent that are no holes; in doubt all are. */
static void set_data(struct space *s, const struct pl_chain_extent *e)
{
	struct pl_store *st = pl_layer_store(s->top);
	uint64_t at = e->host_off, end = e->host_off + e->len, from, to;
	uint64_t bs = s->block_size, first = e->off / bs;

	while (at < end) {
		if (pl_store_seek_data(st, at, &from, &to) < 0) {
			from = at;
			to = end;
		}
		if (from >= end)
			break;
		to = to < end ? to : end;
		from = (from - e->host_off) / bs;
		at = pl_div_up(to - e->host_off, bs);
		set_bits(s->page.top, first + from, at - from);
		at = e->host_off + at * bs;
	}
}

static bool add_extent(void *arg, const struct pl_chain_extent *e)
{
	struct space *s = arg;

	if (!e->layer || e->host_off == UINT64_MAX)
		return true;
	s->any = true;
	if (e->layer == s->top && s->zeros)
		set_data(s, e);
	else
		set_bits(e->layer == s->top ? s->page.top : s->page.below,
			 e->off / s->block_size,
			 pl_div_up(e->len, s->block_size));
	return true;
}

static int look(struct pl_chain *ch, struct space *s, uint64_t first,
		uint64_t pages, pl_space_fn *each, void *arg)
{
	uint64_t bytes = s->block_size * PL_CLUSTER_BLOCKS * PL_PAGE_ENTRIES;
	uint64_t end = pl_div_up(pl_chain_size(ch), bytes);
	int rc = 0;

	if (first < end && pages < end - first)
		end = first + pages;
	for (uint64_t p = first; p < end && rc == 0; p++) {
		memset(&s->page, 0, sizeof(s->page));
		s->page.page_no = p;
		s->any = false;
		rc = pl_chain_extents(ch, p * bytes, bytes, add_extent, s);
		if (rc == 0 && s->any && !each(arg, &s->page))
			break;
	}
	return rc;
}

int pl_image_space(struct pl_image *img, struct pl_chain *chain,
		   uint64_t first_page, uint64_t pages, pl_space_fn *each,
		   void *arg, struct pl_err *err)
{
	struct pl_chain *ch = chain;
	struct space *s = calloc(1, sizeof(*s));
	int rc = s ? 0 : pl_err_sys(err, -ENOMEM, "space");

	if (rc == 0 && !ch)
		rc = pl_image_open_chain(img, NULL, true, NULL, &ch, err);
	if (rc < 0) {
		free(s);
		return rc;
	}
	s->top = pl_chain_top(ch);
	s->block_size = pl_chain_block_size(ch);
	s->zeros = pl_chain_depth(ch) > 1;
	rc = look(ch, s, first_page, pages, each, arg);
	if (!chain)
		pl_chain_abandon(ch);
	free(s);
	if (rc == -EUCLEAN)
		return pl_err_set(err, PL_E_CORRUPT, EUCLEAN,
				  "%s: a map page is damaged; see ploop check",
				  img->dir->path);
	return rc < 0 ? pl_err_sys(err, rc, "%s: space", img->dir->path) : 0;
}
