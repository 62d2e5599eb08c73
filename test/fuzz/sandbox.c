/* SPDX-License-Identifier: Apache-2.0 */
/* The samples, and a directory in memory whose host can be full: sandbox.h. */
#include "sandbox.h"

#include <errno.h>

#include "chain/chain.h"
#include "image/image.h"
#include "store/memfile.h"

#define MIB (1ull << 20)
#define DISK (66 * MIB + 3 * 4096) /* two map pages, a partial cluster */

/* ---- a host that is full ---- */

static struct pl_dir_ops dir_ops;
static struct pl_store_ops store_ops;
static const struct pl_dir_ops *under_dir;
static const struct pl_store_ops *under_store;

static void bounded_submit(struct pl_store *st, struct pl_io *io)
{
	if (io->op == PL_IO_WRITE && (io->off > SANDBOX_FILE_MAX ||
				      io->off + io->len > SANDBOX_FILE_MAX)) {
		io->res = -ENOSPC;
		io->done = true;
		io->fn(io);
		return;
	}
	under_store->submit(st, io);
}

static int bounded_truncate(struct pl_store *st, uint64_t size)
{
	return size > SANDBOX_FILE_MAX ? -ENOSPC :
					 under_store->truncate(st, size);
}

static int bounded_open(struct pl_dir *dir, const char *name, unsigned flags,
			struct pl_store **ret, struct pl_err *err)
{
	int rc = under_dir->open(dir, name, flags, ret, err);

	if (rc < 0)
		return rc;
	if (!under_store) {
		under_store = (*ret)->ops;
		store_ops = *under_store;
		store_ops.submit = bounded_submit;
		store_ops.truncate = bounded_truncate;
	}
	(*ret)->ops = &store_ops;
	return 0;
}

static struct pl_dir *new_directory(void)
{
	struct pl_dir *dir;

	fuzz_require(pl_dir_memory(&dir, 0) == 0);
	if (!under_dir) {
		under_dir = dir->ops;
		dir_ops = *under_dir;
		dir_ops.open = bounded_open;
	}
	dir->ops = &dir_ops;
	return dir;
}

/* ---- samples ---- */

static struct sandbox samples[SAMPLES];
static char block[MIB] __attribute__((aligned(4096)));

static void put(struct pl_chain *ch, uint64_t off, uint64_t len, int value)
{
	uint64_t size = pl_chain_size(ch);

	memset(block, value, len);
	if (off + len <= size)
		fuzz_require(pl_chain_write(ch, block, len, off) == 0);
}

/* Data, zeros and holes, around what the exercise looks at. */
static void fill(struct pl_chain *ch, int value)
{
	uint64_t bs = pl_chain_block_size(ch);

	put(ch, (unsigned)value % 3 * bs, 9 * bs, value);
	put(ch, 70 * bs, 2 * bs + 512, value + 1);
	put(ch, 64 * MIB - 2 * bs, 4 * bs, value + 2);
	put(ch, 66 * MIB, 3 * 4096, value + 3);
	fuzz_require(pl_chain_zero(ch, 2 * bs, 4 * bs) == 0);
	fuzz_require(pl_chain_flush(ch) == 0);
}

static struct pl_chain *chain_of(struct pl_dir *dir, struct pl_image **ret)
{
	struct pl_chain *ch;
	struct pl_err err;

	fuzz_require_say(pl_image_open(ret, dir, PL_IMAGE_WRITE, "fuzz",
				       &err) == 0,
			 err.msg);
	fuzz_require_say(pl_image_open_chain(*ret, NULL, false, NULL, &ch,
					     &err) == 0,
			 err.msg);
	return ch;
}

/* Two sessions' worth of changes; `crashed` leaves them in the journal. */
static void fill_top(struct pl_dir *dir, int value, bool crashed)
{
	struct pl_image *img;
	struct pl_chain *ch = chain_of(dir, &img);
	struct pl_err err;

	fill(ch, value);
	fuzz_require(pl_layer_checkpoint(pl_chain_top(ch)) == 0);
	fill(ch, value + 10);
	if (crashed)
		pl_chain_abandon(ch);
	else
		fuzz_require(pl_chain_close(ch, &err) == 0);
	pl_image_close(img);
}

static void snapshot(struct pl_dir *dir)
{
	char id[PL_ID_LEN + 1];
	struct pl_image *img;
	struct pl_err err;

	fuzz_require(pl_image_open(&img, dir, PL_IMAGE_WRITE, "fuzz", &err) ==
		     0);
	fuzz_require(pl_image_snapshot(img, NULL, NULL, "", NULL, id, &err) ==
		     0);
	pl_image_close(img);
}

/* The names of the layers' files, from the base up. */
static void name_files(struct sandbox *s)
{
	const struct pl_image_desc *d;
	struct pl_image *img;
	struct pl_err err;

	fuzz_require(pl_image_open(&img, s->dir, 0, "fuzz", &err) == 0);
	d = pl_image_desc(img);
	s->n = d->n_layers;
	fuzz_require(s->n <= SANDBOX_LAYERS);
	for (unsigned i = 0; i < s->n; i++)
		snprintf(s->file[i], sizeof(s->file[i]), "layers/%s.plp",
			 d->layers[i].id);
	pl_image_close(img);
}

static void build(enum sandbox_sample sample, struct sandbox *s)
{
	bool large = sample == SAMPLE_LARGE_BLOCKS;
	bool chain = sample == SAMPLE_CHAIN || sample == SAMPLE_CHAIN_CRASHED;
	bool crashed = sample == SAMPLE_CRASHED ||
		       sample == SAMPLE_CHAIN_CRASHED;
	struct pl_image_params p = { .size = DISK,
				     .block_size = large ? 65536 : 4096,
				     .label = "fuzz" };
	struct pl_err err;

	s->dir = new_directory();
	fuzz_require_say(pl_image_create(s->dir, &p, &err) == 0, err.msg);
	for (int i = 0; chain && i < 2; i++) {
		fill_top(s->dir, 30 * i + 1, false);
		snapshot(s->dir);
	}
	fill_top(s->dir, 100, crashed);
	name_files(s);
}

void sandbox_copy(struct sandbox *to, const struct sandbox *from)
{
	*to = *from;
	to->dir = new_directory();
	for (struct mem_file *f = memdir_first(from->dir); f; f = f->next) {
		struct mem_file *c = memfile_clone(f);

		fuzz_require(c);
		memdir_link(to->dir, c);
	}
}

void sandbox_open(struct sandbox *s, enum sandbox_sample sample)
{
	if (!samples[sample].dir)
		build(sample, &samples[sample]);
	sandbox_copy(s, &samples[sample]);
}

void sandbox_close(struct sandbox *s)
{
	pl_dir_close(s->dir);
}

struct pl_store *sandbox_file(struct sandbox *s, unsigned i)
{
	struct pl_store *st;
	struct pl_err err;

	fuzz_require(s->dir->ops->open(s->dir, s->file[i], PL_OPEN_WRITE, &st,
				       &err) == 0);
	return st;
}

static bool file_equal(const struct mem_file *a, const struct mem_file *b)
{
	if (!b || a->size != b->size || a->n_pages != b->n_pages)
		return false;
	for (uint64_t i = 0; i < a->n_pages; i++)
		if (a->pages[i] != b->pages[i])
			return false; /* copies share what nobody wrote */
	return true;
}

bool sandbox_equal(struct sandbox *a, struct sandbox *b)
{
	for (struct mem_file *f = memdir_first(a->dir); f; f = f->next)
		if (!file_equal(f, memdir_find(b->dir, f->name)))
			return false;
	return true;
}
