/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layer files in memory for tests: layers[0] is the base; each is opened
 * through a spy of its own. The last one is the top.
 */
#ifndef PL_TEST_STACK_H
#define PL_TEST_STACK_H

#include "chain/chain.h"
#include "layer/layer.h"
#include "spy.h"
#include "tap.h"

#define STACK_MAX 8
#define KIB 1024ull
#define MIB (1024ull * 1024)
#define GIB (1024ull * 1024 * 1024)

struct stack {
	struct pl_dir *dir;
	struct pl_layer *ly[STACK_MAX];
	struct spy spy[STACK_MAX];
	unsigned n;
	uint32_t block_size;
	struct pl_err err;
};

static inline struct pl_uuid stack_uuid(unsigned i)
{
	return (struct pl_uuid){ { 0x11, (uint8_t)(i + 1) } };
}

static inline bool stack_says(struct stack *s, int rc)
{
	if (rc < 0)
		printf("# %s\n", s->err.msg);
	return rc == 0;
}

static inline bool stack_init(struct stack *s, uint32_t block_size)
{
	memset(s, 0, sizeof(*s));
	s->block_size = block_size;
	return pl_dir_memory(&s->dir, 0) == 0;
}

/* The bytes of layer i's file. */
static inline struct pl_store *stack_file(struct stack *s, unsigned i,
					  unsigned flags)
{
	struct pl_store *st = NULL;
	char name[16];

	snprintf(name, sizeof(name), "layer%u", i);
	stack_says(s, s->dir->ops->open(s->dir, name, flags, &st, &s->err));
	return st;
}

/* One more layer on top of the last, closed. */
static inline bool stack_add(struct stack *s, uint64_t size)
{
	struct pl_layer_params p = { .uuid = stack_uuid(s->n),
				     .virtual_size = size,
				     .block_size = s->block_size };
	struct pl_store *st =
		stack_file(s, s->n, PL_OPEN_WRITE | PL_OPEN_CREATE);
	int rc;

	if (s->n)
		p.parent = stack_uuid(s->n - 1);
	rc = st ? pl_layer_create(st, &p, &s->err) : -ENOENT;
	pl_store_close(st);
	s->n++;
	return stack_says(s, rc);
}

static inline int stack_try_open(struct stack *s, unsigned i, unsigned flags,
				 struct pl_pending *pending)
{
	struct pl_store *st =
		stack_file(s, i, flags & PL_LAYER_WRITE ? PL_OPEN_WRITE : 0);
	int rc;

	s->spy[i].failing = false;
	s->spy[i].fail_in = 0;
	st = spy_around(&s->spy[i], st);
	rc = pl_layer_open(&s->ly[i], st, flags, pending, &s->err);
	if (rc < 0) {
		s->ly[i] = NULL;
		pl_store_close(st);
	}
	return rc;
}

static inline bool stack_open(struct stack *s, unsigned i, unsigned flags)
{
	return stack_says(s, stack_try_open(s, i, flags, NULL));
}

static inline bool stack_close(struct stack *s, unsigned i)
{
	int rc = pl_layer_close(s->ly[i], &s->err);

	s->ly[i] = NULL;
	return stack_says(s, rc);
}

static inline void stack_abandon(struct stack *s, unsigned i)
{
	pl_layer_abandon(s->ly[i]);
	s->ly[i] = NULL;
}

/* One base layer, open for writing. */
static inline bool stack_one(struct stack *s, uint32_t block_size,
			     uint64_t size)
{
	return stack_init(s, block_size) && stack_add(s, size) &&
	       stack_open(s, 0, PL_LAYER_WRITE);
}

static inline void stack_fini(struct stack *s)
{
	for (unsigned i = 0; i < s->n; i++)
		pl_layer_abandon(s->ly[i]);
	pl_dir_close(s->dir);
}

/* Opens all layers, the last for writing, and makes a chain of them. */
static inline struct pl_chain *stack_chain(struct stack *s)
{
	struct pl_chain *ch = NULL;
	int rc = 0;

	for (unsigned i = 0; i < s->n && rc == 0; i++)
		rc = stack_try_open(s, i, i + 1 < s->n ? 0 : PL_LAYER_WRITE,
				    NULL);
	if (rc == 0)
		rc = pl_chain_new(&ch, s->ly, s->n, &s->err);
	if (rc == 0) /* the chain's now */
		memset(s->ly, 0, sizeof(s->ly));
	stack_says(s, rc);
	return ch;
}

/* Adds a layer that owns what fill() writes; sealed unless it is the last. */
static inline bool stack_seal_top(struct stack *s)
{
	unsigned i = s->n - 1;

	return stack_open(s, i, PL_LAYER_WRITE) &&
	       stack_says(s, pl_layer_seal(s->ly[i], &s->err)) &&
	       stack_close(s, i);
}

/* Raw access to layer i's file while it is closed. */
static inline void stack_peek(struct stack *s, unsigned i, void *buf,
			      uint64_t len, uint64_t off)
{
	struct pl_store *st = stack_file(s, i, 0);

	ok(st && pl_store_read(st, buf, len, off, PL_IO_META) == 0);
	pl_store_close(st);
}

static inline void stack_poke(struct stack *s, unsigned i, const void *buf,
			      uint64_t len, uint64_t off)
{
	struct pl_store *st = stack_file(s, i, PL_OPEN_WRITE);

	ok(st && pl_store_write(st, buf, len, off, PL_IO_META) == 0);
	pl_store_close(st);
}

#endif
