/* SPDX-License-Identifier: Apache-2.0 */
/* What layers hold that no snapshot shows any more, and nobody sees. */
#include "trunk.h"

pl_test("what every branch has overwritten goes back (FMT-087)")
{
	struct pl_reclaim_result res;

	require(begin("overwritten", !SUMS) && fill(8, 16, 'c'));
	is_int(reclaim(&res), 8);
	is_int((int64_t)res.punched_bytes, 8 * BLOCK);
	is_int(res.layers, 1);
	ok(shows(ch, 0, 8, 'a') && shows(ch, 8, 16, 'c') &&
	   shows(ch, 24, 8, 'a'));
	ok(snapshot_shows("branch", 0, 16, 'b') &&
	   snapshot_shows("branch", 16, 16, 'a'));
	is_int(reclaim(&res), 0);
	is_int((int64_t)res.punched_bytes, 0);
	finish();
}

pl_test("what one branch has discarded and the other overwritten goes back")
{
	struct pl_reclaim_result res;

	require(begin("discarded", !SUMS));
	is_int(pl_chain_discard(ch, 32 * BLOCK, 0), 0);
	is_int(reclaim(&res), 16);
	ok(shows(ch, 0, 32, 0));
	ok(snapshot_shows("branch", 0, 16, 'b') &&
	   snapshot_shows("branch", 16, 16, 'a'));
	finish();
}

pl_test("what one branch alone sees stays")
{
	struct pl_reclaim_result res;

	require(begin("seen", !SUMS));
	is_int(reclaim(&res), 0);
	ok(shows(ch, 0, 32, 'a'));
	finish();
}

static struct pl_dir *other;

pl_test("a layer that a snapshot shows stays whole")
{
	struct pl_image_params params = { .size = 64 << 20 };
	struct pl_reclaim_result res;

	require(done(pl_dir_open(&dir, scratch_file("shown"), PL_OPEN_CREATE,
				 NULL, &err)) &&
		done(pl_image_create(dir, &params, &err)) && open_image() &&
		fill(0, 32, 'a') &&
		done(pl_image_snapshot(img, ch, "one", NULL, NULL, id, &err)) &&
		fill(0, 32, 'b'));
	ok(done(pl_image_reclaim_hidden(img, ch, &res, NULL, &err)));
	is_int(res.layers, 0);
	ok(snapshot_shows("one", 0, 32, 'a'));
	finish();
}

pl_test("what was punched reads as zeros for whoever comes later: nobody")
{
	struct pl_reclaim_result res;

	require(begin("later", !SUMS) && fill(0, 32, 'c'));
	is_int(reclaim(&res), 16);
	/* Discarded now, the top must go on hiding what is below. */
	is_int(pl_chain_discard(ch, 64 * BLOCK, 0), 0);
	ok(shows(ch, 0, 32, 0));
	close_image();
	require(open_image());
	ok(shows(ch, 0, 32, 0));
	ok(snapshot_shows("branch", 16, 16, 'a'));
	finish();
}

pl_test("block checksums stay, and hold (FMT-122)")
{
	struct pl_reclaim_result res;
	struct pl_check_result check;

	require(begin("sums", SUMS) && fill(8, 16, 'c'));
	/* The host may spend a block on a header's other copy. */
	ok(reclaim(&res) >= 7);
	is_int((int64_t)res.punched_bytes, 8 * BLOCK);
	close_image();
	ok(done(pl_image_check_deep(dir, PL_CHECK_DATA, note, NULL, &check,
				    &err)));
	is_int(check.layers_with_sums, 2);
	is_int((int64_t)check.verified, 32 + 16);
	require(open_image());
	finish();
}

pl_test("a layer that a clone shares stays as it is (FMT-086)")
{
	struct pl_reclaim_result res;

	require(begin("shared", !SUMS) && fill(8, 16, 'c'));
	require(done(pl_dir_open(&other, scratch_file("clone"), PL_OPEN_CREATE,
				 NULL, &err)) &&
		done(pl_image_clone(dir, "branch", other, NULL, false, &err)));
	is_int(reclaim(&res), 0);
	is_int(res.in_use, 1);
	pl_dir_close(other);
	finish();
}

pl_test("a layer that somebody reads stays as it is (FMT-086)")
{
	struct pl_reclaim_result res;
	struct pl_image *looking;
	struct pl_chain *c;

	require(begin("read", !SUMS) && fill(8, 16, 'c'));
	require(done(pl_image_open(&looking, dir, PL_IMAGE_NO_LOCK, "look",
				   &err)) &&
		done(pl_image_open_chain(looking, "branch", true, NULL, &c,
					 &err)));
	is_int(reclaim(&res), 0);
	is_int(res.in_use, 1);
	pl_chain_abandon(c);
	pl_image_close(looking);
	is_int(reclaim(&res), 8);
	finish();
}

int main(void)
{
	return pl_tap_main();
}
