/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Space maintenance of single clusters of the top: giving back host clusters
 * that hold only holes, and moving data to lower host clusters.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "chain/chain_int.h"

static bool has_data(struct pl_store *st, uint64_t off, uint64_t len)
{
	uint64_t start, end;

	/* When in doubt it does. */
	return pl_store_seek_data(st, off, &start, &end) < 0 ||
	       start < off + len;
}

/*
 * Those of the blocks that occupy host space. Punching holes costs the host a
 * commit of its journal, and the disk's next flush waits for that.
 */
static uint64_t with_space(struct pl_chain *ch, uint64_t where, uint64_t mask)
{
	struct pl_store *st = pl_layer_store(pl_chain_top(ch));
	uint64_t base = where * ch->cluster_size, bs = ch->block_size;
	uint64_t end = base + ch->cluster_size, at = base, from, to;
	uint64_t held = 0;

	for (; at < end; at = to) {
		if (pl_store_seek_space(st, at, &from, &to) < 0)
			return mask;
		if (from >= end)
			break;
		to = to < end ? to : end;
		for (uint64_t b = (from - base) / bs; b <= (to - 1 - base) / bs;
		     b++)
			held |= 1ull << b;
	}
	return mask & held;
}

static int reclaim_locked(struct pl_chain *ch, uint64_t cno, bool *ret_freed)
{
	struct pl_layer *top = pl_chain_top(ch);
	struct pl_entry e;
	uint64_t lower;
	int rc = lower_owned(ch, cno, &lower);

	if (rc == 0)
		rc = pl_layer_entry(top, cno, &e);
	if (rc < 0 || !e.where)
		return rc;
	/* Blocks that another policy kept are to go back as well. */
	if (pl_layer_stale(top) || ch->discard == PL_DISCARD_BLOCK)
		rc = punch_blocks(ch, e.where,
				  with_space(ch, e.where, ~e.owned));
	if (rc < 0 || has_data(pl_layer_store(top), e.where * ch->cluster_size,
			       ch->cluster_size))
		return rc;
	rc = give_up(ch, cno, e, e.owned & lower);
	*ret_freed = rc == 0;
	return rc;
}

int pl_chain_reclaim(struct pl_chain *ch, uint64_t cno, bool *ret_freed)
{
	int rc = lock_exclusive(ch, cno);

	*ret_freed = false;
	if (rc < 0)
		return rc;
	rc = reclaim_locked(ch, cno, ret_freed);
	unlock(ch, cno);
	return rc;
}

/* ---- relocation ---- */

/* Copied at a time: requests of the disk wait behind it on the host. */
#define STEP (256u << 10)

struct relocation {
	struct pl_chain *ch;
	uint64_t from, to; /* host clusters */
	char *buf; /* STEP bytes */
	bool locked;
	bool sync, durable; /* wanted; so it is, all that was copied */
	pl_chain_rest_fn *rest;
	void *arg;
};

/* Copies a part of the host cluster, leaving its holes out. */
static int copy_part(struct relocation *r, uint64_t in, uint64_t len)
{
	struct pl_layer *top = pl_chain_top(r->ch);
	struct pl_store *st = pl_layer_store(top);
	uint64_t base = r->from * r->ch->cluster_size, off = base + in;
	uint64_t stop = off + len, start, end;
	uint64_t to = r->to * r->ch->cluster_size;
	int rc = 0;

	while (rc == 0 && off < stop) {
		rc = pl_store_seek_data(st, off, &start, &end);
		if (rc < 0 || start >= stop)
			break;
		start = start / PL_PAGE * PL_PAGE;
		start = start > off ? start : off;
		end = pl_div_up(end, PL_PAGE) * PL_PAGE;
		end = end < stop ? end : stop;
		rc = pl_store_read(st, r->buf, end - start, start, 0);
		if (rc == 0)
			rc = pl_store_write(st, r->buf, end - start,
					    to + (start - base), 0);
		off = end;
	}
	pl_layer_touch(top);
	return rc;
}

/* Step by step; rest only when nobody waits for the cluster. */
static int copy_all(struct relocation *r, bool rest)
{
	struct pl_layer *top = pl_chain_top(r->ch);
	uint64_t cs = r->ch->cluster_size, n = 0;
	int rc = 0;

	for (uint64_t in = 0; rc == 0 && in < cs; in += n) {
		n = cs - in < STEP ? cs - in : STEP;
		rc = copy_part(r, in, n);
		/* Of each step: the flushes of others wait for little. */
		if (rc == 0 && r->sync)
			rc = pl_layer_sync_data(top);
		if (rest && r->rest)
			r->rest(r->arg, n);
	}
	r->durable = rc == 0 && r->sync;
	return rc;
}

/* The blocks anew, after what was copied of them: holes stay holes. */
static int copy_again(struct relocation *r, uint64_t mask)
{
	uint64_t bs = r->ch->block_size;
	int rc = mask ? punch_blocks(r->ch, r->to, mask) : 0;

	r->durable &= mask == 0;
	for (unsigned b = 0; rc == 0 && b < PL_CLUSTER_BLOCKS; b++)
		if (mask >> b & 1)
			rc = copy_part(r, b * bs, bs);
	return rc;
}

/*
 * Copies while requests go on, with the lock (taken, and taken again) only to
 * begin and to end it. *ret_moved: the cluster is still where it was, and the
 * copy is complete.
 */
static int copy_beside(struct relocation *r, uint64_t cno, bool *ret_moved)
{
	struct pl_chain *ch = r->ch;
	struct moving moving = { .cno = cno };
	struct pl_entry e;
	int rc, rc2;

	assert(!ch->moving);
	ch->moving = &moving; /* nobody has the cluster now */
	unlock(ch, cno);
	rc = copy_all(r, true);
	rc2 = lock_exclusive(ch, cno);
	ch->moving = NULL;
	r->locked = rc2 == 0;
	if (rc2 < 0)
		return rc2;
	if (rc == 0)
		rc = pl_layer_entry(pl_chain_top(ch), cno, &e);
	*ret_moved = rc == 0 && e.where == r->from;
	return *ret_moved ? copy_again(r, moving.changed) : rc;
}

/* The copy is of no use: its cluster is empty and free again. */
static int drop_copy(struct relocation *r)
{
	int rc = punch_blocks(r->ch, r->to, UINT64_MAX);

	if (rc == 0)
		pl_layer_free_cluster(pl_chain_top(r->ch), r->to);
	return rc;
}

static int move_cluster(struct relocation *r, uint64_t cno, uint64_t *ret_old)
{
	struct pl_layer *top = pl_chain_top(r->ch);
	struct pl_entry e;
	bool moved = true;
	int rc = r->ch->cluster_size > STEP ? copy_beside(r, cno, &moved) :
					      copy_all(r, false);

	if (rc == 0 && !moved)
		return drop_copy(r);
	if (rc == 0)
		rc = pl_layer_entry(top, cno, &e);
	if (rc == 0)
		rc = pl_layer_set(top, cno, (struct pl_entry){ r->to, e.owned },
				  !r->durable);
	if (rc == 0)
		*ret_old = r->from;
	return rc;
}

static int relocate_locked(struct relocation *r, uint64_t cno, uint64_t limit,
			   uint64_t *ret_old)
{
	struct pl_layer *top = pl_chain_top(r->ch);
	struct pl_entry e;
	int rc = pl_layer_entry(top, cno, &e);

	if (rc < 0 || e.where < limit)
		return rc;
	r->from = e.where;
	r->to = pl_layer_take_below(top, limit);
	if (!r->to)
		return 0;
	rc = move_cluster(r, cno, ret_old);
	if (rc < 0) /* what was copied is in a cluster that nobody uses */
		pl_layer_distrust(top);
	return rc;
}

int pl_chain_relocate(struct pl_chain *ch, uint64_t cno, uint64_t limit,
		      bool sync, pl_chain_rest_fn *rest, void *arg,
		      uint64_t *ret_old)
{
	struct relocation r = { .ch = ch,
				.buf = bounce_alloc(STEP),
				.sync = sync,
				.rest = rest,
				.arg = arg };
	int rc = r.buf ? lock_exclusive(ch, cno) : -ENOMEM;

	*ret_old = 0;
	r.locked = rc == 0;
	if (rc == 0)
		rc = relocate_locked(&r, cno, limit, ret_old);
	if (r.locked)
		unlock(ch, cno);
	free(r.buf);
	return rc;
}
