/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much longer background work rests, by what it does to others: their
 * flushes while it worked (and just after, when they pay for what it left in
 * the host's journal) against those while it rested. A slow one doubles the
 * pauses at once, quick ones bring them back step by step.
 */
#ifndef PLOOP_BASE_GENTLE_H
#define PLOOP_BASE_GENTLE_H

#include <stdint.h>

#define PL_GENTLE_MAX 8u /* times the pause */
#define PL_GENTLE_WEIGHT 16u /* flushes that the mean at rest looks back */

struct pl_gentle {
	uint64_t calm_ns; /* a flush while the work rested, mean; 0 = not known */
	unsigned more; /* above one: pauses are 1 + more times as long */
};

/* Flushes that others made while the work rested, and what all of them took. */
static inline void pl_gentle_rested(struct pl_gentle *g, uint64_t flushes,
				    uint64_t ns)
{
	uint64_t n = flushes < PL_GENTLE_WEIGHT ? flushes : PL_GENTLE_WEIGHT;

	if (!n)
		return;
	if (!g->calm_ns)
		g->calm_ns = ns / flushes;
	g->calm_ns = (g->calm_ns * (PL_GENTLE_WEIGHT - n) + ns / flushes * n) /
		     PL_GENTLE_WEIGHT;
}

/* The same while it worked: half as long again is too slow. */
static inline void pl_gentle_worked(struct pl_gentle *g, uint64_t flushes,
				    uint64_t ns)
{
	if (!flushes || !g->calm_ns)
		return;
	if (ns / flushes > g->calm_ns + g->calm_ns / 2)
		g->more = 2 * g->more + 1;
	else if (g->more && ns / flushes <= g->calm_ns + g->calm_ns / 4)
		g->more--;
	if (g->more > PL_GENTLE_MAX - 1)
		g->more = PL_GENTLE_MAX - 1;
}

static inline uint64_t pl_gentle_pause(const struct pl_gentle *g,
				       uint64_t pause)
{
	return pause * (g->more + 1);
}

#endif
