/* SPDX-License-Identifier: Apache-2.0 */
/* Making, growing and closing chains: see chain.h. */
#include "chain/chain.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "chain/chain_int.h"

/*
 * A layer names its parent when it is made; merging removes layers between it
 * and an ancestor, so that an ancestor, or none, is right, too (FMT-018).
 */
static int check_parent(struct pl_layer **layers, unsigned i,
			struct pl_err *err)
{
	const struct pl_uuid *parent = &pl_layer_header(layers[i])->parent;

	if (pl_uuid_is_nil(parent))
		return 0;
	for (unsigned k = 0; k < i; k++)
		if (pl_uuid_equal(parent, &pl_layer_header(layers[k])->uuid))
			return 0;
	return pl_err_set(err, PL_E_CORRUPT, EUCLEAN,
			  "layer %s was made on a parent that is not in this "
			  "chain",
			  pl_layer_id(layers[i]));
}

static int check_layer(struct pl_layer **layers, unsigned i, unsigned n,
		       struct pl_err *err)
{
	const struct pl_header *h = pl_layer_header(layers[i]);
	const struct pl_header *base = pl_layer_header(layers[0]);

	if (h->block_size != base->block_size)
		return pl_err_set(err, PL_E_UNSUPPORTED, EOPNOTSUPP,
				  "layer %s has %u-byte blocks, its base %u: "
				  "one chain has one block size",
				  pl_layer_id(layers[i]), h->block_size,
				  base->block_size);
	if (i + 1 < n && pl_layer_writable(layers[i]))
		return pl_err_set(err, PL_E_INTERNAL, EINVAL,
				  "layer %s is writable below the top",
				  pl_layer_id(layers[i]));
	return check_parent(layers, i, err);
}

static int adopt_top(struct pl_chain *ch)
{
	ch->size = pl_layer_header(pl_chain_top(ch))->virtual_size;
	return lower_resize(ch, ch->size);
}

int pl_chain_new(struct pl_chain **ret, struct pl_layer **layers, unsigned n,
		 struct pl_err *err)
{
	struct pl_chain *ch;
	int rc;

	if (n == 0 || n > PL_CHAIN_MAX)
		return pl_err_set(err, PL_E_UNSUPPORTED, E2BIG,
				  "a chain has 1 to %u layers, not %u",
				  PL_CHAIN_MAX, n);
	for (unsigned i = 0; i < n; i++) {
		rc = check_layer(layers, i, n, err);
		if (rc < 0)
			return rc;
	}
	ch = calloc(1, sizeof(*ch));
	if (ch)
		ch->layers = calloc(n, sizeof(struct pl_layer *));
	if (!ch || !ch->layers) {
		free(ch);
		return pl_err_sys(err, -ENOMEM, "chain");
	}
	memcpy(ch->layers, layers, n * sizeof(struct pl_layer *));
	ch->n = n;
	ch->block_size = pl_layer_header(layers[0])->block_size;
	ch->cluster_size = (uint64_t)ch->block_size * PL_CLUSTER_BLOCKS;
	rc = adopt_top(ch);
	if (rc < 0) {
		free(ch->layers);
		free(ch);
		return pl_err_sys(err, rc, "chain");
	}
	*ret = ch;
	return 0;
}

static void free_parts(struct pl_chain *ch)
{
	lower_forget(ch);
	locks_fini(ch);
	free(ch->rpages);
	free(ch->layers);
	free(ch);
}

int pl_chain_close(struct pl_chain *ch, struct pl_err *err)
{
	int rc;

	int rc2;

	if (!ch)
		return 0;
	rc = pl_chain_settle(ch);
	if (rc < 0)
		pl_err_sys(err, rc, "a snapshot can't be made durable");
	/* One that was the top until a snapshot comes before the top. */
	for (unsigned i = 0; i < ch->n; i++) {
		rc2 = 0;
		if (i + 1 == ch->n || pl_layer_writable(ch->layers[i]))
			rc2 = pl_layer_close(ch->layers[i],
					     rc < 0 ? NULL : err);
		else
			pl_layer_abandon(ch->layers[i]);
		rc = rc < 0 ? rc : rc2;
	}
	free_parts(ch);
	return rc;
}

void pl_chain_abandon(struct pl_chain *ch)
{
	if (!ch)
		return;
	for (unsigned i = 0; i < ch->n; i++)
		pl_layer_abandon(ch->layers[i]);
	free_parts(ch);
}

void pl_chain_release(struct pl_chain *ch)
{
	if (ch)
		free_parts(ch);
}

int pl_chain_push(struct pl_chain *ch, struct pl_layer *top, struct pl_err *err)
{
	struct pl_layer **layers;
	int rc;

	if (ch->n == PL_CHAIN_MAX)
		return pl_err_set(err, PL_E_UNSUPPORTED, E2BIG,
				  "a chain has at most %u layers; delete "
				  "snapshots first",
				  PL_CHAIN_MAX);
	layers = realloc(ch->layers, (ch->n + 1) * sizeof(*layers));
	if (!layers)
		return pl_err_sys(err, -ENOMEM, "chain");
	ch->layers = layers;
	layers[ch->n] = top;
	rc = check_layer(layers, ch->n, ch->n + 1, err);
	if (rc < 0)
		return rc;
	lower_forget(ch);
	ch->n++;
	ch->pushed++;
	rc = adopt_top(ch);
	if (rc < 0) {
		ch->n--;
		return pl_err_sys(err, rc, "chain");
	}
	return 0;
}

int pl_chain_grown(struct pl_chain *ch)
{
	return adopt_top(ch);
}

void pl_chain_forget(struct pl_chain *ch)
{
	lower_forget(ch);
}

void pl_chain_set_settle(struct pl_chain *ch, pl_chain_settle_fn *fn, void *arg)
{
	ch->settle = fn;
	ch->settle_arg = arg;
}

int pl_chain_settle(struct pl_chain *ch)
{
	int rc = 0;

	if (!ch->settle)
		return 0;
	pl_comutex_lock(&ch->settle_lock);
	if (ch->settle)
		rc = ch->settle(ch->settle_arg);
	if (rc == 0)
		ch->settle = NULL;
	pl_comutex_unlock(&ch->settle_lock);
	return rc;
}

int pl_chain_flush(struct pl_chain *ch)
{
	int rc = pl_chain_settle(ch);

	return rc < 0 ? rc : pl_layer_flush(pl_chain_top(ch));
}

uint64_t pl_chain_size(const struct pl_chain *ch)
{
	return ch->size;
}

uint32_t pl_chain_block_size(const struct pl_chain *ch)
{
	return ch->block_size;
}

bool pl_chain_writable(const struct pl_chain *ch)
{
	return pl_layer_writable(pl_chain_top(ch));
}

unsigned pl_chain_depth(const struct pl_chain *ch)
{
	return ch->n;
}

struct pl_layer *pl_chain_layer(const struct pl_chain *ch, unsigned i)
{
	return ch->layers[i];
}

struct pl_layer *pl_chain_top(const struct pl_chain *ch)
{
	return ch->layers[ch->n - 1];
}
