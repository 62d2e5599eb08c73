/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hidden layers hold and nobody sees goes back to the host. A layer is
 * hidden when no snapshot shows it (any more) and it is not the top: branches
 * need it, so it can't be merged away. Of its blocks they see those that no
 * layer between owns; the others are punched (maint/hidden.c).
 *
 * WHY IT IS SAFE
 *   1. A block that nobody sees is never seen again: what a layer owns it goes
 *	on owning as long as one below it owns the block, and new tops come
 *	above layers that are shown. The hidden layer itself goes on owning what
 *	was punched, as zeros.
 *   2. The top's ownership is made durable (a flush) between looking and
 *	punching; sealed layers' is.
 *   3. Whoever reads or links the file without the image's lock has it locked
 *	shared (FMT-086): such a layer stays as it is, as does one with another
 *	name.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "image/tree_int.h"

#define BATCH 256u /* holes between a flush and the next */

struct node {
	char id[PL_ID_LEN + 1];
	struct pl_layer *ly;
	int parent; /* index, -1 = none */
	unsigned depth;
	bool lent; /* ly belongs to the chain */
	bool shown; /* a snapshot or the top: all of it is seen */
	bool hidden; /* may be punched */
	bool over_hidden; /* one of those below it is */
	/* Of the page at hand: what those above it and it see from it on. */
	uint64_t seen[PL_PAGE_ENTRIES];
};

struct batch {
	struct pl_hole hole[BATCH];
	unsigned n;
};

struct reclaim {
	struct pl_image *img;
	struct pl_chain *ch;
	const struct pl_maint_progress *progress;
	struct pl_reclaim_result *ret;
	struct node *node; /* as the descriptor's layers */
	unsigned *order, n; /* children before parents; n of both */
	uint64_t pages;
	struct batch batch;
};

/* ---- the tree ---- */

static bool is_shown(const struct pl_image_desc *d, const char *id)
{
	for (unsigned i = 0; i < d->n_snapshots; i++)
		if (!d->snapshots[i].hidden &&
		    strcmp(d->snapshots[i].layer, id) == 0)
			return true;
	return strcmp(d->top, id) == 0;
}

static int index_of(const struct pl_image_desc *d, const char *id)
{
	for (unsigned i = 0; i < d->n_layers; i++)
		if (strcmp(d->layers[i].id, id) == 0)
			return (int)i;
	return -1;
}

/* Hidden, and somebody above it: one that nobody needs is dropped instead. */
static unsigned find_hidden(struct reclaim *r)
{
	const struct pl_image_desc *d = &r->img->desc;
	const struct pl_image_layer *child;
	unsigned hidden = 0;

	for (unsigned i = 0; i < r->n; i++) {
		struct node *node = &r->node[i];

		memcpy(node->id, d->layers[i].id, sizeof(node->id));
		node->parent = index_of(d, d->layers[i].parent);
		node->shown = is_shown(d, node->id);
		node->hidden = !node->shown &&
			       tree_children(d, node->id, &child) > 0;
		hidden += node->hidden;
	}
	return hidden;
}

static void sort(struct reclaim *r)
{
	unsigned n = 0, deepest = 0;

	for (unsigned i = 0; i < r->n; i++) {
		struct node *node = &r->node[i];

		for (int p = node->parent; p >= 0; p = r->node[p].parent) {
			node->depth++;
			node->over_hidden |= r->node[p].hidden;
		}
		if (node->depth > deepest)
			deepest = node->depth;
	}
	for (unsigned depth = deepest + 1; depth-- > 0;)
		for (unsigned i = 0; i < r->n; i++)
			if (r->node[i].depth == depth)
				r->order[n++] = i;
}

static int open_node(struct reclaim *r, struct node *node, struct pl_err *err)
{
	int at = pl_chain_find(r->ch, node->id);
	const struct pl_header *h;
	int rc;

	/* A hidden layer's own store: the chain's can't be written to. */
	node->lent = !node->hidden && at >= 0;
	if (node->lent) {
		node->ly = pl_chain_layer(r->ch, (unsigned)at);
		return 0;
	}
	rc = layer_file_open_how(r->img, node->id, 0,
				 node->hidden ? PL_OPEN_WRITE | PL_OPEN_BESIDE :
						0,
				 NULL, &node->ly, err);
	if (rc < 0 || !node->hidden)
		return rc;
	h = pl_layer_header(node->ly);
	/* A merge was interrupted: that goes first. */
	node->hidden = h->state == PL_LAYER_SEALED &&
		       h->flags & PL_HEADER_CLEAN;
	r->ret->layers += node->hidden;
	if (node->hidden && pl_layer_page_count(node->ly) > r->pages)
		r->pages = pl_layer_page_count(node->ly);
	return 0;
}

static int open_all(struct reclaim *r, struct pl_err *err)
{
	int rc = 0;

	for (unsigned i = 0; i < r->n && rc == 0; i++)
		if (r->node[i].hidden || r->node[i].over_hidden)
			rc = open_node(r, &r->node[i], err);
	return rc;
}

static int begin(struct reclaim *r, struct pl_err *err)
{
	r->n = r->img->desc.n_layers;
	r->node = calloc(r->n, sizeof(*r->node));
	r->order = calloc(r->n, sizeof(*r->order));
	if (!r->node || !r->order)
		return pl_err_sys(err, -ENOMEM, "hidden layers");
	if (!find_hidden(r))
		return 0;
	sort(r);
	return open_all(r, err);
}

static void end(struct reclaim *r)
{
	for (unsigned i = 0; r->node && i < r->n; i++)
		if (!r->node[i].lent)
			pl_layer_abandon(r->node[i].ly);
	free(r->node);
	free(r->order);
}

/* ---- punching ---- */

/* Of blocks first to first + n - 1. */
static uint64_t mask_of(const struct pl_hole *hole)
{
	return (hole->n == PL_CLUSTER_BLOCKS ? UINT64_MAX :
					       (1ull << hole->n) - 1)
	       << hole->first;
}

/* The first run of set bits. */
static struct pl_hole first_run(uint64_t where, uint64_t mask)
{
	unsigned first = (unsigned)__builtin_ctzll(mask);
	uint64_t rest = ~(mask >> first);
	unsigned n = rest ? (unsigned)__builtin_ctzll(rest) : PL_CLUSTER_BLOCKS;

	return (struct pl_hole){ where, first, n };
}

/* May its file be changed just now? */
static int claim(struct node *node, bool *ret_mine)
{
	struct pl_store *st = pl_layer_store(node->ly);
	uint64_t links;
	int rc = pl_store_lock(st, PL_STORE_EXCLUSIVE);

	*ret_mine = false;
	if (rc == -EBUSY)
		return 0;
	if (rc == 0)
		rc = pl_store_links(st, &links);
	*ret_mine = rc == 0 && links == 1;
	if (!*ret_mine)
		pl_store_lock(st, PL_STORE_UNLOCKED);
	return rc;
}

static int punch_batch(struct reclaim *r, struct node *node)
{
	struct batch *b = &r->batch;
	uint64_t bs = r->img->desc.block_size;
	unsigned n = b->n;
	bool mine;
	int rc = claim(node, &mine);

	b->n = 0;
	if (rc == 0 && !mine) {
		node->hidden = false;
		r->ret->in_use++;
	}
	if (rc < 0 || !mine)
		return rc;
	rc = pl_chain_flush(r->ch);
	if (rc == 0)
		rc = pl_layer_punch_hidden(node->ly, b->hole, n);
	for (unsigned i = 0; i < n && rc == 0; i++)
		r->ret->punched_bytes += b->hole[i].n * bs;
	pl_store_lock(pl_layer_store(node->ly), PL_STORE_UNLOCKED);
	if (rc == 0 && r->progress && r->progress->pace)
		r->progress->pace(r->progress->arg, n * bs);
	return rc;
}

static bool has_data(struct node *node, const struct pl_hole *hole)
{
	const struct pl_header *h = pl_layer_header(node->ly);
	uint64_t off = hole->where * pl_cluster_size(h) +
		       hole->first * (uint64_t)h->block_size;
	uint64_t start, end;

	/* When in doubt it does. */
	return pl_store_seek_data(pl_layer_store(node->ly), off, &start, &end) <
		       0 ||
	       start < off + hole->n * (uint64_t)h->block_size;
}

static int punch_unseen(struct reclaim *r, struct node *node,
			const struct pl_entry *e, uint64_t unseen)
{
	int rc = 0;

	while (unseen && rc == 0 && node->hidden) {
		struct pl_hole hole = first_run(e->where, unseen);

		unseen &= ~mask_of(&hole);
		if (!has_data(node, &hole))
			continue;
		r->batch.hole[r->batch.n++] = hole;
		if (r->batch.n == BATCH)
			rc = punch_batch(r, node);
	}
	return rc;
}

/* ---- what is seen ---- */

static int look_page(struct reclaim *r, struct node *node, uint64_t page_no)
{
	struct pl_entry entries[PL_PAGE_ENTRIES];
	struct node *parent = node->parent < 0 ? NULL : &r->node[node->parent];
	int rc = pl_layer_page(node->ly, page_no, entries);

	if (rc < 0)
		return rc;
	if (node->shown)
		memset(node->seen, 0xff, sizeof(node->seen));
	for (unsigned i = 0; i < PL_PAGE_ENTRIES; i++) {
		const struct pl_entry *e = &entries[i];

		if (parent)
			parent->seen[i] |= node->seen[i] & ~e->owned;
		if (node->hidden && e->where && e->owned & ~node->seen[i])
			rc = punch_unseen(r, node, e,
					  e->owned & ~node->seen[i]);
		if (rc < 0)
			return rc;
	}
	return node->hidden && r->batch.n ? punch_batch(r, node) : 0;
}

static bool any_has(const struct reclaim *r, uint64_t page_no)
{
	for (unsigned i = 0; i < r->n; i++)
		if (r->node[i].hidden &&
		    pl_layer_page_present(r->node[i].ly, page_no))
			return true;
	return false;
}

static int each_page(struct reclaim *r)
{
	const struct pl_maint_progress *p = r->progress;
	int rc = 0;

	for (uint64_t page_no = 0; page_no < r->pages && rc == 0; page_no++) {
		if (p && p->fn && !p->fn(p->arg, page_no, r->pages))
			return -ECANCELED;
		if (!any_has(r, page_no))
			continue;
		for (unsigned i = 0; i < r->n; i++)
			memset(r->node[i].seen, 0, sizeof(r->node[i].seen));
		for (unsigned i = 0; i < r->n && rc == 0; i++)
			if (r->node[r->order[i]].ly)
				rc = look_page(r, &r->node[r->order[i]],
					       page_no);
	}
	return rc;
}

static int reclaim(struct pl_image *img, struct pl_chain *ch,
		   const struct pl_maint_progress *progress, void *ret,
		   struct pl_err *err)
{
	struct reclaim *r = calloc(1, sizeof(*r));
	int rc;

	if (!r)
		return pl_err_sys(err, -ENOMEM, "hidden layers");
	r->img = img;
	r->ch = ch;
	r->progress = progress;
	r->ret = ret;
	rc = begin(r, err);
	if (rc == 0) {
		rc = each_page(r);
		if (rc == -ECANCELED)
			pl_err_set(err, PL_E_INTERRUPTED, ECANCELED,
				   "compact was interrupted; what was given "
				   "back is given back");
		else if (rc < 0)
			pl_err_sys(err, rc, "%s: hidden layers",
				   img->dir->path);
	}
	end(r);
	free(r);
	return rc;
}

int pl_image_reclaim_hidden(struct pl_image *img, struct pl_chain *live,
			    struct pl_reclaim_result *ret,
			    const struct pl_image_work *work,
			    struct pl_err *err)
{
	memset(ret, 0, sizeof(*ret));
	return chain_maintain(img, live, work, reclaim, ret, err);
}
