/* SPDX-License-Identifier: Apache-2.0 */
/* Operations that hardly block: see quick.h. */
#include "store/quick.h"

#include <time.h>

#define QUICK_NS 500000u
#define ENOUGH 8u /* in a row */

uint64_t pl_quick_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void pl_quick_note(struct pl_quick *quick, uint64_t start_ns, int res)
{
	if (res < 0 || pl_quick_now_ns() - start_ns > QUICK_NS)
		quick->run = 0;
	else if (quick->run < ENOUGH)
		quick->run++;
}

bool pl_quick_enough(const struct pl_quick *quick)
{
	return quick->run == ENOUGH;
}
