/* SPDX-License-Identifier: Apache-2.0 */
/* One layer for tests of its entries: set, asked, closed without a flush. */
#ifndef PLOOP_TEST_LAYER_ENTRIES_H
#define PLOOP_TEST_LAYER_ENTRIES_H

#include "edit.h"
#include "stack.h"

static struct stack s;

/* The cluster gets a place, and these blocks of its own. */
static inline bool set(uint64_t cno, uint64_t owned)
{
	uint64_t where;

	return pl_layer_map(s.ly[0], cno, &where) == 0 &&
	       pl_layer_set(s.ly[0], cno, (struct pl_entry){ where, owned },
			    false) == 0;
}

static inline uint64_t owned(uint64_t cno)
{
	struct pl_entry e = { 0 };

	is_int(pl_layer_entry(s.ly[0], cno, &e), 0);
	return e.owned;
}

/* Closes without writing anything, and opens again. */
static inline bool crash(unsigned flags)
{
	stack_abandon(&s, 0);
	return stack_open(&s, 0, flags);
}

/* As it stands in the file. */
static inline struct pl_header header(void)
{
	struct pl_store *st = stack_file(&s, 0, 0);
	struct pl_header hdr = { .sequence = 0 };

	edit_header_read(st, &hdr);
	pl_store_close(st);
	return hdr;
}

#endif
