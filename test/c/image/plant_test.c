/* SPDX-License-Identifier: Apache-2.0 */
/* The crash explorer must be able to fail: it finds each planted mistake. */
#include "tap.h"

#include "base/plant.h"
#include "explorer.h"

unsigned pl_planted;

#define STATES 60000u

static void finds(unsigned plant)
{
	struct explorer ex;

	pl_planted = plant;
	ok(!explorer_run(&ex, STATES, 1));
	printf("# found after %llu states: %s\n",
	       (unsigned long long)ex.distinct, ex.m.what);
	explorer_fini(&ex);
	pl_planted = 0;
}

pl_test("finds ownership that becomes durable before its data")
{
	finds(PL_PLANT_RECORD_BEFORE_DATA);
}

pl_test("finds reuse of a cluster before its release is durable")
{
	finds(PL_PLANT_EARLY_REUSE);
}

pl_test("finds a descriptor renamed before its layer is synced")
{
	finds(PL_PLANT_UNSYNCED_LAYER);
}

int main(void)
{
	return pl_tap_main();
}
