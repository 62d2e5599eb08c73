/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and writing a chain in tests: blocks that hold one byte all over. */
#ifndef PL_TEST_DISK_H
#define PL_TEST_DISK_H

#include "stack.h"

static char disk_buf[8 << 20] __attribute__((aligned(4096)));

static inline int disk_write(struct pl_chain *ch, uint64_t off, uint64_t len,
			     int value)
{
	memset(disk_buf, value, len);
	return pl_chain_write(ch, disk_buf, len, off);
}

/* Does the range hold this byte all over? */
static inline bool disk_is(struct pl_chain *ch, uint64_t off, uint64_t len,
			   int value)
{
	int rc;

	memset(disk_buf, ~value, len);
	rc = pl_chain_read(ch, disk_buf, len, off);
	if (rc < 0)
		printf("# read: %d\n", rc);
	for (uint64_t i = 0; rc == 0 && i < len; i++)
		if (disk_buf[i] != (char)value) {
			printf("# byte %llu is %d, not %d\n",
			       (unsigned long long)(off + i), disk_buf[i],
			       value);
			return false;
		}
	return rc == 0;
}

/* The same in blocks of 4 KiB. */
static inline int put(struct pl_chain *ch, uint64_t block, uint64_t n,
		      int value)
{
	return disk_write(ch, block * 4096, n * 4096, value);
}

static inline bool holds(struct pl_chain *ch, uint64_t block, uint64_t n,
			 int value)
{
	return disk_is(ch, block * 4096, n * 4096, value);
}

/* Seals the top of the stack's chain and opens one with a new layer on it. */
static inline struct pl_chain *disk_snapshot(struct stack *s,
					     struct pl_chain *ch, uint64_t size)
{
	if (!stack_says(s, pl_layer_seal(pl_chain_top(ch), &s->err)) ||
	    !stack_says(s, pl_chain_close(ch, &s->err)) || !stack_add(s, size))
		return NULL;
	return stack_chain(s);
}

/* A base full of 'a' in its first 200 blocks, and an empty top; or NULL. */
static inline struct pl_chain *disk_over_base(struct stack *s)
{
	struct pl_chain *ch = stack_init(s, 4096) && stack_add(s, GIB) ?
				      stack_chain(s) :
				      NULL;

	return ch && put(ch, 0, 200, 'a') == 0 ? disk_snapshot(s, ch, GIB) :
						 NULL;
}

/* The chain is closed in order (or as by a crash) and opened again. */
static inline struct pl_chain *disk_reopen(struct stack *s, struct pl_chain *ch,
					   bool crash)
{
	if (crash)
		pl_chain_abandon(ch);
	else if (!stack_says(s, pl_chain_close(ch, &s->err)))
		return NULL;
	return stack_chain(s);
}

static inline void disk_forget_counts(struct stack *s)
{
	for (unsigned i = 0; i < s->n; i++)
		memset(&s->spy[i].n, 0, sizeof(s->spy[i].n));
}

/* Data reads of all layers. */
static inline uint64_t disk_reads(const struct stack *s)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < s->n; i++)
		n += s->spy[i].n.data_reads;
	return n;
}

#endif
