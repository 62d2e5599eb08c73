/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading: every run of blocks from its owner, all of a request's transfers
 * started together.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "chain/chain_int.h"

#define BATCH 128u /* transfers started together: each block of 512 KiB */

/* Large: not initialised but for n, which most reads use one of. */
struct batch {
	struct pl_store *st[BATCH];
	struct pl_io io[BATCH];
	unsigned n;
};

void *bounce_alloc(uint64_t len)
{
	void *p;

	return posix_memalign(&p, PL_PAGE, len) == 0 ? p : NULL;
}

static int batch_run(struct batch *b)
{
	int rc = b->n ? pl_store_run(b->st, b->io, b->n) : 0;

	b->n = 0;
	return rc;
}

/* A transfer the store can't do as it is: through aligned memory. */
static int read_bounced(struct pl_store *st, char *buf, uint64_t off,
			uint64_t len)
{
	uint64_t start = off / st->align * st->align;
	uint64_t end = pl_div_up(off + len, st->align) * st->align;
	char *tmp = bounce_alloc(end - start);
	int rc;

	if (!tmp)
		return -ENOMEM;
	rc = pl_store_read(st, tmp, end - start, start, 0);
	if (rc == 0)
		memcpy(buf, tmp + (off - start), len);
	free(tmp);
	return rc;
}

static int read_run(struct batch *b, struct pl_store *st, char *buf,
		    uint64_t off, uint64_t len)
{
	int rc;

	if (off % st->align || len % st->align || (uintptr_t)buf % st->align)
		return read_bounced(st, buf, off, len);
	if (b->n == BATCH) {
		rc = batch_run(b);
		if (rc < 0)
			return rc;
	}
	b->st[b->n] = st;
	b->io[b->n++] = (struct pl_io){
		.op = PL_IO_READ, .off = off, .len = len, .buf = buf
	};
	return 0;
}

/* Adds the transfers of one locked cluster. */
static int add_cluster(struct pl_chain *ch, struct batch *batch, uint64_t cno,
		       char *buf, uint64_t in, uint64_t len)
{
	uint64_t end = in + len, pos = in, to, n;
	unsigned last = (unsigned)pl_div_up(end, ch->block_size);
	struct pl_entry top;
	struct run run;
	int rc = load_cluster(ch, cno, &top);

	while (rc == 0 && pos < end) {
		unsigned b = (unsigned)(pos / ch->block_size);

		rc = lower_load(ch, cno); /* read_run() may have suspended */
		if (rc < 0)
			break;
		run = run_at(ch, cno, &top, b, last);
		to = (uint64_t)(b + run.blocks) * ch->block_size;
		n = (to < end ? to : end) - pos;
		if (run.host_off == UINT64_MAX)
			memset(buf + (pos - in), 0, n);
		else
			rc = read_run(batch, pl_layer_store(run.layer),
				      buf + (pos - in),
				      run.host_off + pos % ch->block_size, n);
		pos += n;
	}
	return rc;
}

int read_locked(struct pl_chain *ch, uint64_t cno, char *buf, uint64_t in,
		uint64_t len)
{
	struct batch batch;
	int rc, rc2;

	batch.n = 0;
	rc = add_cluster(ch, &batch, cno, buf, in, len);
	rc2 = batch_run(&batch);
	return rc < 0 ? rc : rc2;
}

/* Clusters [first, last], locked by us. */
static int read_clusters(struct pl_chain *ch, char *buf, uint64_t off,
			 uint64_t end)
{
	struct batch batch;
	uint64_t cs = ch->cluster_size, n;
	int rc = 0, rc2;

	batch.n = 0;
	for (; off < end && rc == 0; off += n, buf += n) {
		n = cs - off % cs;
		n = n < end - off ? n : end - off;
		rc = add_cluster(ch, &batch, off / cs, buf, off % cs, n);
	}
	rc2 = batch_run(&batch);
	return rc < 0 ? rc : rc2;
}

int pl_chain_read(struct pl_chain *ch, void *buf, uint64_t len, uint64_t off)
{
	uint64_t cs = ch->cluster_size, first, last, locked;
	int rc = 0;

	if (off % 512 || len % 512 || off > ch->size || len > ch->size - off)
		return -EINVAL;
	if (len == 0)
		return 0;
	first = off / cs;
	last = (off + len - 1) / cs;
	for (locked = first; rc == 0 && locked <= last; locked++)
		rc = lock_shared(ch, locked);
	if (rc < 0)
		locked--;
	else
		rc = read_clusters(ch, buf, off, off + len);
	while (locked-- > first)
		unlock(ch, locked);
	return rc;
}
