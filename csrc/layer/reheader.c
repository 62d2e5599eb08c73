/* SPDX-License-Identifier: Apache-2.0 */
/* Changes of the header alone, of layers that are open for reading. */
#include <assert.h>
#include <errno.h>

#include "layer/layer_int.h"

/* Counting this far takes centuries; a fault or a bad will gets there at once. */
#define COUNT_MAX (1ull << 62)

bool layer_counted_out(const struct pl_header *hdr)
{
	return hdr->sequence >= COUNT_MAX || hdr->checkpoint_lsn >= COUNT_MAX;
}

int pl_layer_renew_header(struct pl_layer *ly)
{
	int rc;

	pl_comutex_lock(&ly->flush_lock);
	rc = commit_header(ly);
	pl_comutex_unlock(&ly->flush_lock);
	return rc;
}

int pl_layer_begin_sums(struct pl_layer *ly)
{
	assert(!ly->writable && ly->hdr.state == PL_LAYER_SEALED);
	ly->hdr.flags &= ~PL_HEADER_CLEAN;
	ly->hdr.auto_clear = 0;
	ly->hdr.sums_off = ly->hdr.sums_pages = 0;
	return pl_layer_renew_header(ly);
}

int pl_layer_end_sums(struct pl_layer *ly, uint64_t off, uint64_t pages)
{
	int rc;

	if (ly->failed)
		return -EIO;
	ly->hdr.flags |= PL_HEADER_CLEAN;
	ly->hdr.auto_clear = pages ? PL_AUTO_CLEAR_SUMS : 0;
	ly->hdr.sums_off = off;
	ly->hdr.sums_pages = pages;
	rc = pl_layer_renew_header(ly);
	return rc < 0 ? rc : pl_layer_renew_header(ly); /* both copies */
}
