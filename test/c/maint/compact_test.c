/* SPDX-License-Identifier: Apache-2.0 */
/* Compacting the top: space comes back, data stays. */
#include "spread.h"

static uint64_t length(void)
{
	uint64_t size = 0;

	is_int(pl_store_size(pl_layer_store(pl_chain_top(ch)), &size), 0);
	return size;
}

pl_test("moves the tail into the free clusters and shortens the file")
{
	const struct pl_header *h;
	uint64_t before;

	require(spread(200, 1) && discard(200, 1, 10));
	before = length();
	is_int(pl_compact(ch, NULL, &stats), 0);
	ok(stats.moved > 0);
	h = pl_layer_header(pl_chain_top(ch));
	/* 20 clusters of data, one of map pages: nothing else is left. */
	is_int(length(), (h->first_cluster + 21) * pl_cluster_size(h));
	is_int(stats.length, length());
	ok(length() < before);
	ok(shows(200, 1, 10));
	ch = disk_reopen(&s, ch, false);
	require(ch && shows(200, 1, 10));
	finish();
}

pl_test("moves map pages, too")
{
	const struct pl_header *h;
	uint64_t cs;

	/* Each cluster in a map page of its own: 80 of them, two clusters. */
	require(spread(80, 1024));
	require(discard(80, 1024, 40));
	is_int(pl_compact(ch, NULL, &stats), 0);
	h = pl_layer_header(pl_chain_top(ch));
	cs = pl_cluster_size(h);
	ok(length() <= (h->first_cluster + 2 + 2) * cs);
	for (uint64_t p = 0; p < pl_layer_page_count(pl_chain_top(ch)); p++)
		ok(pl_layer_page_location(pl_chain_top(ch), p) < length());
	ok(shows(80, 1024, 40));
	ch = disk_reopen(&s, ch, true);
	require(ch && shows(80, 1024, 40));
	finish();
}

pl_test("gives up clusters of which only holes are left")
{
	require(spread(4, 1));
	ch = disk_snapshot(&s, ch, 100 * GIB);
	require(ch && put(ch, 0, 64, 'z') == 0);
	/* Over data of the base: zeros that are owned, in a host cluster. */
	is_int(pl_chain_discard(ch, 63 * 4096, 0), 0);
	is_int(pl_chain_discard(ch, 4096, 63 * 4096), 0);
	is_int(pl_compact(ch, NULL, &stats), 0);
	is_int(pl_layer_clusters(pl_chain_top(ch)), 0);
	ok(holds(ch, 0, 64, 0));
	ok(holds(ch, 64, 64, 'b'));
	finish();
}

pl_test("does nothing to what is compact already")
{
	require(spread(30, 1));
	is_int(pl_compact(ch, NULL, &stats), 0);
	is_int(pl_compact(ch, NULL, &stats), 0);
	is_int(stats.moved + stats.freed, 0);
	ok(shows(30, 1, 1));
	finish();
}

pl_test("makes unowned blocks trustworthy again after a crash (FMT-080)")
{
	require(spread(4, 1));
	ch = disk_reopen(&s, ch, true);
	require(ch);
	ok(pl_layer_stale(pl_chain_top(ch)));
	is_int(pl_compact(ch, NULL, &stats), 0);
	ok(!pl_layer_stale(pl_chain_top(ch)));
	ch = disk_reopen(&s, ch, false);
	require(ch);
	ok(pl_layer_trusts(pl_chain_top(ch), 0));
	ok(shows(4, 1, 1));
	finish();
}

static bool stop(void *arg, uint64_t done, uint64_t total)
{
	ok(done <= total);
	return --*(unsigned *)arg > 0;
}

pl_test("can be stopped at any step")
{
	struct pl_maint_progress p = { .fn = stop };
	unsigned left;
	int rc = -ECANCELED;

	for (unsigned n = 1; rc == -ECANCELED && n < 5000; n = n * 3 + 1) {
		require(spread(30, 1) && discard(30, 1, 3));
		left = n;
		p.arg = &left;
		rc = pl_compact(ch, &p, &stats);
		ok(rc == 0 || rc == -ECANCELED);
		ok(shows(30, 1, 3));
		ch = disk_reopen(&s, ch, n % 2);
		require(ch && shows(30, 1, 3));
		finish();
	}
	is_int(rc, 0);
}

int main(void)
{
	return pl_tap_main();
}
