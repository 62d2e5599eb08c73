/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing. Whole blocks are written without looking at what was there; a part
 * of a block that the top does not own is completed from its present owner
 * first (the only case of reading before writing).
 *
 * Order: data is written, then owned, then acknowledged. Whether the data must
 * also be durable before the ownership is (because a parent's data would be
 * lost otherwise) is told to the layer with each change.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "chain/chain_int.h"

#define SPAN 8u /* clusters written together */

static unsigned block_of(const struct pl_chain *ch, uint64_t in)
{
	return (unsigned)(in / ch->block_size);
}

/* Makes the top own blocks that were just written. */
static int own_blocks(struct pl_chain *ch, uint64_t cno, uint64_t mask)
{
	struct pl_layer *top = pl_chain_top(ch);
	struct pl_entry e;
	uint64_t lower;
	bool ordered;
	int rc = lower_owned(ch, cno, &lower);

	if (rc == 0)
		rc = pl_layer_entry(top, cno, &e);
	if (rc < 0)
		return rc;
	mask &= ~e.owned;
	if (!mask)
		return 0;
	ordered = (lower & mask) || !pl_layer_trusts(top, cno);
	return pl_layer_own(top, cno, mask, ordered);
}

/* ---- whole blocks ---- */

struct span {
	uint64_t cno, in, len;
	uint64_t where;
	bool first; /* the top does not own all of it yet */
};

static unsigned split(const struct pl_chain *ch, struct span *spans,
		      uint64_t off, uint64_t len)
{
	uint64_t cs = ch->cluster_size;
	unsigned n = 0;

	for (uint64_t end = off + len; off < end; n++) {
		spans[n].cno = off / cs;
		spans[n].in = off % cs;
		spans[n].len = cs - off % cs;
		if (spans[n].len > end - off)
			spans[n].len = end - off;
		off += spans[n].len;
	}
	return n;
}

/* One transfer for clusters that are neighbours on the host, too. */
static int transfer(struct pl_chain *ch, const struct span *spans, unsigned n,
		    const char *buf)
{
	struct pl_store *st = pl_layer_store(pl_chain_top(ch));
	struct pl_store *stores[SPAN];
	struct pl_io io[SPAN];
	unsigned n_io = 0;
	uint64_t off, done = 0;

	for (unsigned i = 0; i < n; i++) {
		unsigned flags = spans[i].first ? PL_IO_ALLOCATES : 0;

		off = spans[i].where * ch->cluster_size + spans[i].in;
		if (n_io && io[n_io - 1].off + io[n_io - 1].len == off) {
			io[n_io - 1].len += spans[i].len;
			io[n_io - 1].flags |= flags;
		} else {
			stores[n_io] = st;
			io[n_io++] = (struct pl_io){
				.op = PL_IO_WRITE,
				.flags = flags,
				.off = off,
				.len = spans[i].len,
				.buf = (char *)(uintptr_t)buf + done,
			};
		}
		done += spans[i].len;
	}
	pl_layer_touch(pl_chain_top(ch));
	return pl_store_run(stores, io, n_io);
}

static uint64_t span_mask(const struct pl_chain *ch, const struct span *span)
{
	return block_mask(block_of(ch, span->in), block_of(ch, span->len));
}

/* Does the top own all of it? As far as that is known without waiting. */
static bool owns(const struct pl_chain *ch, const struct span *span)
{
	uint64_t mask = span_mask(ch, span);
	struct pl_entry e;

	return pl_layer_peek(pl_chain_top(ch), span->cno, &e) &&
	       (e.owned & mask) == mask;
}

static int write_spans(struct pl_chain *ch, struct span *spans, unsigned n,
		       const char *buf)
{
	struct pl_layer *top = pl_chain_top(ch);
	int rc = 0;

	for (unsigned i = 0; i < n && rc == 0; i++) {
		note_change(ch, spans[i].cno, span_mask(ch, &spans[i]));
		rc = pl_layer_map(top, spans[i].cno, &spans[i].where);
		spans[i].first = rc == 0 && !owns(ch, &spans[i]);
	}
	if (rc < 0)
		return rc;
	rc = transfer(ch, spans, n, buf);
	if (rc < 0) {
		pl_layer_distrust(top);
		return rc;
	}
	/* Syncs that ran meanwhile may have missed the end of the transfer. */
	pl_layer_touch(top);
	for (unsigned i = 0; i < n && rc == 0; i++)
		rc = own_blocks(ch, spans[i].cno, span_mask(ch, &spans[i]));
	if (rc < 0) /* data is there that nobody owns */
		pl_layer_distrust(top);
	return rc;
}

/* Up to SPAN clusters of whole blocks, from memory the store can use. */
static int write_whole(struct pl_chain *ch, const char *buf, uint64_t off,
		       uint64_t len)
{
	struct span spans[SPAN];
	unsigned n = split(ch, spans, off, len), locked;
	int rc = 0;

	for (locked = 0; rc == 0 && locked < n; locked++)
		rc = lock_shared(ch, spans[locked].cno);
	if (rc < 0)
		locked--;
	else
		rc = write_spans(ch, spans, n, buf);
	while (locked-- > 0)
		unlock(ch, spans[locked].cno);
	return rc;
}

/* ---- parts of a block ---- */

static bool fits(const struct pl_store *st, const void *buf, uint64_t off,
		 uint64_t len)
{
	return off % st->align == 0 && len % st->align == 0 &&
	       (uintptr_t)buf % st->align == 0;
}

static int write_in_place(struct pl_chain *ch, uint64_t where, const char *buf,
			  uint64_t in, uint64_t len)
{
	struct pl_layer *top = pl_chain_top(ch);
	int rc = pl_store_write(pl_layer_store(top), buf, len,
				where * ch->cluster_size + in, 0);

	pl_layer_touch(top);
	return rc;
}

/* Reads the block, patches it, writes it whole. */
static int complete_block(struct pl_chain *ch, uint64_t cno, const char *buf,
			  uint64_t in, uint64_t len)
{
	uint64_t bs = ch->block_size, start = in / bs * bs;
	struct span span = { .cno = cno, .in = start, .len = bs };
	char *block = bounce_alloc(bs);
	int rc;

	if (!block)
		return -ENOMEM;
	rc = read_locked(ch, cno, block, start, bs);
	if (rc == 0) {
		memcpy(block + (in - start), buf, len);
		rc = write_spans(ch, &span, 1, block);
	}
	free(block);
	return rc;
}

static int write_part_locked(struct pl_chain *ch, uint64_t cno, const char *buf,
			     uint64_t in, uint64_t len)
{
	struct pl_layer *top = pl_chain_top(ch);
	struct pl_entry e;
	int rc = pl_layer_entry(top, cno, &e);

	if (rc < 0)
		return rc;
	if (e.where && (e.owned >> block_of(ch, in) & 1) &&
	    fits(pl_layer_store(top), buf, in, len)) {
		note_change(ch, cno, block_mask(block_of(ch, in), 1));
		return write_in_place(ch, e.where, buf, in, len);
	}
	return complete_block(ch, cno, buf, in, len);
}

static int write_part(struct pl_chain *ch, const char *buf, uint64_t off,
		      uint64_t len)
{
	uint64_t cno = off / ch->cluster_size;
	int rc = lock_exclusive(ch, cno);

	if (rc < 0)
		return rc;
	rc = write_part_locked(ch, cno, buf, off % ch->cluster_size, len);
	unlock(ch, cno);
	return rc;
}

/* ---- any range ---- */

static int write_bounced(struct pl_chain *ch, const char *buf, uint64_t off,
			 uint64_t len)
{
	char *tmp = bounce_alloc(len);
	int rc;

	if (!tmp)
		return -ENOMEM;
	memcpy(tmp, buf, len);
	rc = write_whole(ch, tmp, off, len);
	free(tmp);
	return rc;
}

static int write_piece(struct pl_chain *ch, const char *buf, uint64_t off,
		       uint64_t len)
{
	struct pl_store *st = pl_layer_store(pl_chain_top(ch));

	if (off % ch->block_size || len % ch->block_size)
		return write_part(ch, buf, off, len);
	if ((uintptr_t)buf % st->align)
		return write_bounced(ch, buf, off, len);
	return write_whole(ch, buf, off, len);
}

/* The next piece: part of a block, or whole blocks of up to SPAN clusters. */
static uint64_t piece(const struct pl_chain *ch, uint64_t off, uint64_t len)
{
	uint64_t bs = ch->block_size, cs = ch->cluster_size;
	uint64_t to_block = bs - off % bs, most;

	if (off % bs || len < bs)
		return len < to_block ? len : to_block;
	most = cs - off % cs + (SPAN - 1) * cs;
	len = len / bs * bs;
	return len < most ? len : most;
}

int pl_chain_write(struct pl_chain *ch, const void *buf, uint64_t len,
		   uint64_t off)
{
	const char *p = buf;
	uint64_t n;
	int rc = 0;

	if (!pl_chain_writable(ch))
		return -EROFS;
	if (off % 512 || len % 512 || off > ch->size || len > ch->size - off)
		return -EINVAL;
	for (; len && rc == 0; off += n, p += n, len -= n) {
		n = piece(ch, off, len);
		rc = write_piece(ch, p, off, n);
	}
	return rc;
}
