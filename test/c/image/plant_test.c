/* SPDX-License-Identifier: Apache-2.0 */
/* The crash explorer must be able to fail: it finds each planted mistake. */
#include "tap.h"

#include "base/plant.h"
#include "explorer.h"

unsigned pl_planted;

#define STATES 60000u

/* seed: of the first trace; one that meets the mistake early. */
static void finds(unsigned plant, uint64_t seed)
{
	struct explorer ex;

	pl_planted = plant;
	ok(!explorer_run(&ex, STATES, seed));
	printf("# found after %llu states: %s\n",
	       (unsigned long long)ex.distinct, ex.m.what);
	explorer_fini(&ex);
	pl_planted = 0;
}

pl_test("finds ownership that becomes durable before its data")
{
	finds(PL_PLANT_RECORD_BEFORE_DATA, 1);
}

pl_test("finds reuse of a cluster before its release is durable")
{
	finds(PL_PLANT_EARLY_REUSE, 3);
}

pl_test("finds a descriptor renamed before its layer is synced")
{
	finds(PL_PLANT_UNSYNCED_LAYER, 1);
}

int main(void)
{
	return pl_tap_main();
}
