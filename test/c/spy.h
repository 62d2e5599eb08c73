/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store around another that counts operations, and can fail the n-th change
 * (write, punch, sync, truncate) and every one after it.
 */
#ifndef PL_TEST_SPY_H
#define PL_TEST_SPY_H

#include <errno.h>
#include <stdlib.h>

#include "store/store.h"

struct spy_counts {
	uint64_t data_reads, meta_reads, data_writes, meta_writes;
	uint64_t punches, syncs, truncates, data_bytes;
	uint64_t allocating; /* data writes that say so */
};

struct spy {
	struct pl_store st;
	struct pl_store *under;
	struct spy_counts n;
	int64_t fail_in; /* changes until failing; 0 = never */
	int fail_errno;
	bool failing; /* set when it begins; clear it to end that */
	uint64_t full_from; /* writes at or after this: ENOSPC; 0 = none */
};

static inline struct spy *spy_of(struct pl_store *st)
{
	return (struct spy *)st;
}

static inline void spy_count(struct spy *s, const struct pl_io *io)
{
	bool meta = io->flags & PL_IO_META;

	switch (io->op) {
	case PL_IO_READ:
		*(meta ? &s->n.meta_reads : &s->n.data_reads) += 1;
		break;
	case PL_IO_WRITE:
		*(meta ? &s->n.meta_writes : &s->n.data_writes) += 1;
		s->n.data_bytes += meta ? 0 : io->len;
		s->n.allocating += io->flags & PL_IO_ALLOCATES ? 1 : 0;
		break;
	case PL_IO_PUNCH:
		s->n.punches++;
		break;
	case PL_IO_SYNC:
		s->n.syncs++;
		break;
	}
}

/* Does the change that is about to be made fail? */
static inline bool spy_fails(struct spy *s)
{
	if (s->fail_in && --s->fail_in == 0)
		s->failing = true;
	return s->failing;
}

static inline void spy_refuse(struct pl_io *io, int with)
{
	io->res = -with;
	io->done = true;
	io->fn(io);
}

static inline void spy_submit(struct pl_store *st, struct pl_io *io)
{
	struct spy *s = spy_of(st);

	spy_count(s, io);
	if (io->op != PL_IO_READ && spy_fails(s))
		spy_refuse(io, s->fail_errno);
	else if (io->op == PL_IO_WRITE && s->full_from &&
		 io->off >= s->full_from)
		spy_refuse(io, ENOSPC);
	else
		s->under->ops->submit(s->under, io);
}

static inline int spy_size(struct pl_store *st, uint64_t *ret)
{
	return pl_store_size(spy_of(st)->under, ret);
}

static inline int spy_truncate(struct pl_store *st, uint64_t size)
{
	struct spy *s = spy_of(st);

	s->n.truncates++;
	return spy_fails(s) ? -s->fail_errno :
			      pl_store_truncate(s->under, size);
}

static inline int spy_seek_data(struct pl_store *st, uint64_t off,
				uint64_t *start, uint64_t *end)
{
	return pl_store_seek_data(spy_of(st)->under, off, start, end);
}

static inline int spy_seek_space(struct pl_store *st, uint64_t off,
				 uint64_t *start, uint64_t *end)
{
	return pl_store_seek_space(spy_of(st)->under, off, start, end);
}

static inline int spy_usage(struct pl_store *st, uint64_t *ret)
{
	return pl_store_usage(spy_of(st)->under, ret);
}

static inline void spy_close(struct pl_store *st)
{
	pl_store_close(spy_of(st)->under);
	spy_of(st)->under = NULL;
}

/* Around `under`, which is closed with it; the counts go on. */
static inline struct pl_store *spy_around(struct spy *s, struct pl_store *under)
{
	static const struct pl_store_ops ops = {
		.name = "spy",
		.submit = spy_submit,
		.size = spy_size,
		.truncate = spy_truncate,
		.seek_data = spy_seek_data,
		.seek_space = spy_seek_space,
		.usage = spy_usage,
		.close = spy_close,
	};

	s->st.ops = &ops;
	s->st.align = under->align;
	s->under = under;
	if (!s->fail_errno)
		s->fail_errno = EIO;
	return &s->st;
}

#endif
