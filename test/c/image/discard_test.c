/* SPDX-License-Identifier: Apache-2.0 */
/* What discards give back by policy; that they read as zeros with each. */
#include <errno.h>
#include <string.h>

#include "image/image.h"
#include "scratch.h"
#include "store/store.h"
#include "tap.h"

#define CLUSTER (64u * 4096)

static struct pl_dir *dir;
static struct pl_image *img;
static struct pl_chain *ch;
static struct pl_err err;
static char buf[4 * CLUSTER] __attribute__((aligned(4096)));

static bool done(int rc)
{
	if (rc < 0)
		printf("# %s\n", err.msg);
	return rc == 0;
}

static bool open_image(void)
{
	return done(pl_image_open(&img, dir, PL_IMAGE_WRITE, "test", &err)) &&
	       done(pl_image_open_chain(img, NULL, false, NULL, &ch, &err));
}

/* Four clusters of data in a real file, and this policy. */
static bool begin(const char *name, enum pl_discard discard)
{
	struct pl_image_params params = { .size = 64 << 20 };

	if (!done(pl_dir_open(&dir, scratch_file(name), PL_OPEN_CREATE, NULL,
			      &err)) ||
	    !done(pl_image_create(dir, &params, &err)) || !open_image())
		return false;
	memset(buf, 'a', sizeof(buf));
	return pl_chain_write(ch, buf, sizeof(buf), 0) == 0 &&
	       done(pl_image_set_discard(img, ch, discard, &err));
}

static void close_image(void)
{
	ok(done(pl_chain_close(ch, &err)));
	pl_image_close(img);
}

static void finish(void)
{
	close_image();
	pl_dir_close(dir);
}

static int64_t host_bytes(void)
{
	uint64_t n = 0;

	is_int(pl_chain_flush(ch), 0);
	is_int(pl_store_usage(pl_layer_store(pl_chain_top(ch)), &n), 0);
	return (int64_t)n;
}

/* The host may need a block or two to note what is unwritten now. */
static void gave(int64_t before, int64_t bytes)
{
	int64_t off = before - host_bytes() - bytes;

	ok(off >= -8192 && off <= 8192);
}

static bool reads(uint64_t off, uint64_t len, char value)
{
	if (pl_chain_read(ch, buf, len, off) < 0)
		return false;
	for (uint64_t i = 0; i < len; i++)
		if (buf[i] != value)
			return false;
	return true;
}

pl_test("by block: every discarded block comes back")
{
	int64_t before;

	require(begin("block", PL_DISCARD_BLOCK));
	before = host_bytes();
	is_int(pl_chain_discard(ch, 8 * 4096, 4 * 4096), 0);
	gave(before, 8 * 4096);
	ok(reads(4 * 4096, 8 * 4096, 0) && reads(12 * 4096, 4096, 'a'));
	finish();
}

pl_test("by cluster: blocks are zeroed in place until none has data")
{
	int64_t before;

	require(begin("cluster", PL_DISCARD_CLUSTER));
	before = host_bytes();
	is_int(pl_chain_discard(ch, CLUSTER - 4096, 4096), 0);
	gave(before, 0);
	ok(reads(0, 4096, 'a') && reads(4096, CLUSTER - 4096, 0) &&
	   reads(CLUSTER, CLUSTER, 'a'));
	is_int(pl_chain_discard(ch, 4096, 0), 0);
	gave(before, CLUSTER);
	ok(reads(0, CLUSTER, 0) && reads(CLUSTER, CLUSTER, 'a'));
	finish();
}

pl_test("off: nothing comes back, and all of it can be written again")
{
	int64_t before;

	require(begin("off", PL_DISCARD_OFF));
	before = host_bytes();
	is_int(pl_chain_discard(ch, 2 * CLUSTER + 4096, 0), 0);
	gave(before, 0);
	ok(reads(0, 2 * CLUSTER + 4096, 0) &&
	   reads(2 * CLUSTER + 4096, 4096, 'a'));
	memset(buf, 'b', 4096);
	is_int(pl_chain_write(ch, buf, 4096, 8192), 0);
	gave(before, 0);
	ok(reads(8192, 4096, 'b') && reads(12288, 4096, 0));
	finish();
}

pl_test("what one policy kept goes back when another one compacts")
{
	struct pl_compact_result res;
	int64_t before;

	require(begin("changed", PL_DISCARD_CLUSTER));
	before = host_bytes();
	is_int(pl_chain_discard(ch, 32 * 4096, 0), 0);
	is_int(pl_image_set_discard(img, ch, PL_DISCARD_BLOCK, &err), 0);
	is_int(pl_image_compact(img, ch, &res, NULL, &err), 0);
	gave(before, 32 * 4096);
	ok(reads(0, 32 * 4096, 0) && reads(32 * 4096, CLUSTER, 'a'));
	finish();
}

pl_test("is kept in the descriptor, across snapshots and in clones, too")
{
	char id[PL_ID_LEN + 1];
	struct pl_dir *to;

	require(begin("kept", PL_DISCARD_CLUSTER));
	is_int(pl_image_snapshot(img, ch, "one", NULL, NULL, id, &err), 0);
	close_image();
	require(done(pl_dir_open(&to, scratch_file("clone"), PL_OPEN_CREATE,
				 NULL, &err)) &&
		done(pl_image_clone(dir, "one", to, NULL, false, &err)) &&
		done(pl_image_open(&img, to, 0, "test", &err)));
	is_int(pl_image_desc(img)->discard, PL_DISCARD_CLUSTER);
	pl_image_close(img);
	pl_dir_close(to);
	require(open_image());
	is_int(pl_image_desc(img)->discard, PL_DISCARD_CLUSTER);
	is_int(pl_image_set_discard(img, ch, PL_DISCARD_BLOCK, &err), 0);
	close_image();
	require(open_image());
	is_int(pl_image_desc(img)->discard, PL_DISCARD_BLOCK);
	finish();
}

pl_test("a policy that nobody knows is no valid descriptor (FMT-103)")
{
	static const char bad[] = "\"discard\": \"sometimes\"";
	char text[4096] = { 0 };
	char *at;
	FILE *f;

	require(begin("unknown", PL_DISCARD_OFF));
	finish();
	f = fopen(scratch_file("unknown/image.json"), "r+");
	require(f && fread(text, 1, sizeof(text) - 64, f) > 0);
	at = strstr(text, "\"discard\": \"off\"");
	require(at);
	memmove(at + sizeof(bad) - 1, at + 16, strlen(at + 16) + 1);
	memcpy(at, bad, sizeof(bad) - 1);
	rewind(f);
	require(fputs(text, f) >= 0 && fclose(f) == 0);
	require(done(
		pl_dir_open(&dir, scratch_file("unknown"), 0, NULL, &err)));
	is_int(pl_image_open(&img, dir, 0, "test", &err), -EUCLEAN);
	ok(strstr(err.msg, "discard") != NULL);
	pl_dir_close(dir);
}

int main(void)
{
	return pl_tap_main();
}
