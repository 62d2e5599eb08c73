/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sample-images DIR: writes images of every kind that the format knows into
 * DIR, each with DIR/NAME.json, which says what its disks hold:
 *
 *   {"disks":[{"snapshot":null,"size":8388608,"runs":[[offset,length,byte]]}]}
 *
 * Everything outside of the runs is zeros. What a disk holds comes from a
 * model beside the image, not from reading it back. For tests of readers, and
 * for the golden images in test/golden.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chain/chain.h"
#include "image/image.h"
#include "store/store.h"
#include "tools/sample_disk.h"

#define MIB (1024ull * 1024)
#define GIB (1024ull * MIB)

struct sample {
	const char *name;
	char path[4096];
	struct pl_dir *dir;
	struct pl_image *img;
	struct pl_chain *ch;
	struct disk disk[8];
	unsigned n_disks; /* the last is the top */
	struct pl_err err;
	bool checksums; /* of blocks, in sealed layers */
	bool failed;
};

static bool fine(struct sample *s, int rc)
{
	if (rc >= 0)
		return true;
	if (!s->failed)
		fprintf(stderr, "sample-images: %s: %d: %s\n", s->name, rc,
			s->err.msg);
	s->failed = true;
	return false;
}

static struct disk *top(struct sample *s)
{
	return &s->disk[s->n_disks - 1];
}

/* ---- doing things to the image and the model ---- */

static void note(struct sample *s, uint64_t off, uint64_t len, uint8_t byte)
{
	fill(top(s), off, len, byte);
}

static void put(struct sample *s, uint64_t off, uint64_t len, uint8_t byte)
{
	char *buf = malloc(len);

	if (s->failed || !buf)
		return free(buf);
	memset(buf, byte, len);
	fine(s, pl_chain_write(s->ch, buf, len, off));
	note(s, off, len, byte);
	free(buf);
}

static void zero(struct sample *s, uint64_t off, uint64_t len)
{
	if (s->failed || !fine(s, pl_chain_zero(s->ch, len, off)))
		return;
	note(s, off, len, 0);
}

static void flush(struct sample *s)
{
	if (!s->failed)
		fine(s, pl_chain_flush(s->ch));
}

static void checkpoint(struct sample *s)
{
	if (!s->failed)
		fine(s, pl_layer_checkpoint(pl_chain_top(s->ch)));
}

static void snapshot(struct sample *s, const char *name, const char *holder)
{
	struct disk *old = top(s), *d = &s->disk[s->n_disks];
	char id[PL_ID_LEN + 1];

	if (s->failed || !fine(s, pl_image_snapshot(s->img, s->ch, name, NULL,
						    holder, id, &s->err)))
		return;
	snprintf(old->snapshot, sizeof(old->snapshot), "%s", name);
	d->size = old->size;
	reserve(d, old->n);
	memcpy(d->sector, old->sector, old->n);
	s->n_disks++;
}

static void grow(struct sample *s, uint64_t size)
{
	if (s->failed ||
	    !fine(s, pl_image_resize(s->img, s->ch, size, &s->err)))
		return;
	top(s)->size = size;
}

static bool open_image(struct sample *s)
{
	return fine(s, pl_image_open(&s->img, s->dir, PL_IMAGE_WRITE,
				     "sample-images", &s->err)) &&
	       fine(s, pl_image_open_chain(s->img, NULL, false, NULL, &s->ch,
					   &s->err));
}

static void close_image(struct sample *s)
{
	if (s->ch)
		fine(s, pl_chain_close(s->ch, &s->err));
	pl_image_close(s->img);
	s->ch = NULL;
	s->img = NULL;
}

/* As a power failure would: nothing is written any more. */
static void crash(struct sample *s)
{
	pl_chain_abandon(s->ch);
	pl_image_close(s->img);
	s->ch = NULL;
	s->img = NULL;
}

static bool create(struct sample *s, const char *dir, uint64_t size,
		   uint32_t block_size)
{
	struct pl_image_params p = { .size = size,
				     .block_size = block_size,
				     .checksums = s->checksums,
				     .label = s->name };

	snprintf(s->path, sizeof(s->path), "%s/%s", dir, s->name);
	s->n_disks = 1;
	top(s)->size = size;
	return fine(s, pl_dir_open(&s->dir, s->path, PL_OPEN_CREATE, NULL,
				   &s->err)) &&
	       fine(s, pl_image_create(s->dir, &p, &s->err)) && open_image(s);
}

/* ---- files as they are, for what no orderly program leaves ---- */

/* Of the top, while it is open: for open_layer() when it is not any more. */
static void name_top(struct sample *s, char name[80])
{
	snprintf(name, 80, "layers/%s.plp", pl_layer_id(pl_chain_top(s->ch)));
}

static struct pl_store *open_layer(struct sample *s, const char *name)
{
	struct pl_store *st = NULL;

	fine(s, s->dir->ops->open(s->dir, name, PL_OPEN_WRITE, &st, &s->err));
	return st;
}

struct page {
	uint64_t off;
	char before[PL_PAGE], after[PL_PAGE];
};

static void mix(struct page *p, unsigned first_new)
{
	for (unsigned i = first_new * SECTOR; i < PL_PAGE; i += 2 * SECTOR)
		memcpy(p->before + i, p->after + i, SECTOR);
}

/*
 * A checkpoint that a power failure cut short: its records and pages are
 * there, its header is not, and of each page only every other sector.
 */
static void torn_checkpoint(struct sample *s)
{
	struct pl_layer *ly = pl_chain_top(s->ch);
	struct pl_store *st = pl_layer_store(ly);
	struct page dir = { .off = pl_layer_header(ly)->dir_off };
	struct page map = { .off = pl_layer_page_location(ly, 0) };
	char headers[2 * PL_PAGE], name[80];

	if (s->failed)
		return;
	name_top(s, name);
	fine(s, pl_store_read(st, headers, sizeof(headers), 0, PL_IO_META));
	fine(s, pl_store_read(st, dir.before, PL_PAGE, dir.off, PL_IO_META));
	fine(s, pl_store_read(st, map.before, PL_PAGE, map.off, PL_IO_META));
	checkpoint(s);
	fine(s, pl_store_read(st, dir.after, PL_PAGE, dir.off, PL_IO_META));
	fine(s, pl_store_read(st, map.after, PL_PAGE, map.off, PL_IO_META));
	mix(&dir, 0);
	mix(&map, 1);
	crash(s);
	st = open_layer(s, name);
	fine(s, pl_store_write(st, headers, sizeof(headers), 0, PL_IO_META));
	fine(s, pl_store_write(st, dir.before, PL_PAGE, dir.off, PL_IO_META));
	fine(s, pl_store_write(st, map.before, PL_PAGE, map.off, PL_IO_META));
	pl_store_close(st);
}

/* ---- the samples ---- */

/* Whole and partial blocks, zeros, neighbours, the disk's end. */
static void scribble(struct sample *s, uint64_t bs)
{
	put(s, 0, 3 * bs, 'a');
	put(s, 5 * bs + 512, 1024, 'b');
	put(s, 63 * bs, 2 * bs, 'c');
	put(s, 130 * bs, bs, 'd');
	zero(s, bs, bs);
	zero(s, 130 * bs + 1024, 512);
	put(s, top(s)->size - 512, 512, 'e');
}

static void make_clean(struct sample *s, const char *dir, uint32_t bs)
{
	if (!create(s, dir, 200ull * bs + bs, bs))
		return;
	scribble(s, bs);
	close_image(s);
}

static void clean_4k(struct sample *s, const char *dir)
{
	make_clean(s, dir, 4096);
}

static void clean_16k(struct sample *s, const char *dir)
{
	make_clean(s, dir, 16384);
}

static void clean_64k(struct sample *s, const char *dir)
{
	make_clean(s, dir, 65536);
}

static void unclean(struct sample *s, const char *dir)
{
	if (!create(s, dir, 8 * MIB, 8192))
		return;
	scribble(s, 8192);
	flush(s);
	put(s, 4 * MIB, 8192, 'u');
	zero(s, 0, 8192);
	flush(s);
	crash(s);
}

static void torn(struct sample *s, const char *dir)
{
	if (!create(s, dir, 64 * MIB, 4096))
		return;
	for (uint64_t i = 0; i < 256; i += 2)
		put(s, i * 256 * 1024, 512, (uint8_t)(1 + i % 200));
	checkpoint(s);
	for (uint64_t i = 0; i < 256; i += 3)
		put(s, i * 256 * 1024 + 8192, 512, (uint8_t)(2 + i % 200));
	flush(s);
	torn_checkpoint(s);
}

/* A journal at its ring's end, as after many rounds. */
static void set_lsn(struct sample *s)
{
	char pages[2 * PL_PAGE], name[80];
	struct pl_header hdr;
	struct pl_store *st;
	unsigned slot;

	name_top(s, name);
	close_image(s);
	st = open_layer(s, name);
	if (s->failed)
		return;
	fine(s, pl_store_read(st, pages, sizeof(pages), 0, PL_IO_META));
	fine(s, pl_header_choose(pages, pages + PL_PAGE, &hdr, &slot, &s->err));
	hdr.checkpoint_lsn = 7 * hdr.journal_len - 64;
	pl_header_encode(&hdr, pages);
	pl_header_encode(&hdr, pages + PL_PAGE);
	fine(s, pl_store_write(st, pages, sizeof(pages), 0, PL_IO_META));
	pl_store_close(st);
}

/* Records go on at the ring's beginning, one of them over its end. */
static void wrapped(struct sample *s, const char *dir)
{
	if (!create(s, dir, 64 * MIB, 4096))
		return;
	put(s, 0, 4096, 'a');
	set_lsn(s);
	if (s->failed || !open_image(s))
		return;
	for (uint64_t i = 1; i < 30; i++) {
		put(s, i * 2 * MIB, 4096, (uint8_t)('a' + i));
		put(s, i * 2 * MIB + 256 * 1024, 512, (uint8_t)('A' + i));
		flush(s);
	}
	crash(s);
}

static void snapshots(struct sample *s, const char *dir)
{
	if (!create(s, dir, 4 * MIB, 4096))
		return;
	put(s, 0, 600 * 1024, 'a');
	snapshot(s, "one", NULL);
	put(s, 100 * 4096, 40 * 4096, 'b');
	zero(s, 20 * 4096, 30 * 4096);
	put(s, 7 * 4096 + 512, 512, 'b');
	snapshot(s, "two", NULL);
	grow(s, 6 * MIB);
	put(s, 5 * MIB, 8192, 'c');
	zero(s, 110 * 4096, 4096);
	put(s, 25 * 4096, 4096, 'c');
	flush(s);
	snapshot(s, "three", NULL);
	put(s, 0, 512, 'd');
	flush(s);
	crash(s);
}

static void checksums(struct sample *s, const char *dir)
{
	unsigned added = 0;

	s->checksums = true;
	if (!create(s, dir, 8 * MIB, 4096))
		return;
	scribble(s, 4096);
	for (uint64_t i = 0; i < 40; i++)
		put(s, 3 * MIB + i * 8192, 4096, (uint8_t)(i + 1));
	snapshot(s, "summed", NULL);
	put(s, 4096, 4096, 'z');
	close_image(s);
	if (!s->failed && fine(s, pl_image_open(&s->img, s->dir, PL_IMAGE_WRITE,
						s->name, &s->err)))
		fine(s, pl_image_add_checksums(s->img, NULL, NULL, NULL, &added,
					       &s->err));
	close_image(s);
	if (!s->failed && added != 1)
		fine(s, -EINVAL);
}

/* The first snapshot is what the disk goes back to, and is deleted then. */
static void back_to_first(struct sample *s)
{
	struct disk *first = &s->disk[0];

	close_image(s);
	if (s->failed || !fine(s, pl_image_open(&s->img, s->dir, PL_IMAGE_WRITE,
						s->name, &s->err)))
		return;
	if (fine(s, pl_image_switch(s->img, first->snapshot, &s->err)))
		fine(s, pl_image_delete(s->img, first->snapshot, NULL, NULL,
					&s->err));
	close_image(s);
	if (s->failed)
		return;
	free(top(s)->sector);
	*top(s) = *first;
	top(s)->snapshot[0] = '\0';
	s->n_disks--;
	memmove(first, first + 1, s->n_disks * sizeof(*first));
	open_image(s);
}

/*
 * Discards that keep their space, and a layer that no snapshot shows, with
 * holes where its two branches have something else (FMT-087).
 */
static void branches(struct sample *s, const char *dir)
{
	struct pl_reclaim_result res = { 0 };

	if (!create(s, dir, 4 * MIB, 4096) ||
	    !fine(s, pl_image_set_discard(s->img, s->ch, PL_DISCARD_CLUSTER,
					  &s->err)))
		return;
	put(s, 0, 600 * 1024, 'a');
	zero(s, 130 * 4096, 8 * 4096);
	snapshot(s, "trunk", NULL);
	put(s, 0, 50 * 4096, 'b');
	snapshot(s, "branch", NULL);
	back_to_first(s);
	put(s, 20 * 4096, 60 * 4096, 'c');
	zero(s, 3 * 4096, 2 * 4096);
	if (!s->failed)
		fine(s, pl_image_reclaim_hidden(s->img, s->ch, &res, NULL,
						&s->err));
	if (!s->failed && !res.punched_bytes)
		fine(s, -EINVAL);
	close_image(s);
}

/* Held by a process, and by what only others know. */
static void temporary(struct sample *s, const char *dir)
{
	if (!create(s, dir, 4 * MIB, 4096))
		return;
	put(s, 0, 300 * 1024, 'a');
	snapshot(s, "process", "linux:1234:56789:a boot:4026531836");
	zero(s, 4096, 8192);
	snapshot(s, "other", "another kind of holder");
	close_image(s);
}

/* A directory that has moved to host clusters, far-away map pages. */
static void large(struct sample *s, const char *dir)
{
	if (!create(s, dir, 512 * GIB, 4096))
		return;
	put(s, 0, 4096, 'a');
	grow(s, 1536 * GIB);
	put(s, 5 * MIB, 4096, 'b');
	grow(s, 4096 * GIB);
	put(s, 8 * MIB, 4096, 'c');
	/* Beyond what the model covers: every byte of it zeros again. */
	if (!s->failed) {
		fine(s,
		     pl_chain_write(s->ch, (char[512]){ 1 }, 512, 4000 * GIB));
		fine(s, pl_chain_zero(s->ch, 4096, 4000 * GIB));
	}
	close_image(s);
}

/* ---- what the disks hold, as JSON ---- */

static void describe(struct sample *s)
{
	json_t *disks = json_array(), *root;
	char path[5000];

	for (unsigned i = 0; i < s->n_disks; i++) {
		struct disk *d = &s->disk[i];

		json_array_append_new(
			disks,
			json_pack("{s:o,s:I,s:o}", "snapshot",
				  d->snapshot[0] ? json_string(d->snapshot) :
						   json_null(),
				  "size", (json_int_t)d->size, "runs",
				  runs_of(d)));
		free(d->sector);
	}
	root = json_pack("{s:o}", "disks", disks);
	snprintf(path, sizeof(path), "%s.json", s->path);
	if (json_dump_file(root, path, JSON_COMPACT) < 0)
		fine(s, -EIO);
	json_decref(root);
}

static const struct {
	const char *name;
	void (*make)(struct sample *s, const char *dir);
} samples[] = {
	{ "clean-4k", clean_4k },   { "clean-16k", clean_16k },
	{ "clean-64k", clean_64k }, { "unclean", unclean },
	{ "torn", torn },	    { "wrapped", wrapped },
	{ "snapshots", snapshots }, { "checksums", checksums },
	{ "branches", branches },   { "large", large },
	{ "temporary", temporary },
};

int main(int argc, char **argv)
{
	bool failed = false;

	if (argc != 2) {
		fprintf(stderr, "usage: sample-images DIR\n");
		return 2;
	}
	for (unsigned i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
		struct sample s = { .name = samples[i].name };

		samples[i].make(&s, argv[1]);
		if (s.img)
			crash(&s);
		describe(&s);
		pl_dir_close(s.dir);
		failed |= s.failed;
	}
	return failed ? 1 : 0;
}
