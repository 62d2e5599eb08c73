/* SPDX-License-Identifier: Apache-2.0 */
/* Background work that sees others wait rests longer. */
#include "base/gentle.h"
#include "../tap.h"

#define MS 1000000ull

pl_test("rests as long as ever while nothing is known, or nobody flushes")
{
	struct pl_gentle g = { 0 };

	pl_gentle_worked(&g, 5, 500 * MS);
	is_int(pl_gentle_pause(&g, 10), 10);
	pl_gentle_rested(&g, 0, 0);
	pl_gentle_rested(&g, 10, 20 * MS);
	is_int(g.calm_ns, 2 * MS);
	pl_gentle_worked(&g, 0, 0);
	is_int(pl_gentle_pause(&g, 10), 10);
}

pl_test("rests twice as long, and again, when flushes take longer beside it")
{
	struct pl_gentle g = { 0 };

	pl_gentle_rested(&g, 10, 20 * MS);
	pl_gentle_worked(&g, 1, 2 * MS);
	is_int(pl_gentle_pause(&g, 10), 10);
	pl_gentle_worked(&g, 1, 4 * MS);
	is_int(pl_gentle_pause(&g, 10), 20);
	pl_gentle_worked(&g, 3, 12 * MS);
	is_int(pl_gentle_pause(&g, 10), 40);
	for (unsigned i = 0; i < 9; i++)
		pl_gentle_worked(&g, 1, 90 * MS);
	is_int(pl_gentle_pause(&g, 10), 10 * PL_GENTLE_MAX);
}

pl_test("comes back when they take what they take at rest")
{
	struct pl_gentle g = { .calm_ns = 2 * MS, .more = 2 };

	pl_gentle_worked(&g, 1, 2 * MS);
	is_int(pl_gentle_pause(&g, 10), 20);
	pl_gentle_worked(&g, 1, 2800000); /* neither slow nor quick */
	is_int(pl_gentle_pause(&g, 10), 20);
	pl_gentle_worked(&g, 2, 4 * MS);
	pl_gentle_worked(&g, 2, 4 * MS);
	is_int(pl_gentle_pause(&g, 10), 10);
}

pl_test("follows a machine that gets slower as a whole")
{
	struct pl_gentle g = { .calm_ns = 2 * MS };

	for (unsigned i = 0; i < 40; i++)
		pl_gentle_rested(&g, 4, 40 * MS);
	ok(g.calm_ns > 9 * MS && g.calm_ns <= 10 * MS);
	pl_gentle_worked(&g, 4, 40 * MS);
	is_int(pl_gentle_pause(&g, 10), 10);
}

int main(void)
{
	return pl_tap_main();
}
