/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much longer background work rests, by what it does to others: their
 * flushes while it worked (and just after, when they pay for what it left in
 * the host's journal) against those while it rested. Some of them are looked at
 * together, because on a busy machine each is a matter of luck. When they are
 * slow the pauses double at once; quick ones bring them back step by step.
 *
 * And when it begins again: between two commits of a database there are some
 * milliseconds when nobody waits for anything, which a short piece of work fits
 * into. So it waits for one, a while.
 */
#ifndef PLOOP_BASE_GENTLE_H
#define PLOOP_BASE_GENTLE_H

#include <stdbool.h>
#include <stdint.h>

#define PL_GENTLE_MAX 4u /* times the pause */
#define PL_GENTLE_FLUSHES 16u /* that are looked at together */

struct pl_gentle {
	uint64_t calm_ns; /* a flush while the work rested, mean; 0 = not known */
	uint64_t flushes, ns; /* beside the work, not judged yet */
	unsigned more; /* above one: pauses are 1 + more times as long */
};

/* Flushes that others made while the work rested, and what all of them took. */
static inline void pl_gentle_rested(struct pl_gentle *g, uint64_t flushes,
				    uint64_t ns)
{
	uint64_t all = 2 * PL_GENTLE_FLUSHES;
	uint64_t n = flushes < all ? flushes : all;

	if (!n)
		return;
	if (!g->calm_ns)
		g->calm_ns = ns / flushes;
	g->calm_ns = (g->calm_ns * (all - n) + ns / flushes * n) / all;
}

/* The same while it worked: half as long again is too slow. */
static inline void pl_gentle_worked(struct pl_gentle *g, uint64_t flushes,
				    uint64_t ns)
{
	uint64_t mean_ns;

	g->flushes += flushes;
	g->ns += ns;
	if (g->flushes < PL_GENTLE_FLUSHES || !g->calm_ns)
		return;
	mean_ns = g->ns / g->flushes;
	g->flushes = g->ns = 0;
	if (mean_ns > g->calm_ns + g->calm_ns / 2)
		g->more = 2 * g->more + 1;
	else if (g->more && mean_ns <= g->calm_ns + g->calm_ns / 4)
		g->more--;
	if (g->more > PL_GENTLE_MAX - 1)
		g->more = PL_GENTLE_MAX - 1;
}

#define PL_STILL_LOOK_US 200u /* between two looks */
#define PL_STILL_LOOKS 2u /* with nothing new: nobody is in the middle of it */
#define PL_STILL_TURNS 150u /* looks, before it begins all the same */

struct pl_still {
	uint64_t requests;
	unsigned looks, turns;
};

/*
 * A look: requests that others made ever, and those not answered yet. True: it
 * may begin now. From all zeros.
 */
static inline bool pl_still(struct pl_still *s, uint64_t requests,
			    uint64_t inflight)
{
	bool still = !inflight && s->turns && requests == s->requests;

	s->looks = still ? s->looks + 1 : 0;
	s->requests = requests;
	return s->looks >= PL_STILL_LOOKS || s->turns++ >= PL_STILL_TURNS;
}

static inline uint64_t pl_gentle_pause(const struct pl_gentle *g,
				       uint64_t pause)
{
	return pause * (g->more + 1);
}

#endif
