/* SPDX-License-Identifier: Apache-2.0 */
/* What an open layer is, for those above it. */
#include <assert.h>

#include "layer/layer_int.h"

uint64_t pl_layer_page_location(const struct pl_layer *ly, uint64_t page_no)
{
	assert(!dir_unread(ly, page_no));
	return ly->dir[page_no].location;
}

uint64_t pl_layer_used(const struct pl_layer *ly)
{
	return ly->alloc.n - ly->alloc.n_free - ly->hdr.first_cluster;
}

uint64_t pl_layer_page_count(const struct pl_layer *ly)
{
	return ly->page_count;
}

const struct pl_header *pl_layer_header(const struct pl_layer *ly)
{
	return &ly->hdr;
}

const char *pl_layer_id(const struct pl_layer *ly)
{
	return ly->id;
}

struct pl_store *pl_layer_store(const struct pl_layer *ly)
{
	return ly->st;
}

bool pl_layer_writable(const struct pl_layer *ly)
{
	return ly->writable;
}

uint64_t pl_layer_clusters(const struct pl_layer *ly)
{
	return ly->alloc.n_used;
}

const struct pl_layer_trouble *pl_layer_trouble(const struct pl_layer *ly)
{
	return ly->trouble.what ? &ly->trouble : NULL;
}

uint64_t pl_layer_next_flush(const struct pl_layer *ly)
{
	return ly->flush_started + 1;
}

bool pl_layer_flushed(const struct pl_layer *ly, uint64_t number)
{
	return ly->flush_done >= number;
}
