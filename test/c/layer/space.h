/* SPDX-License-Identifier: Apache-2.0 */
/* Taking host clusters and giving them back, for the tests of free space. */
#ifndef PL_TEST_SPACE_H
#define PL_TEST_SPACE_H

#include "stack.h"

static struct stack s;
static uint64_t cs;

static inline bool begin(void)
{
	if (!stack_one(&s, 4096, GIB))
		return false;
	cs = pl_cluster_size(pl_layer_header(s.ly[0]));
	return true;
}

/* Maps, writes a byte into it, owns block 0. */
static inline uint64_t take(uint64_t cno)
{
	uint64_t where = 0;

	ok(pl_layer_map(s.ly[0], cno, &where) == 0);
	ok(pl_store_write(pl_layer_store(s.ly[0]), "data", 4, where * cs, 0) ==
	   0);
	pl_layer_touch(s.ly[0]);
	ok(pl_layer_own(s.ly[0], cno, 1, false) == 0);
	return where;
}

static inline void give(uint64_t cno, uint64_t where)
{
	ok(pl_store_punch(pl_layer_store(s.ly[0]), where * cs, cs) == 0);
	ok(pl_layer_set(s.ly[0], cno, (struct pl_entry){ 0, 0 }, false) == 0);
	pl_layer_free_cluster(s.ly[0], where);
}

static inline bool reads_zeros(uint64_t where)
{
	char buf[4096];

	return pl_store_read(pl_layer_store(s.ly[0]), buf, sizeof(buf),
			     where * cs, 0) == 0 &&
	       buf[0] == 0 && memcmp(buf, buf + 1, sizeof(buf) - 1) == 0;
}

#endif
