/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes and counts that follow from a header, and the layout of new layers. */
#include "format/format.h"
#include "tap.h"

static const uint32_t sizes[] = { 4096, 8192, 16384, 32768, 65536 };

static struct pl_header of(uint32_t block_size, uint64_t virtual_size)
{
	struct pl_header h = { .uuid = { { 1 } },
			       .block_size = block_size,
			       .sector_size = 512,
			       .state = PL_LAYER_TOP,
			       .virtual_size = virtual_size };

	pl_header_layout(&h, 1u << 20);
	return h;
}

pl_test("a cluster has 64 blocks of any size (FMT-004)")
{
	for (unsigned i = 0; i < 5; i++) {
		struct pl_header h = of(sizes[i], 1 << 30);

		is_int(pl_cluster_size(&h), 64ull * sizes[i]);
	}
}

pl_test("the last cluster, map page and directory page may be partial")
{
	struct pl_header h = of(4096, 4096);

	is_int(pl_cluster_count(&h), 1);
	is_int(pl_page_count(&h), 1);
	is_int(pl_dir_page_count(&h), 1);
	h = of(4096, (256ull << 10) * 256 + 4096);
	is_int(pl_cluster_count(&h), 257);
	is_int(pl_page_count(&h), 2);
	h = of(4096, (64ull << 20) * 255);
	is_int(pl_dir_page_count(&h), 1);
	h = of(4096, (64ull << 20) * 255 + 4096);
	is_int(pl_dir_page_count(&h), 2);
}

pl_test("only blocks inside the virtual size can be owned (FMT-023)")
{
	struct pl_header h = of(8192, 8192 * 70);

	ok(pl_owned_limit(&h, 0) == UINT64_MAX);
	is_int(pl_owned_limit(&h, 1), 0x3f);
	is_int(pl_owned_limit(&h, 2), 0);
	is_int(pl_owned_limit(&h, UINT64_MAX / 64), 0);
	h = of(4096, 4096 * 64);
	ok(pl_owned_limit(&h, 0) == UINT64_MAX);
	is_int(pl_owned_limit(&h, 1), 0);
}

pl_test("lays out every legal size so that its own rules accept it (FMT-015)")
{
	char page[PL_PAGE];
	struct pl_header got;
	struct pl_err err;

	for (unsigned i = 0; i < 5; i++)
		for (uint64_t blocks = 1; blocks <= PL_MAX_BLOCKS;
		     blocks *= 4) {
			struct pl_header h = of(sizes[i], blocks * sizes[i]);

			pl_header_encode(&h, page);
			if (!ok(pl_header_decode(page, &got, &err) == 0))
				printf("# %u-byte blocks, %llu of them: %s\n",
				       sizes[i], (unsigned long long)blocks,
				       err.msg);
		}
}

pl_test("has room for 64 TiB at 4 KiB and 1 PiB at 64 KiB blocks")
{
	char page[PL_PAGE];
	struct pl_header h, got;
	struct pl_err err;

	h = of(4096, 64ull << 40);
	pl_header_encode(&h, page);
	is_int(pl_header_decode(page, &got, &err), 0);
	h = of(65536, 1ull << 50);
	pl_header_encode(&h, page);
	is_int(pl_header_decode(page, &got, &err), 0);
	h = of(65536, (1ull << 50) + 65536);
	pl_header_encode(&h, page);
	ok(pl_header_decode(page, &got, &err) < 0);
}

pl_test("knows the legal block sizes (FMT-014)")
{
	for (unsigned i = 0; i < 5; i++)
		ok(pl_block_size_valid(sizes[i]));
	ok(!pl_block_size_valid(0));
	ok(!pl_block_size_valid(512));
	ok(!pl_block_size_valid(2048));
	ok(!pl_block_size_valid(4097));
	ok(!pl_block_size_valid(1u << 17));
	ok(!pl_block_size_valid(1u << 31));
}

int main(void)
{
	return pl_tap_main();
}
