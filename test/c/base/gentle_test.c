/* SPDX-License-Identifier: Apache-2.0 */
/* Background work that sees others wait rests longer. */
#include "base/gentle.h"
#include "../tap.h"

#define MS 1000000ull

static void flushes_take(struct pl_gentle *g, uint64_t each_ms)
{
	pl_gentle_worked(g, PL_GENTLE_FLUSHES,
			 PL_GENTLE_FLUSHES * each_ms * MS);
}

pl_test("rests as long as ever while nothing is known, or nobody flushes")
{
	struct pl_gentle g = { 0 };

	flushes_take(&g, 100);
	is_int(pl_gentle_pause(&g, 10), 10);
	g = (struct pl_gentle){ 0 };
	pl_gentle_rested(&g, 0, 0);
	pl_gentle_rested(&g, 10, 20 * MS);
	is_int(g.calm_ns, 2 * MS);
	pl_gentle_worked(&g, 0, 0);
	is_int(pl_gentle_pause(&g, 10), 10);
}

pl_test("rests twice as long, and again, when flushes take longer beside it")
{
	struct pl_gentle g = { .calm_ns = 2 * MS };

	flushes_take(&g, 2);
	is_int(pl_gentle_pause(&g, 10), 10);
	flushes_take(&g, 4);
	is_int(pl_gentle_pause(&g, 10), 20);
	for (unsigned i = 0; i < 9; i++)
		flushes_take(&g, 90);
	is_int(pl_gentle_pause(&g, 10), 10 * PL_GENTLE_MAX);
}

pl_test("does not judge by a few slow flushes among quick ones")
{
	struct pl_gentle g = { .calm_ns = 4 * MS };

	for (unsigned i = 0; i < 40; i++)
		pl_gentle_worked(&g, 1, i % 8 ? 4 * MS : 12 * MS);
	is_int(pl_gentle_pause(&g, 10), 10);
}

pl_test("comes back when they take what they take at rest")
{
	struct pl_gentle g = { .calm_ns = 10 * MS, .more = 2 };

	flushes_take(&g, 10);
	is_int(pl_gentle_pause(&g, 10), 20);
	flushes_take(&g, 14); /* neither slow nor quick */
	is_int(pl_gentle_pause(&g, 10), 20);
	flushes_take(&g, 11);
	flushes_take(&g, 11);
	is_int(pl_gentle_pause(&g, 10), 10);
}

pl_test("follows a machine that gets slower as a whole")
{
	struct pl_gentle g = { .calm_ns = 2 * MS };

	for (unsigned i = 0; i < 40; i++)
		pl_gentle_rested(&g, 4, 40 * MS);
	ok(g.calm_ns > 9 * MS && g.calm_ns <= 10 * MS);
	flushes_take(&g, 10);
	is_int(pl_gentle_pause(&g, 10), 10);
}

pl_test("begins where nobody waits for anything, not in the middle of it")
{
	struct pl_still still = { 0 };

	ok(!pl_still(&still, 5, 1)); /* a request is under way */
	ok(!pl_still(&still, 6, 0)); /* answered, and one came and went */
	ok(!pl_still(&still, 6, 0));
	ok(!pl_still(&still, 7, 0));
	ok(!pl_still(&still, 7, 0));
	ok(pl_still(&still, 7, 0));
}

pl_test("begins at once where nobody was, and in the end beside those who never rest")
{
	struct pl_still still = { 0 };
	unsigned looks = 0;

	while (!pl_still(&still, 0, 0))
		looks++;
	is_int(looks, PL_STILL_LOOKS);
	still = (struct pl_still){ 0 };
	for (looks = 0; !pl_still(&still, looks, 3); looks++)
		;
	is_int(looks, PL_STILL_TURNS);
}

int main(void)
{
	return pl_tap_main();
}
