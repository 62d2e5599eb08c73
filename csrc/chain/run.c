/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where blocks are: runs of adjacent blocks from one place, and extents of the
 * whole disk made of them.
 */
#include <assert.h>
#include <errno.h>

#include "chain/chain_int.h"

struct place {
	struct pl_layer *layer;
	uint64_t where;
};

static struct place lower_place(struct pl_chain *ch, const struct rcluster *rc,
				unsigned b)
{
	const struct rsource *src;

	if (rc->layer == SOURCE_MULTI) {
		src = &rc->multi->src[rc->multi->owner[b]];
		return (struct place){ ch->layers[src->layer], src->where };
	}
	return (struct place){ ch->layers[rc->layer], rc->where };
}

static struct place place_of(struct pl_chain *ch, const struct rcluster *rc,
			     const struct pl_entry *top, unsigned b)
{
	if (top->owned >> b & 1)
		return (struct place){ pl_chain_top(ch), top->where };
	if (rc->owned >> b & 1)
		return lower_place(ch, rc, b);
	return (struct place){ NULL, 0 };
}

struct run run_at(struct pl_chain *ch, uint64_t cno, const struct pl_entry *top,
		  unsigned b, unsigned end)
{
	const struct rcluster *rc = lower_get(ch, cno);
	struct place first, next;
	struct run run;
	unsigned i = b + 1;

	assert(rc);
	first = place_of(ch, rc, top, b);
	for (; i < end; i++) {
		next = place_of(ch, rc, top, i);
		if (next.layer != first.layer || next.where != first.where)
			break;
	}
	run.blocks = i - b;
	run.layer = first.layer;
	run.host_off = first.where ? first.where * ch->cluster_size +
					     (uint64_t)b * ch->block_size :
				     UINT64_MAX;
	return run;
}

/* ---- extents ---- */

struct merge {
	pl_chain_extent_fn *each;
	void *arg;
	struct pl_chain_extent cur;
	bool stopped;
};

static bool continues(const struct pl_chain_extent *a,
		      const struct pl_chain_extent *b)
{
	if (a->layer != b->layer)
		return false;
	if (a->host_off == UINT64_MAX || b->host_off == UINT64_MAX)
		return a->host_off == b->host_off;
	return a->host_off + a->len == b->host_off;
}

static void emit(struct merge *m)
{
	if (m->cur.len && !m->stopped)
		m->stopped = !m->each(m->arg, &m->cur);
	m->cur.len = 0;
}

static void add(struct merge *m, const struct pl_chain_extent *e)
{
	if (m->cur.len && continues(&m->cur, e)) {
		m->cur.len += e->len;
		return;
	}
	emit(m);
	m->cur = *e;
}

bool chain_page_empty(const struct pl_chain *ch, uint64_t page_no)
{
	for (unsigned i = 0; i < ch->n; i++)
		if (pl_layer_page_present(ch->layers[i], page_no))
			return false;
	return true;
}

static int add_cluster(struct pl_chain *ch, struct merge *m, uint64_t off,
		       uint64_t end)
{
	uint64_t cno = off / ch->cluster_size;
	struct pl_entry top;
	struct run run;
	unsigned b = (unsigned)(off % ch->cluster_size / ch->block_size);
	unsigned stop = b + (unsigned)pl_div_up(end - off, ch->block_size);
	int rc = load_cluster(ch, cno, &top);

	for (; rc == 0 && b < stop; b += run.blocks) {
		run = run_at(ch, cno, &top, b, stop);
		add(m, &(struct pl_chain_extent){
			       .off = cno * ch->cluster_size +
				      (uint64_t)b * ch->block_size,
			       .len = (uint64_t)run.blocks * ch->block_size,
			       .layer = run.layer,
			       .host_off = run.host_off });
	}
	return rc;
}

int pl_chain_extents(struct pl_chain *ch, uint64_t off, uint64_t len,
		     pl_chain_extent_fn *each, void *arg)
{
	uint64_t end = off + len, page_bytes, next;
	struct merge m = { .each = each, .arg = arg };
	int rc = 0;

	if (off % ch->block_size || end < off)
		return -EINVAL;
	end = end > ch->size ? ch->size : end;
	page_bytes = ch->cluster_size * PL_PAGE_ENTRIES;
	while (rc == 0 && off < end && !m.stopped) {
		if (chain_page_empty(ch, off / page_bytes)) {
			next = (off / page_bytes + 1) * page_bytes;
			next = next > end ? end : next;
			add(&m, &(struct pl_chain_extent){
					.off = off,
					.len = next - off,
					.host_off = UINT64_MAX });
		} else {
			next = (off / ch->cluster_size + 1) * ch->cluster_size;
			next = next > end ? end : next;
			rc = add_cluster(ch, &m, off, next);
		}
		off = next;
	}
	if (rc == 0)
		emit(&m);
	return rc;
}
