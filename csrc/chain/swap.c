/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layers of a live chain that are exchanged or taken out, and what merging
 * them needs to know of the requests beside it: see chain.h.
 */
#include <assert.h>
#include <string.h>

#include "chain/chain_int.h"

int pl_chain_find(const struct pl_chain *ch, const char *layer_id)
{
	for (unsigned i = 0; i < ch->n; i++)
		if (strcmp(pl_layer_id(ch->layers[i]), layer_id) == 0)
			return (int)i;
	return -1;
}

/*
 * The lock waits for a look-up that is under way (of somebody who only looks,
 * beside requests): it would go on with the layer that leaves.
 */
struct pl_layer *pl_chain_replace(struct pl_chain *ch, unsigned i,
				  struct pl_layer *by)
{
	struct pl_layer *old;

	assert(i < ch->n);
	pl_comutex_lock(&ch->resolve_lock);
	old = ch->layers[i];
	ch->layers[i] = by;
	lower_forget(ch);
	pl_comutex_unlock(&ch->resolve_lock);
	return old;
}

struct pl_layer *pl_chain_remove(struct pl_chain *ch, unsigned i)
{
	struct pl_layer *old;

	assert(ch->n > 1 && i < ch->n);
	pl_comutex_lock(&ch->resolve_lock);
	old = ch->layers[i];
	ch->n--;
	memmove(ch->layers + i, ch->layers + i + 1,
		(ch->n - i) * sizeof(struct pl_layer *));
	lower_forget(ch);
	pl_comutex_unlock(&ch->resolve_lock);
	return old;
}

/*
 * What was resolved before may name what is gone. Nobody reads that: it lies
 * beyond the disk's end, and growing forgets it (pl_chain_grow), or a layer
 * above has grown since and owns it (FMT-089).
 */
int pl_chain_fit(struct pl_chain *ch, struct pl_layer *ly, uint64_t size,
		 struct pl_err *err)
{
	int rc = 0;

	pl_comutex_lock(&ch->resolve_lock);
	if (size < pl_layer_header(ly)->virtual_size)
		rc = pl_layer_shrink(ly, size, err);
	else if (size > pl_layer_header(ly)->virtual_size)
		rc = pl_layer_grow(ly, size, err);
	pl_comutex_unlock(&ch->resolve_lock);
	return rc;
}

int pl_chain_lock(struct pl_chain *ch, uint64_t cno)
{
	return lock_exclusive(ch, cno);
}

void pl_chain_unlock(struct pl_chain *ch, uint64_t cno)
{
	unlock(ch, cno);
}

/* A look-up of the page that began before may still install what was. */
void pl_chain_forget_cluster(struct pl_chain *ch, uint64_t cno)
{
	pl_comutex_lock(&ch->resolve_lock);
	lower_forget_page(ch, cno / PL_PAGE_ENTRIES);
	pl_comutex_unlock(&ch->resolve_lock);
}

void pl_chain_set_watch(struct pl_chain *ch, struct pl_chain_watch *watch)
{
	assert(!watch || !ch->watch);
	ch->watch = watch;
}

void note_change(struct pl_chain *ch, uint64_t cno, uint64_t mask)
{
	if (ch->moving && ch->moving->cno == cno)
		ch->moving->changed |= mask;
	for (unsigned i = 0; ch->watch && i < ch->watch->n; i++)
		if (ch->watch->cno[i] == cno)
			ch->watch->changed[i] = true;
}
