/* SPDX-License-Identifier: Apache-2.0 */
/* An image in real files with a layer that no snapshot shows: hidden_test.c. */
#ifndef PL_TEST_TRUNK_H
#define PL_TEST_TRUNK_H

#include <errno.h>
#include <string.h>

#include "image/image.h"
#include "scratch.h"
#include "store/store.h"
#include "tap.h"

#define BLOCK 4096u
#define SUMS true

static struct pl_dir *dir;
static struct pl_image *img;
static struct pl_chain *ch;
static struct pl_err err;
static char trunk[PL_ID_LEN + 1], id[PL_ID_LEN + 1];
static char buf[64 * BLOCK] __attribute__((aligned(4096)));

static inline bool done(int rc)
{
	if (rc < 0)
		printf("# %s\n", err.msg);
	return rc == 0;
}

static inline bool open_image(void)
{
	return done(pl_image_open(&img, dir, PL_IMAGE_WRITE, "test", &err)) &&
	       done(pl_image_open_chain(img, NULL, false, NULL, &ch, &err));
}

static inline void close_image(void)
{
	if (ch)
		ok(done(pl_chain_close(ch, &err)));
	ch = NULL;
	pl_image_close(img);
	img = NULL;
}

static inline bool note(void *arg, const struct pl_finding *f)
{
	printf("# finding: %s\n", f->text);
	return arg == NULL;
}

static inline void finish(void)
{
	struct pl_check_result res;

	close_image();
	ok(done(pl_image_check_deep(dir, PL_CHECK_DATA, note, NULL, &res,
				    &err)));
	is_int(res.findings, 0);
	pl_dir_close(dir);
}

static inline bool fill(uint64_t block, uint64_t n, int value)
{
	memset(buf, value, n * BLOCK);
	return pl_chain_write(ch, buf, n * BLOCK, block * BLOCK) == 0;
}

static inline bool shows(struct pl_chain *c, uint64_t block, uint64_t n,
			 char value)
{
	if (pl_chain_read(c, buf, n * BLOCK, block * BLOCK) < 0)
		return false;
	for (uint64_t i = 0; i < n * BLOCK; i++)
		if (buf[i] != value)
			return false;
	return true;
}

static inline bool snapshot_shows(const char *key, uint64_t block, uint64_t n,
				  char value)
{
	struct pl_chain *c;
	bool fine;

	if (!done(pl_image_open_chain(img, key, true, NULL, &c, &err)))
		return false;
	fine = shows(c, block, n, value);
	pl_chain_abandon(c);
	return fine;
}

/*
 * The trunk has blocks 0-31 'a'. On it a branch with the snapshot "branch" that
 * has 0-15 'b', and the top, which has nothing yet. The trunk's own snapshot is
 * deleted at the end: two need its layer.
 */
static inline bool begin(const char *name, bool sums)
{
	struct pl_image_params params = { .size = 64 << 20, .checksums = sums };

	if (!done(pl_dir_open(&dir, scratch_file(name), PL_OPEN_CREATE, NULL,
			      &err)) ||
	    !done(pl_image_create(dir, &params, &err)) || !open_image() ||
	    !fill(0, 32, 'a') ||
	    !done(pl_image_snapshot(img, ch, "trunk", NULL, NULL, id, &err)))
		return false;
	memcpy(trunk, pl_image_desc(img)->snapshots[0].layer, sizeof(trunk));
	if (!fill(0, 16, 'b') ||
	    !done(pl_image_snapshot(img, ch, "branch", NULL, NULL, id, &err)))
		return false;
	close_image();
	if (!done(pl_image_open(&img, dir, PL_IMAGE_WRITE, "test", &err)) ||
	    !done(pl_image_switch(img, "trunk", &err)) ||
	    !done(pl_image_delete(img, "trunk", NULL, NULL, &err)))
		return false;
	pl_image_close(img);
	return open_image();
}

static inline int64_t trunk_blocks(void)
{
	struct pl_layer_usage usage;

	if (!done(pl_image_layer_usage(img, NULL, trunk, &usage, &err)))
		return -1;
	return (int64_t)(usage.host_bytes / BLOCK);
}

/* Blocks that went back. */
static inline int64_t reclaim(struct pl_reclaim_result *ret)
{
	int64_t before = trunk_blocks();

	ok(done(pl_image_reclaim_hidden(img, ch, ret, NULL, &err)));
	return before - trunk_blocks();
}

#endif
