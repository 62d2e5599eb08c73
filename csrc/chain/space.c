/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Space maintenance of single clusters of the top: giving back host clusters
 * that hold only holes, and moving data to lower host clusters.
 */
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
		rc = punch_blocks(ch, e.where, ~e.owned);
	if (rc < 0 ||
	    has_data(pl_layer_store(top), e.where * ch->cluster_size,
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

/* Copies what a host cluster holds, leaving its holes out. */
static int copy_data(struct pl_chain *ch, uint64_t from, uint64_t to)
{
	struct pl_store *st = pl_layer_store(pl_chain_top(ch));
	uint64_t cs = ch->cluster_size, base = from * cs, off = base;
	uint64_t start, end;
	char *buf = bounce_alloc(cs);
	int rc = buf ? 0 : -ENOMEM;

	while (rc == 0 && off < base + cs) {
		rc = pl_store_seek_data(st, off, &start, &end);
		if (rc < 0 || start >= base + cs)
			break;
		start = start / PL_PAGE * PL_PAGE;
		end = pl_div_up(end, PL_PAGE) * PL_PAGE;
		end = end < base + cs ? end : base + cs;
		rc = pl_store_read(st, buf, end - start, start, 0);
		if (rc == 0)
			rc = pl_store_write(st, buf, end - start,
					    to * cs + (start - base), 0);
		off = end;
	}
	free(buf);
	pl_layer_touch(pl_chain_top(ch));
	return rc;
}

static int relocate_locked(struct pl_chain *ch, uint64_t cno, uint64_t limit,
			   uint64_t *ret_old)
{
	struct pl_layer *top = pl_chain_top(ch);
	struct pl_entry e;
	uint64_t to;
	int rc = pl_layer_entry(top, cno, &e);

	if (rc < 0 || e.where < limit)
		return rc;
	to = pl_layer_take_below(top, limit);
	if (!to)
		return 0;
	rc = copy_data(ch, e.where, to);
	if (rc == 0)
		rc = pl_layer_set(top, cno, (struct pl_entry){ to, e.owned },
				  true);
	if (rc == 0)
		*ret_old = e.where;
	else /* what was copied is in a cluster that nobody uses */
		pl_layer_distrust(top);
	return rc;
}

int pl_chain_relocate(struct pl_chain *ch, uint64_t cno, uint64_t limit,
		      uint64_t *ret_old)
{
	int rc = lock_exclusive(ch, cno);

	*ret_old = 0;
	if (rc < 0)
		return rc;
	rc = relocate_locked(ch, cno, limit, ret_old);
	unlock(ch, cno);
	return rc;
}
