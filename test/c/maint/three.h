/* SPDX-License-Identifier: Apache-2.0 */
/* Three layers to merge two of, for merge_test.c and merge_down_test.c. */
#ifndef PL_TEST_THREE_H
#define PL_TEST_THREE_H

#include "disk.h"
#include "maint/maint.h"

static struct stack s;
static struct pl_chain *ch;

struct run {
	uint64_t first, n; /* blocks */
	int value;
};

/*
 * Base: blocks 0-199 'a'. Middle: 20-39 'b', 50-79 zeros, 300-309 'b'. Top: an
 * empty one, and the chain open for what is its own.
 */
static inline bool three_layers(void)
{
	return (ch = disk_over_base(&s)) && put(ch, 20, 20, 'b') == 0 &&
	       put(ch, 300, 10, 'b') == 0 &&
	       pl_chain_discard(ch, 30 * 4096, 50 * 4096) == 0 &&
	       (ch = disk_snapshot(&s, ch, GIB)) != NULL;
}

static inline bool shows_runs(struct pl_chain *chain, const struct run *want,
			      unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (!holds(chain, want[i].first, want[i].n, want[i].value))
			return false;
	return true;
}

#endif
