/* SPDX-License-Identifier: Apache-2.0 */
/* Sealing, and what may be done with a sealed layer. */
#include "entries.h"

static bool sealed(void)
{
	return stack_one(&s, 4096, GIB) && set(1, 5) && set(999, 6) &&
	       stack_says(&s, pl_layer_seal(s.ly[0], &s.err));
}

pl_test("a sealed layer is clean, checkpointed, its ring punched (FMT-078)")
{
	char ring[PL_PAGE];
	struct pl_header h;

	require(sealed());
	h = header();
	is_int(h.state, PL_LAYER_SEALED);
	is_int(h.flags, PL_HEADER_CLEAN);
	for (uint64_t off = 0; off < h.journal_len; off += PL_PAGE) {
		stack_peek(&s, 0, ring, PL_PAGE, h.journal_off + off);
		ok(ring[0] == 0 && memcmp(ring, ring + 1, PL_PAGE - 1) == 0);
	}
	is_int(owned(1), 5);
	ok(stack_close(&s, 0));
	require(stack_open(&s, 0, 0));
	is_int(owned(1), 5);
	is_int(owned(999), 6);
	stack_fini(&s);
}

pl_test("opening a sealed layer for writing is refused")
{
	require(sealed());
	ok(!pl_layer_writable(s.ly[0]));
	ok(stack_close(&s, 0));
	is_int(stack_try_open(&s, 0, PL_LAYER_WRITE, NULL), -EROFS);
	is_int(s.err.code, PL_E_READ_ONLY);
	stack_fini(&s);
}

pl_test("maintenance may change a sealed layer and seals it again (FMT-084)")
{
	require(sealed());
	ok(stack_close(&s, 0));
	require(stack_open(&s, 0, PL_LAYER_WRITE | PL_LAYER_MAINTAIN));
	ok(set(2, 9));
	is_int(pl_layer_flush(s.ly[0]), 0);
	is_int(header().flags & PL_HEADER_CLEAN, 0);
	is_int(header().state, PL_LAYER_SEALED);
	/* Killed in the middle: readers replay. */
	stack_abandon(&s, 0);
	require(stack_open(&s, 0, 0));
	is_int(owned(2), 9);
	stack_abandon(&s, 0);
	require(stack_open(&s, 0, PL_LAYER_WRITE | PL_LAYER_MAINTAIN));
	is_int(pl_layer_seal(s.ly[0], &s.err), 0);
	is_int(header().flags & PL_HEADER_CLEAN, PL_HEADER_CLEAN);
	is_int(owned(2), 9);
	stack_fini(&s);
}

pl_test("the file of a sealed layer ends with its last used cluster")
{
	struct pl_header h;
	uint64_t size;

	require(sealed());
	h = header();
	is_int(pl_store_size(pl_layer_store(s.ly[0]), &size), 0);
	/* Two clusters of data and one of map pages. */
	is_int(size, (h.first_cluster + 3) * pl_cluster_size(&h));
	stack_fini(&s);
}

pl_test("sealing may fail anywhere and is then done again (FMT-078)")
{
	bool fired = true;

	for (int64_t n = 1; fired && n < 60; n++) {
		require(stack_one(&s, 4096, GIB));
		ok(set(1, 5) && set(999, 6));
		is_int(pl_layer_flush(s.ly[0]), 0);
		s.spy[0].fail_in = n;
		fired = pl_layer_seal(s.ly[0], &s.err) < 0;
		stack_abandon(&s, 0);
		require(stack_open(&s, 0, 0));
		is_int(owned(1), 5);
		is_int(owned(999), 6);
		stack_abandon(&s, 0);
		require(stack_open(&s, 0, PL_LAYER_WRITE | PL_LAYER_MAINTAIN));
		is_int(pl_layer_seal(s.ly[0], &s.err), 0);
		is_int(owned(999), 6);
		stack_fini(&s);
	}
	ok(!fired);
}

pl_test("the parent it names can be changed, durably (FMT-084)")
{
	struct pl_uuid nil = { { 0 } }, other = { { 7 } };

	require(sealed());
	ok(stack_close(&s, 0));
	require(stack_open(&s, 0, PL_LAYER_WRITE | PL_LAYER_MAINTAIN));
	is_int(pl_layer_set_parent(s.ly[0], &other), 0);
	ok(pl_uuid_equal(&(struct pl_uuid){ { 7 } }, &other));
	stack_abandon(&s, 0);
	is_int(header().parent.b[0], 7);
	require(stack_open(&s, 0, PL_LAYER_WRITE | PL_LAYER_MAINTAIN));
	s.spy[0].fail_in = 1;
	ok(pl_layer_set_parent(s.ly[0], &nil) < 0);
	is_int(pl_layer_header(s.ly[0])->parent.b[0], 7);
	stack_fini(&s);
}

int main(void)
{
	return pl_tap_main();
}
