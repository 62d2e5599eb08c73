/* SPDX-License-Identifier: Apache-2.0 */
/* A thousand layers: they work, and a read costs what it costs with two. */
#include "disk.h"

#define DEEP PL_CHAIN_MAX
#define SIZE (32 * MIB)

static struct pl_dir *dir;
static struct pl_layer *ly[DEEP + 1];
static struct spy spies[DEEP + 1];
static struct pl_err err;

static struct pl_uuid id(unsigned i)
{
	return (struct pl_uuid){ { 1, (uint8_t)(i >> 8), (uint8_t)i } };
}

/* Layer i owns block 7 * i, with i's low byte all over, and is sealed. */
static bool make_layer(unsigned i)
{
	struct pl_layer_params p = { .uuid = id(i),
				     .virtual_size = SIZE,
				     .block_size = 4096 };
	uint64_t block = 7 * i, where;
	struct pl_store *st;
	char name[16];

	if (i)
		p.parent = id(i - 1);
	snprintf(name, sizeof(name), "l%u", i);
	if (dir->ops->open(dir, name, PL_OPEN_WRITE | PL_OPEN_CREATE, &st,
			   &err) < 0 ||
	    pl_layer_create(st, &p, &err) < 0 ||
	    pl_layer_open(&ly[i], spy_around(&spies[i], st), PL_LAYER_WRITE,
			  NULL, &err) < 0)
		return false;
	memset(disk_buf, (int)(i & 0xff), 4096);
	return pl_layer_map(ly[i], block / 64, &where) == 0 &&
	       pl_store_write(pl_layer_store(ly[i]), disk_buf, 4096,
			      where * 64 * 4096 + block % 64 * 4096, 0) == 0 &&
	       pl_layer_own(ly[i], block / 64, 1ull << block % 64, false) == 0;
}

static struct pl_chain *make(unsigned depth)
{
	struct pl_chain *ch = NULL;

	memset(spies, 0, sizeof(spies));
	if (pl_dir_memory(&dir, 0) < 0)
		return NULL;
	for (unsigned i = 0; i < depth; i++)
		if (!make_layer(i) ||
		    (i + 1 < depth && pl_layer_seal(ly[i], &err) < 0))
			return NULL;
	pl_chain_new(&ch, ly, depth, &err);
	return ch;
}

static struct spy_counts reads(unsigned depth)
{
	struct spy_counts sum = { 0 };

	for (unsigned i = 0; i < depth; i++) {
		sum.data_reads += spies[i].n.data_reads;
		sum.meta_reads += spies[i].n.meta_reads;
		memset(&spies[i].n, 0, sizeof(spies[i].n));
	}
	return sum;
}

pl_test("a chain of 1000 layers reads and writes right (FMT-063)")
{
	struct pl_chain *ch = make(DEEP);

	require(ch);
	for (unsigned i = 0; i < DEEP; i++)
		ok(holds(ch, 7 * i, 1, (int)(i & 0xff)));
	is_int(put(ch, 7, 1, 0x7e), 0);
	ok(holds(ch, 7, 1, 0x7e));
	ok(holds(ch, 0, 1, 0));
	ok(holds(ch, 8, 6, 0));
	pl_chain_abandon(ch);
	pl_dir_close(dir);
}

static void costs(unsigned depth, struct spy_counts *first,
		  struct spy_counts *later)
{
	struct pl_chain *ch = make(depth);

	require(ch);
	reads(depth);
	ok(holds(ch, 0, 1, 0));
	*first = reads(depth);
	for (unsigned i = 0; i < 50; i++) {
		ok(holds(ch, 0, 1, 0));
		ok(holds(ch, 8000, 8, 0));
	}
	*later = reads(depth);
	pl_chain_abandon(ch);
	pl_dir_close(dir);
}

pl_test("after the first touch a read costs one read, at any depth")
{
	struct spy_counts first, shallow, deep;

	costs(2, &first, &shallow);
	costs(DEEP, &first, &deep);
	is_int(shallow.meta_reads, 0);
	is_int(deep.meta_reads, 0);
	is_int(deep.data_reads, shallow.data_reads);
	is_int(first.data_reads, 1);
}

pl_test("the first touch reads each layer's map page once")
{
	struct spy_counts first, later;

	costs(100, &first, &later);
	ok(first.meta_reads <= 100);
}

pl_test("one layer more is refused, with the limit (FMT-063)")
{
	struct pl_chain *ch = NULL;

	ok(pl_chain_new(&ch, ly, DEEP + 1, &err) < 0);
	is_int(err.code, PL_E_UNSUPPORTED);
	ok(strstr(err.msg, "1000") != NULL);
	ok(pl_chain_new(&ch, ly, 0, &err) < 0);
	ch = make(DEEP);
	require(ch && make_layer(DEEP));
	ok(pl_chain_push(ch, ly[DEEP], &err) < 0);
	is_int(err.code, PL_E_UNSUPPORTED);
	is_int(pl_chain_depth(ch), DEEP);
	pl_layer_abandon(ly[DEEP]);
	pl_chain_abandon(ch);
	pl_dir_close(dir);
}

int main(void)
{
	return pl_tap_main();
}
