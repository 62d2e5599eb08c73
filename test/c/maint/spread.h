/* SPDX-License-Identifier: Apache-2.0 */
/* A disk with clusters far from each other, some of them discarded. */
#ifndef PLOOP_TEST_MAINT_SPREAD_H
#define PLOOP_TEST_MAINT_SPREAD_H

#include "disk.h"
#include "maint/maint.h"

static struct stack s;
static struct pl_chain *ch;
static struct pl_compact_stats stats;

/* `n` clusters on a disk of 100 GiB, spread over many map pages. */
static inline bool spread(uint64_t n, uint64_t step)
{
	if (!stack_init(&s, 4096) || !stack_add(&s, 100 * GIB) ||
	    !(ch = stack_chain(&s)))
		return false;
	for (uint64_t i = 0; i < n; i++)
		if (put(ch, i * step * 64, 64, 'a' + (int)(i % 20)) < 0)
			return false;
	return pl_layer_checkpoint(pl_chain_top(ch)) == 0;
}

/* Every cluster but each `keep`th is gone. */
static inline bool shows(uint64_t n, uint64_t step, uint64_t keep)
{
	for (uint64_t i = 0; i < n; i++)
		if (!holds(ch, i * step * 64, 64,
			   i % keep ? 0 : 'a' + (int)(i % 20)))
			return false;
	return true;
}

static inline bool discard(uint64_t n, uint64_t step, uint64_t keep)
{
	for (uint64_t i = 0; i < n; i++)
		if (i % keep &&
		    pl_chain_discard(ch, 64 * 4096, i * step * 64 * 4096) < 0)
			return false;
	return true;
}

static inline void finish(void)
{
	pl_chain_abandon(ch);
	stack_fini(&s);
}

#endif
