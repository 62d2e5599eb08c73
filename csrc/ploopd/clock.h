/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting outside of the event loop (launcher, detach, keeper). */
#ifndef PLOOP_PLOOPD_CLOCK_H
#define PLOOP_PLOOPD_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t pl_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static inline void pl_sleep_ms(unsigned ms)
{
	struct timespec t = { ms / 1000, (long)(ms % 1000) * 1000000 };

	nanosleep(&t, NULL);
}

#endif
