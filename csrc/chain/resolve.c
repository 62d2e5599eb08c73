/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who owns what below the top, worked out once.
 *
 * The layers below the top never change, so their answer for a map page (256
 * clusters) is computed at first touch, from the upper layers down, and kept:
 * for each cluster one layer and place, or, where several layers meet, an
 * owner index for each block. Pages beyond RBYTES_MAX are forgotten, oldest
 * first (second chance).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "chain/chain_int.h"

#define RBYTES_MAX (4u << 20)

/* One layer's share of one cluster. */
struct share {
	uint64_t mask, where;
	uint32_t layer;
	uint8_t cluster;
};

struct shares {
	struct share *v;
	size_t n, cap;
	uint64_t owned[PL_PAGE_ENTRIES];
	unsigned full; /* clusters whose every block has an owner */
};

static int add_share(struct shares *s, const struct share *share)
{
	if (s->n == s->cap) {
		size_t cap = s->cap ? s->cap * 2 : 256;
		struct share *v = realloc(s->v, cap * sizeof(*v));

		if (!v)
			return -ENOMEM;
		s->v = v;
		s->cap = cap;
	}
	s->v[s->n++] = *share;
	s->owned[share->cluster] |= share->mask;
	if (s->owned[share->cluster] == UINT64_MAX)
		s->full++;
	return 0;
}

static int add_layer(struct pl_chain *ch, struct shares *s, uint32_t layer,
		     uint64_t page_no)
{
	struct pl_entry entries[PL_PAGE_ENTRIES];
	int rc;

	if (!pl_layer_page_present(ch->layers[layer], page_no))
		return 0;
	rc = pl_layer_page(ch->layers[layer], page_no, entries);
	for (unsigned i = 0; i < PL_PAGE_ENTRIES && rc == 0; i++) {
		struct share share = { .mask = entries[i].owned & ~s->owned[i],
				       .where = entries[i].where,
				       .layer = layer,
				       .cluster = (uint8_t)i };

		if (share.mask)
			rc = add_share(s, &share);
	}
	return rc;
}

static struct rmulti *make_multi(const struct shares *s, const size_t *first,
				 const size_t *link)
{
	struct rmulti *m;
	unsigned n = 0;

	for (size_t i = *first; i != SIZE_MAX; i = link[i])
		n++;
	m = malloc(sizeof(*m) + n * sizeof(m->src[0]));
	if (!m)
		return NULL;
	memset(m->owner, 0, sizeof(m->owner));
	m->n = 0;
	for (size_t i = *first; i != SIZE_MAX; i = link[i]) {
		for (uint64_t b = s->v[i].mask; b; b &= b - 1)
			m->owner[__builtin_ctzll(b)] = m->n;
		m->src[m->n++] = (struct rsource){ .where = s->v[i].where,
						   .layer = s->v[i].layer };
	}
	return m;
}

static void rpage_free(struct rpage *rp)
{
	for (unsigned i = 0; i < PL_PAGE_ENTRIES; i++)
		if (rp->cluster[i].layer == SOURCE_MULTI)
			free(rp->cluster[i].multi);
	free(rp);
}

static int fill_cluster(struct rpage *rp, unsigned i, const struct shares *s,
			const size_t *first, const size_t *link)
{
	struct rcluster *rc = &rp->cluster[i];

	rc->owned = s->owned[i];
	rc->layer = SOURCE_NONE;
	if (*first == SIZE_MAX)
		return 0;
	if (link[*first] == SIZE_MAX) {
		rc->layer = s->v[*first].layer;
		rc->where = s->v[*first].where;
		return 0;
	}
	rc->multi = make_multi(s, first, link);
	if (!rc->multi)
		return -ENOMEM;
	rc->layer = SOURCE_MULTI;
	rp->bytes +=
		sizeof(*rc->multi) + rc->multi->n * sizeof(rc->multi->src[0]);
	return 0;
}

/* Links the shares of each cluster into a list, then fills the page. */
static int fill_page(struct rpage *rp, const struct shares *s)
{
	size_t first[PL_PAGE_ENTRIES];
	size_t *link = calloc(s->n ? s->n : 1, sizeof(*link));
	int rc = link ? 0 : -ENOMEM;

	for (unsigned i = 0; i < PL_PAGE_ENTRIES; i++)
		first[i] = SIZE_MAX;
	for (size_t k = s->n; rc == 0 && k-- > 0;) {
		link[k] = first[s->v[k].cluster];
		first[s->v[k].cluster] = k;
	}
	for (unsigned i = 0; i < PL_PAGE_ENTRIES && rc == 0; i++)
		rc = fill_cluster(rp, i, s, &first[i], link);
	free(link);
	return rc;
}

static void unlink_page(struct pl_chain *ch, struct rpage *rp)
{
	*(rp->prev ? &rp->prev->next : &ch->oldest) = rp->next;
	*(rp->next ? &rp->next->prev : &ch->newest) = rp->prev;
}

static void link_newest(struct pl_chain *ch, struct rpage *rp)
{
	rp->next = NULL;
	rp->prev = ch->newest;
	*(rp->prev ? &rp->prev->next : &ch->oldest) = rp;
	ch->newest = rp;
}

static void forget(struct pl_chain *ch, struct rpage *rp)
{
	unlink_page(ch, rp);
	ch->rpages[rp->page_no] = NULL;
	ch->rbytes -= rp->bytes;
	rpage_free(rp);
}

static void evict(struct pl_chain *ch)
{
	struct rpage *rp;

	while (ch->rbytes > RBYTES_MAX && (rp = ch->oldest) != ch->newest) {
		if (rp->used) {
			rp->used = false;
			unlink_page(ch, rp);
			link_newest(ch, rp);
		} else {
			forget(ch, rp);
		}
	}
}

static int resolve(struct pl_chain *ch, uint64_t page_no)
{
	struct shares *s = calloc(1, sizeof(*s));
	struct rpage *rp = calloc(1, sizeof(*rp));
	int rc = s && rp ? 0 : -ENOMEM;

	for (unsigned i = ch->n - 1; rc == 0 && i-- > 0;)
		if (s->full < PL_PAGE_ENTRIES)
			rc = add_layer(ch, s, i, page_no);
	if (rc == 0) {
		rp->page_no = page_no;
		rp->bytes = sizeof(*rp);
		rc = fill_page(rp, s);
	}
	if (s)
		free(s->v);
	free(s);
	if (rc < 0) {
		if (rp)
			rpage_free(rp);
		return rc;
	}
	evict(ch);
	ch->rpages[page_no] = rp;
	ch->rbytes += rp->bytes;
	link_newest(ch, rp);
	return 0;
}

const struct rcluster *lower_get(struct pl_chain *ch, uint64_t cno)
{
	static const struct rcluster none = { .layer = SOURCE_NONE };
	struct rpage *rp;

	if (ch->n == 1)
		return &none;
	rp = ch->rpages[cno / PL_PAGE_ENTRIES];
	if (!rp)
		return NULL;
	rp->used = true;
	return &rp->cluster[cno % PL_PAGE_ENTRIES];
}

int lower_load(struct pl_chain *ch, uint64_t cno)
{
	uint64_t pushed;
	int rc = 0;

	if (lower_get(ch, cno))
		return 0;
	pl_comutex_lock(&ch->resolve_lock);
	do {
		pushed = ch->pushed;
		if (!lower_get(ch, cno))
			rc = resolve(ch, cno / PL_PAGE_ENTRIES);
		/* It may lack the layer that was the top meanwhile. */
		if (rc == 0 && pushed != ch->pushed)
			lower_forget_page(ch, cno / PL_PAGE_ENTRIES);
	} while (rc == 0 && pushed != ch->pushed);
	pl_comutex_unlock(&ch->resolve_lock);
	return rc;
}

int load_cluster(struct pl_chain *ch, uint64_t cno, struct pl_entry *ret)
{
	int rc;

	do {
		rc = lower_load(ch, cno);
		if (rc == 0)
			rc = pl_layer_entry(pl_chain_top(ch), cno, ret);
	} while (rc == 0 && !lower_get(ch, cno));
	return rc;
}

int lower_owned(struct pl_chain *ch, uint64_t cno, uint64_t *ret)
{
	const struct rcluster *c;
	int rc = 0;

	while (rc == 0 && !(c = lower_get(ch, cno)))
		rc = lower_load(ch, cno);
	if (rc == 0)
		*ret = c->owned;
	return rc;
}

void lower_forget(struct pl_chain *ch)
{
	while (ch->oldest)
		forget(ch, ch->oldest);
}

void lower_forget_page(struct pl_chain *ch, uint64_t page_no)
{
	if (page_no < ch->n_rpages && ch->rpages[page_no])
		forget(ch, ch->rpages[page_no]);
}

int lower_resize(struct pl_chain *ch, uint64_t size)
{
	uint64_t n =
		pl_div_up(pl_div_up(size, ch->cluster_size), PL_PAGE_ENTRIES);
	struct rpage **rpages;

	if (n <= ch->n_rpages)
		return 0;
	rpages = realloc(ch->rpages, n * sizeof(*rpages));
	if (!rpages)
		return -ENOMEM;
	memset(rpages + ch->n_rpages, 0, (n - ch->n_rpages) * sizeof(*rpages));
	ch->rpages = rpages;
	ch->n_rpages = n;
	return 0;
}
