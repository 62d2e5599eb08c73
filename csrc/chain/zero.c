/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Discard and write-zeroes: the range reads as zeros afterwards and its host
 * space comes back, at block granularity.
 *
 * In a cluster with a host cluster the blocks are punched; those a parent owns
 * stay (or become) owned, the others are disowned. A cluster without any block
 * left gives its host cluster back. Where blocks are not to be given back one
 * by one they are zeroed in place instead, which keeps their host space and
 * changes nothing else. Punching before the change is durable is
 * allowed: what the caller discarded may read as zeros at once.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "chain/chain_int.h"

void pl_chain_set_discard(struct pl_chain *ch, enum pl_discard discard)
{
	ch->discard = discard;
}

typedef int clear_fn(struct pl_store *st, uint64_t off, uint64_t len);

static int clear_runs(struct pl_chain *ch, uint64_t where, uint64_t mask,
		      clear_fn *clear)
{
	struct pl_layer *top = pl_chain_top(ch);
	uint64_t base = where * ch->cluster_size, bs = ch->block_size;
	int rc = 0;

	pl_layer_touch(top);
	while (mask && rc == 0) {
		unsigned b = (unsigned)__builtin_ctzll(mask);
		uint64_t rest = ~(mask >> b);
		unsigned n = rest ? (unsigned)__builtin_ctzll(rest) : 64 - b;

		rc = clear(pl_layer_store(top), base + b * bs, n * bs);
		mask &= ~block_mask(b, n);
	}
	if (rc < 0)
		pl_layer_distrust(top);
	pl_layer_touch(top);
	return rc;
}

int punch_blocks(struct pl_chain *ch, uint64_t where, uint64_t mask)
{
	return clear_runs(ch, where, mask, pl_store_punch);
}

/* Of a cluster that stays: zeros, with or without host space. */
static int clear_blocks(struct pl_chain *ch, uint64_t where, uint64_t mask)
{
	return clear_runs(ch, where, mask,
			  ch->discard == PL_DISCARD_BLOCK ? pl_store_punch :
							    pl_store_clear);
}

int give_up(struct pl_chain *ch, uint64_t cno, struct pl_entry e,
	    uint64_t owned)
{
	struct pl_layer *top = pl_chain_top(ch);
	int rc = punch_blocks(ch, e.where, UINT64_MAX);

	if (rc == 0)
		rc = pl_layer_set(top, cno, (struct pl_entry){ 0, owned },
				  false);
	if (rc == 0)
		pl_layer_free_cluster(top, e.where);
	return rc;
}

static int zero_blocks(struct pl_chain *ch, uint64_t cno, uint64_t mask)
{
	struct pl_layer *top = pl_chain_top(ch);
	uint64_t lower, fresh, owned, limit;
	struct pl_entry e;
	bool trusted;
	int rc = lower_owned(ch, cno, &lower);

	if (rc == 0)
		rc = pl_layer_entry(top, cno, &e);
	if (rc < 0)
		return rc;
	limit = pl_owned_limit(pl_layer_header(top), cno);
	mask &= limit;
	lower &= limit;
	fresh = lower & mask & ~e.owned; /* become owned zeros */
	if (!(e.owned & mask) && !fresh)
		return 0;
	owned = (e.owned & ~mask) | (lower & mask);
	if (!e.where)
		return pl_layer_set(top, cno, (struct pl_entry){ 0, owned },
				    false);
	if (!(e.owned & ~mask) && ch->discard != PL_DISCARD_OFF)
		return give_up(ch, cno, e, owned);
	trusted = pl_layer_trusts(top, cno);
	rc = clear_blocks(ch, e.where, e.owned & mask);
	if (rc == 0 && !trusted)
		rc = punch_blocks(ch, e.where, fresh);
	if (rc < 0)
		return rc;
	return pl_layer_set(top, cno, (struct pl_entry){ e.where, owned },
			    fresh && !trusted);
}

static int zero_cluster(struct pl_chain *ch, uint64_t cno, uint64_t mask)
{
	int rc = lock_exclusive(ch, cno);

	if (rc < 0)
		return rc;
	note_change(ch, cno, mask);
	rc = zero_blocks(ch, cno, mask);
	unlock(ch, cno);
	return rc;
}

/* Whole blocks [off, end). */
static int zero_whole(struct pl_chain *ch, uint64_t off, uint64_t end)
{
	uint64_t cs = ch->cluster_size, bs = ch->block_size, n;
	int rc = 0;

	for (; off < end && rc == 0; off += n) {
		n = cs - off % cs;
		if (off % (cs * PL_PAGE_ENTRIES) == 0 &&
		    chain_page_empty(ch, off / cs / PL_PAGE_ENTRIES))
			n = cs * PL_PAGE_ENTRIES;
		n = n < end - off ? n : end - off;
		if (n <= cs)
			rc = zero_cluster(ch, off / cs,
					  block_mask((unsigned)(off % cs / bs),
						     (unsigned)(n / bs)));
	}
	return rc;
}

static int check_range(const struct pl_chain *ch, uint64_t len, uint64_t off)
{
	if (!pl_chain_writable(ch))
		return -EROFS;
	return off % 512 || len % 512 || off > ch->size ||
			       len > ch->size - off ?
		       -EINVAL :
		       0;
}

int pl_chain_discard(struct pl_chain *ch, uint64_t len, uint64_t off)
{
	uint64_t bs = ch->block_size;
	uint64_t start = pl_div_up(off, bs) * bs, end = (off + len) / bs * bs;
	int rc = check_range(ch, len, off);

	return rc < 0 || start >= end ? rc : zero_whole(ch, start, end);
}

/* A part of one block. */
static int zero_part(struct pl_chain *ch, uint64_t off, uint64_t len)
{
	void *zeros;
	int rc;

	if (!len)
		return 0;
	zeros = bounce_alloc(len);
	if (!zeros)
		return -ENOMEM;
	memset(zeros, 0, len);
	rc = pl_chain_write(ch, zeros, len, off);
	free(zeros);
	return rc;
}

int pl_chain_zero(struct pl_chain *ch, uint64_t len, uint64_t off)
{
	uint64_t bs = ch->block_size, stop = off + len;
	uint64_t start = pl_div_up(off, bs) * bs, end = stop / bs * bs;
	int rc = check_range(ch, len, off);

	if (rc < 0)
		return rc;
	if (start > end) /* inside one block */
		return zero_part(ch, off, len);
	rc = zero_part(ch, off, start - off);
	if (rc == 0)
		rc = zero_whole(ch, start, end);
	return rc < 0 ? rc : zero_part(ch, end, stop - end);
}
