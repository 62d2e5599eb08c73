/* SPDX-License-Identifier: Apache-2.0 */
/* What a layer holds, counted from its map: nothing else is read. */
#include <string.h>

#include "maint/maint.h"

/* 0 to 64 blocks in eight classes; none counts as hardly any. */
static unsigned fullness(unsigned blocks)
{
	return blocks ? (blocks - 1) * PL_FULLNESS / PL_CLUSTER_BLOCKS : 0;
}

static void count_entry(struct pl_layer_count *c, const struct pl_entry *e)
{
	unsigned blocks = (unsigned)__builtin_popcountll(e->owned);

	c->owned += blocks;
	if (!e->where)
		return;
	c->clusters++;
	c->data += blocks;
	c->full[fullness(blocks)]++;
}

int pl_layer_count(struct pl_layer *ly, struct pl_layer_count *ret)
{
	struct pl_entry entries[PL_PAGE_ENTRIES];
	int rc = 0;

	memset(ret, 0, sizeof(*ret));
	for (uint64_t p = 0; p < pl_layer_page_count(ly) && rc == 0; p++) {
		if (!pl_layer_page_present(ly, p))
			continue;
		rc = pl_layer_page(ly, p, entries);
		for (unsigned i = 0; i < PL_PAGE_ENTRIES && rc == 0; i++)
			count_entry(ret, &entries[i]);
	}
	return rc;
}
