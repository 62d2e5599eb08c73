/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Do a descriptor's layers make a tree (FMT-105)? In less than quadratic time:
 * a descriptor may name many thousands, and every command reads it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "image/image_int.h"

static int bad_tree(struct pl_err *err, const char *what)
{
	return pl_err_set(err, PL_E_CORRUPT, EUCLEAN,
			  DESCRIPTOR ": the layers make no tree: %s", what);
}

static int by_id(const void *a, const void *b)
{
	const struct pl_image_layer *const *x = a, *const *y = b;

	return strcmp((*x)->id, (*y)->id);
}

#define NO_PARENT UINT32_MAX

/*
 * The number of each layer's parent; sorted is for looking ids up. False when
 * an id is there twice or a parent is not.
 */
static bool find_parents(const struct pl_image_desc *desc,
			 const struct pl_image_layer **sorted, uint32_t *parent)
{
	const struct pl_image_layer *want, **hit;
	unsigned n = desc->n_layers;

	for (unsigned i = 0; i < n; i++)
		sorted[i] = &desc->layers[i];
	qsort(sorted, n, sizeof(struct pl_image_layer *), by_id);
	for (unsigned i = 1; i < n; i++)
		if (by_id(&sorted[i - 1], &sorted[i]) == 0)
			return false;
	for (unsigned i = 0; i < n; i++) {
		struct pl_image_layer named = { .id = "" };

		memcpy(named.id, desc->layers[i].parent, sizeof(named.id));
		want = &named;
		hit = bsearch(&want, sorted, n, sizeof(struct pl_image_layer *),
			      by_id);
		if (!hit && named.id[0])
			return false;
		parent[i] = hit ? (uint32_t)(*hit - desc->layers) : NO_PARENT;
	}
	return true;
}

/* Following parents ends. walk[i]: the walk that came by layer i, from 1. */
static bool ends(const uint32_t *parent, uint32_t *walk, uint32_t n)
{
	uint32_t k;

	for (uint32_t i = 0; i < n; i++) {
		for (k = i; k != NO_PARENT && !walk[k]; k = parent[k])
			walk[k] = i + 1;
		if (k != NO_PARENT && walk[k] == i + 1)
			return false;
	}
	return true;
}

int descriptor_check_tree(const struct pl_image_desc *desc, struct pl_err *err)
{
	uint32_t n = desc->n_layers, *parent, *walk;
	const struct pl_image_layer **sorted;
	int rc = 0;

	if (!descriptor_layer(desc, desc->top))
		return bad_tree(err, "the layer \"top\" names is missing");
	sorted = calloc(n, sizeof(struct pl_image_layer *));
	parent = calloc(n, sizeof(*parent));
	walk = calloc(n, sizeof(*walk));
	if (!sorted || !parent || !walk)
		rc = pl_err_sys(err, -ENOMEM, DESCRIPTOR);
	else if (!find_parents(desc, sorted, parent) || !ends(parent, walk, n))
		rc = bad_tree(err, "a parent is missing, an id is there "
				   "twice, or layers are their own parents");
	free(sorted);
	free(parent);
	free(walk);
	return rc;
}
