/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The size of a chain is that of its top. A layer below may be larger, after
 * the disk was shrunk: growing must not bring to light what it holds there.
 */
#include <errno.h>

#include "chain/chain_int.h"

/* Where the layers below the top stop saying anything, bytes. */
static uint64_t lower_end(const struct pl_chain *ch)
{
	uint64_t end = 0, size;

	for (unsigned i = 0; i + 1 < ch->n; i++) {
		size = pl_layer_header(ch->layers[i])->virtual_size;
		end = size > end ? size : end;
	}
	return end;
}

static bool lower_page_empty(const struct pl_chain *ch, uint64_t page_no)
{
	for (unsigned i = 0; i + 1 < ch->n; i++)
		if (pl_layer_page_present(ch->layers[i], page_no))
			return false;
	return true;
}

static int below(void *arg, uint64_t page_no, uint64_t owned[PL_PAGE_ENTRIES])
{
	struct pl_chain *ch = arg;
	int rc = 0;

	if (lower_page_empty(ch, page_no))
		return 0;
	for (unsigned i = 0; i < PL_PAGE_ENTRIES && rc == 0; i++)
		rc = lower_owned(ch, page_no * PL_PAGE_ENTRIES + i, &owned[i]);
	return rc;
}

/* Of a failure, too, the layer's size may have come. */
static int adopt(struct pl_chain *ch, int rc, struct pl_err *err)
{
	int rc2 = pl_chain_grown(ch);

	if (rc == 0 && rc2 < 0)
		rc = pl_err_sys(err, rc2, "chain");
	return rc;
}

int pl_chain_grow(struct pl_chain *ch, uint64_t size, struct pl_err *err)
{
	struct pl_layer *top = pl_chain_top(ch);
	int rc;

	/* What was resolved may name what a layer lost since (pl_chain_fit). */
	lower_forget(ch);
	if (lower_end(ch) <= ch->size) {
		rc = pl_layer_grow(top, size, err);
	} else {
		rc = lower_resize(ch, size);
		if (rc < 0)
			return pl_err_sys(err, rc, "chain");
		rc = pl_layer_grow_over(top, size, lower_end(ch), below, ch,
					err);
	}
	return adopt(ch, rc, err);
}

int pl_chain_shrink(struct pl_chain *ch, uint64_t size, struct pl_err *err)
{
	return adopt(ch, pl_layer_shrink(pl_chain_top(ch), size, err), err);
}
