/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which units to empty. The sparsest first, as long as what they hold fits
 * into the holes of those that stay: so each block that is moved gives the
 * most back. Units with anything fixed in them stay, and so are the best
 * places to move to.
 */
#include <stdlib.h>

#include "pack.h"

/* Of the holes, at most this part is planned with: others write, too. */
#define USABLE_PERCENT 97

static bool can_empty(const struct pack *p, const struct pack_unit *u)
{
	return u->used > 0 && u->movable >= u->used &&
	       u->used <= p->candidate_used &&
	       u->used <= (uint32_t)(p->max_fill * p->unit_blocks);
}

/* Holes of all units that are not empty, and what the host holds for them. */
static uint64_t count_holes(struct pack *p)
{
	uint64_t holes = 0;

	p->used_blocks = 0;
	p->held_units = 0;
	for (uint64_t i = 0; i < p->units; i++) {
		p->unit[i].victim = false;
		if (p->unit[i].used == 0)
			continue;
		p->used_blocks += p->unit[i].used;
		p->held_units++;
		holes += p->unit_blocks - p->unit[i].used;
	}
	p->ideal_units = (p->used_blocks + p->unit_blocks - 1) / p->unit_blocks;
	return holes;
}

void pack_plan(struct pack *p)
{
	uint64_t holes = count_holes(p);
	/* by how much is used: how many units can be emptied */
	uint64_t *count = calloc(p->unit_blocks + 1, sizeof(*count));
	uint32_t used;

	p->victims = 0;
	p->move_blocks = 0;
	if (!count)
		return;
	for (uint64_t i = 0; i < p->units; i++)
		if (can_empty(p, &p->unit[i]))
			count[p->unit[i].used]++;
	for (used = 1; used <= p->unit_blocks; used++) {
		uint64_t take = 0;

		while (take < count[used]) {
			uint64_t left = holes - (p->unit_blocks - used);

			if ((p->move_blocks + used) * 100 >
			    left * USABLE_PERCENT)
				break;
			holes = left;
			p->move_blocks += used;
			take++;
		}
		p->victims += take;
		if (take < count[used]) {
			count[used] = take;
			break;
		}
	}
	for (uint64_t i = 0; i < p->units; i++) {
		struct pack_unit *u = &p->unit[i];

		if (!can_empty(p, u) || u->used > used || count[u->used] == 0)
			continue;
		u->victim = true;
		count[u->used]--;
	}
	free(count);
}
