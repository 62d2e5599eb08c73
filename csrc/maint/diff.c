/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changed blocks, one map page after the other: which blocks do the layers own
 * that only one of the chains has? Then, for clusters with such blocks, what
 * kind they are, and with PL_DIFF_COMPARE what they hold.
 *
 * Every answer is worked out for a cluster at a time, in 64-bit masks, before
 * anything is told: callbacks must not find a chain half looked at.
 */
#include "maint/diff.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/zero.h"
#include "chain/chain.h"

struct diff {
	const struct pl_diff_request *req;
	uint64_t bs, cs, end; /* end: of the range, bytes */
	unsigned common; /* layers that both chains have, from the base */
	char *now, *then; /* one cluster each, for comparing */
	struct pl_diff_extent cur;
	bool stopped;
};

/* ---- telling ---- */

static void tell(struct diff *d)
{
	if (d->cur.len && !d->stopped)
		d->stopped = !d->req->each(d->req->arg, &d->cur);
	d->cur.len = 0;
}

static void add(struct diff *d, uint64_t off, uint64_t len, bool zero)
{
	if (d->cur.len && d->cur.off + d->cur.len == off &&
	    d->cur.zero == zero) {
		d->cur.len += len;
		return;
	}
	tell(d);
	d->cur =
		(struct pl_diff_extent){ .off = off, .len = len, .zero = zero };
}

static void add_mask(struct diff *d, uint64_t cno, uint64_t changed,
		     uint64_t zero)
{
	for (; changed; changed &= changed - 1) {
		unsigned b = (unsigned)__builtin_ctzll(changed);

		add(d, cno * d->cs + b * d->bs, d->bs, zero >> b & 1);
	}
}

/* ---- kinds ---- */

struct zeros {
	uint64_t start, bs, mask;
};

static bool note_zeros(void *arg, const struct pl_chain_extent *e)
{
	struct zeros *z = arg;

	for (uint64_t off = e->off; off < e->off + e->len; off += z->bs)
		if (e->host_off != UINT64_MAX)
			z->mask &= ~(1ull << ((off - z->start) / z->bs));
	return true;
}

/* Blocks of the cluster that read as zeros without a look at data. */
static int known_zeros(const struct diff *d, struct pl_chain *ch, uint64_t cno,
		       uint64_t *ret)
{
	struct zeros z = { .start = cno * d->cs, .bs = d->bs, .mask = ~0ull };
	uint64_t size = ch ? pl_chain_size(ch) : 0, len = d->cs;
	int rc = 0;

	if (z.start < size) {
		len = size - z.start < len ? size - z.start : len;
		rc = pl_chain_extents(ch, z.start, len, note_zeros, &z);
	}
	*ret = z.mask;
	return rc;
}

/* ---- comparing ---- */

static int read_blocks(const struct diff *d, struct pl_chain *ch, char *buf,
		       uint64_t cno, unsigned b, unsigned n)
{
	uint64_t off = cno * d->cs + b * d->bs, len = n * d->bs;
	uint64_t size = ch ? pl_chain_size(ch) : 0;
	uint64_t have = off >= size ? 0 : size - off;

	have = have > len ? len : have;
	memset(buf + have, 0, len - have);
	return have ? pl_chain_read(ch, buf, have, off) : 0;
}

static unsigned run_of(uint64_t mask, unsigned b)
{
	uint64_t rest = ~(mask >> b);

	return rest ? (unsigned)__builtin_ctzll(rest) : 64 - b;
}

/* Takes equal blocks out of *changed, adds those that hold zeros to *zero. */
static int compare(const struct diff *d, uint64_t cno, uint64_t *changed,
		   uint64_t *zero)
{
	uint64_t left = *changed;
	int rc;

	while (left) {
		unsigned b = (unsigned)__builtin_ctzll(left);
		unsigned n = run_of(left, b);

		rc = read_blocks(d, d->req->to, d->now, cno, b, n);
		if (rc == 0)
			rc = read_blocks(d, d->req->from, d->then, cno, b, n);
		if (rc < 0)
			return rc;
		for (unsigned i = 0; i < n; i++) {
			uint64_t bit = 1ull << (b + i);
			const char *p = d->now + i * d->bs;

			left &= ~bit;
			if (memcmp(p, d->then + i * d->bs, d->bs) == 0)
				*changed &= ~bit;
			else if (pl_is_zero(p, d->bs))
				*zero |= bit;
		}
	}
	return 0;
}

/* ---- clusters ---- */

/* The blocks of a cluster that lie in the range. */
static uint64_t in_range(const struct diff *d, uint64_t cno)
{
	uint64_t start = cno * d->cs, off = d->req->off, first = 0, last;

	if (off > start)
		first = (off - start) / d->bs;
	if (first >= PL_CLUSTER_BLOCKS || d->end <= start)
		return 0;
	last = pl_div_up(d->end - start, d->bs);
	if (last > PL_CLUSTER_BLOCKS)
		last = PL_CLUSTER_BLOCKS;
	return (~0ull << first) & (~0ull >> (PL_CLUSTER_BLOCKS - last));
}

static int do_cluster(struct diff *d, uint64_t cno, uint64_t owned)
{
	uint64_t changed = owned & in_range(d, cno), zero, was_zero;
	int rc;

	if (!changed)
		return 0;
	rc = known_zeros(d, d->req->to, cno, &zero);
	if (rc == 0)
		rc = known_zeros(d, d->req->from, cno, &was_zero);
	if (rc < 0)
		return rc;
	changed &= ~(zero & was_zero);
	if (changed && d->req->flags & PL_DIFF_COMPARE)
		rc = compare(d, cno, &changed, &zero);
	if (rc == 0)
		add_mask(d, cno, changed, zero);
	return rc;
}

static int add_owned(struct pl_chain *ch, unsigned first, uint64_t page_no,
		     uint64_t owned[PL_PAGE_ENTRIES], bool *ret_any)
{
	struct pl_entry entries[PL_PAGE_ENTRIES];
	int rc = 0;

	/* The chain may grow a layer while we wait. */
	for (unsigned i = first; ch && i < pl_chain_depth(ch) && rc == 0; i++) {
		struct pl_layer *ly = pl_chain_layer(ch, i);

		if (!pl_layer_page_present(ly, page_no))
			continue;
		rc = pl_layer_page(ly, page_no, entries);
		for (unsigned k = 0; k < PL_PAGE_ENTRIES && rc == 0; k++)
			owned[k] |= entries[k].owned;
		*ret_any = true;
	}
	return rc;
}

/*
 * What the smaller of the two never had counts as changed whoever owns it, also
 * a layer that both have.
 */
static int add_beyond(struct diff *d, uint64_t page_no,
		      uint64_t owned[PL_PAGE_ENTRIES], bool *ret_any)
{
	uint64_t all[PL_PAGE_ENTRIES] = { 0 }, first, from;
	int rc;

	if (!d->req->from)
		return 0;
	from = pl_chain_size(d->req->from) / d->bs;
	first = page_no * PL_PAGE_ENTRIES * PL_CLUSTER_BLOCKS;
	if (first + PL_PAGE_ENTRIES * PL_CLUSTER_BLOCKS <= from)
		return 0;
	rc = add_owned(d->req->to, 0, page_no, all, ret_any);
	for (unsigned i = 0; i < PL_PAGE_ENTRIES; i++, first += 64)
		if (first >= from)
			owned[i] |= all[i];
		else if (from - first < PL_CLUSTER_BLOCKS)
			owned[i] |= all[i] & (~0ull << (from - first));
	return rc;
}

static int do_page(struct diff *d, uint64_t page_no, uint64_t *ret_end)
{
	const struct pl_diff_request *req = d->req;
	uint64_t owned[PL_PAGE_ENTRIES] = { 0 }, cno;
	bool any = false;
	int rc = add_owned(req->from, d->common, page_no, owned, &any);

	if (rc == 0)
		rc = add_owned(req->to, d->common, page_no, owned, &any);
	if (rc == 0)
		rc = add_beyond(d, page_no, owned, &any);
	for (unsigned i = 0; i < PL_PAGE_ENTRIES && any && rc == 0; i++) {
		cno = page_no * PL_PAGE_ENTRIES + i;
		if (cno * d->cs >= d->end || d->stopped)
			break;
		rc = do_cluster(d, cno, owned[i]);
		if (rc < 0 || !owned[i])
			continue;
		*ret_end = (cno + 1) * d->cs;
		if (req->step && !req->step(req->step_arg, *ret_end))
			rc = -ECANCELED;
	}
	return rc;
}

/* ---- all of it ---- */

static unsigned count_common(struct pl_chain *a, struct pl_chain *b)
{
	unsigned n = 0;

	while (a && n < pl_chain_depth(a) && n < pl_chain_depth(b) &&
	       pl_uuid_equal(&pl_layer_header(pl_chain_layer(a, n))->uuid,
			     &pl_layer_header(pl_chain_layer(b, n))->uuid))
		n++;
	return n;
}

static int do_range(struct diff *d, uint64_t *ret_end)
{
	const struct pl_diff_request *req = d->req;
	uint64_t page_bytes = d->cs * PL_PAGE_ENTRIES;
	int rc = 0;

	for (uint64_t p = req->off / page_bytes;
	     rc == 0 && p * page_bytes < d->end && !d->stopped; p++) {
		rc = do_page(d, p, ret_end);
		if (rc == 0 && !d->stopped)
			*ret_end = (p + 1) * page_bytes;
		if (rc == 0 && req->step && !req->step(req->step_arg, *ret_end))
			rc = -ECANCELED;
	}
	return rc;
}

static int alloc_buffers(struct diff *d)
{
	void *p;

	if (!(d->req->flags & PL_DIFF_COMPARE))
		return 0;
	if (posix_memalign(&p, PL_PAGE, 2 * d->cs) != 0)
		return -ENOMEM;
	d->now = p;
	d->then = d->now + d->cs;
	return 0;
}

int pl_diff_chains(const struct pl_diff_request *req, uint64_t *ret_end)
{
	uint64_t size = pl_chain_size(req->to), looked = req->off;
	struct diff d = { .req = req, .bs = pl_chain_block_size(req->to) };
	int rc;

	if (req->off % d.bs)
		return -EINVAL;
	d.cs = d.bs * PL_CLUSTER_BLOCKS;
	d.end = req->off > size		   ? size :
		size - req->off < req->len ? size :
					     req->off + req->len;
	d.common = count_common(req->from, req->to);
	rc = alloc_buffers(&d);
	if (rc == 0)
		rc = do_range(&d, &looked);
	/* What was found before an end stays found. */
	if (rc == 0 || rc == -ECANCELED)
		tell(&d);
	free(d.now);
	if (ret_end)
		*ret_end = looked > d.end ? d.end : looked;
	return rc;
}
