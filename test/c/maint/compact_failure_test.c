/* SPDX-License-Identifier: Apache-2.0 */
/* Compactions that fail half-way. */
#include "spread.h"

static char zeros[64 * 4096];

/* Takes every free host cluster: it must read as zeros (FMT-073). */
static bool free_ones_are_zeros(void)
{
	struct pl_layer *top = pl_chain_top(ch);
	uint64_t c;

	while ((c = pl_layer_take_below(top, UINT64_MAX)) != 0) {
		if (pl_store_read(pl_layer_store(top), disk_buf, sizeof(zeros),
				  c * sizeof(zeros), 0) < 0)
			return false;
		if (memcmp(disk_buf, zeros, sizeof(zeros)) != 0) {
			printf("# host cluster %llu is free, not zeros\n",
			       (unsigned long long)c);
			return false;
		}
	}
	return true;
}

/* A copy at a new place is durable before the old one goes. */
static void fails_anywhere(int with, bool crash)
{
	bool fired = true;

	for (int64_t n = 1; fired && n < 400; n += 1 + n / 20) {
		require(spread(24, 512) && discard(24, 512, 3));
		s.spy[0].fail_errno = with;
		s.spy[0].fail_in = n;
		fired = pl_compact(ch, NULL, &stats) < 0;
		s.spy[0].failing = false;
		s.spy[0].fail_in = 0;
		if (crash)
			pl_chain_abandon(ch);
		else
			pl_chain_close(ch, NULL);
		ch = stack_chain(&s);
		if (!ok(ch && shows(24, 512, 3) && free_ones_are_zeros()))
			printf("# operation %lld failed\n", (long long)n);
		require(ch);
		ch = disk_reopen(&s, ch, false);
		require(ch);
		is_int(pl_compact(ch, NULL, &stats), 0);
		ok(shows(24, 512, 3));
		ok(free_ones_are_zeros());
		finish();
	}
	ok(!fired);
}

pl_test("may fail at any operation; nothing is lost, nothing left (FMT-073)")
{
	fails_anywhere(EIO, true);
	fails_anywhere(ENOSPC, false);
}

int main(void)
{
	return pl_tap_main();
}
