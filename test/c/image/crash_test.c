/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The crash contract, explored. PLOOP_CRASH_STATES sets how many distinct
 * states (npm run test:crash: 200,000), PLOOP_SEED where to start.
 */
#include "tap.h"

#include <time.h>

#include "explorer.h"

static uint64_t from_env(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 10) : otherwise;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

pl_test("every state a power failure can leave satisfies the crash contract")
{
	uint64_t want = from_env("PLOOP_CRASH_STATES", 3000);
	struct explorer ex;
	double start = now();
	bool fine = explorer_run(&ex, want, from_env("PLOOP_SEED", 1));

	printf("# %llu distinct states (%llu tried) at %llu crash points, "
	       "%d violations, %.0f states per second\n",
	       (unsigned long long)ex.distinct, (unsigned long long)ex.states,
	       (unsigned long long)ex.points, fine ? 0 : 1,
	       (double)ex.distinct / (now() - start));
	explorer_fini(&ex);
	ok(fine);
	ok(ex.reclaimed > 0);
}

int main(void)
{
	return pl_tap_main();
}
