/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which units to empty. The sparsest first, as long as what they hold fits
 * into the holes of those that stay: so each block that is moved gives the
 * most back. Units with anything fixed in them stay, and so are the best
 * places to move to. What layers below show is neither moved nor counted: see
 * below.c.
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

static uint32_t holes_of(const struct pack *p, const struct pack_unit *u)
{
	return p->unit_blocks - u->used - u->below;
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
		holes += holes_of(p, &p->unit[i]);
	}
	p->ideal_units = (p->used_blocks + p->unit_blocks - 1) / p->unit_blocks;
	return holes;
}

/* Those that can be emptied, the sparsest first. NULL: no memory. */
static uint64_t *in_order(const struct pack *p, uint64_t *ret_n)
{
	uint64_t *place = calloc(p->unit_blocks + 2, sizeof(*place));
	uint64_t *order = NULL, n = 0;

	for (uint64_t i = 0; place && i < p->units; i++)
		if (can_empty(p, &p->unit[i]))
			place[p->unit[i].used + 1]++, n++;
	if (place)
		order = calloc(n + 1, sizeof(*order));
	for (uint32_t used = 1; order && used <= p->unit_blocks; used++)
		place[used] += place[used - 1];
	for (uint64_t i = 0; order && i < p->units; i++)
		if (can_empty(p, &p->unit[i]))
			order[place[p->unit[i].used]++] = i;
	free(place);
	*ret_n = order ? n : 0;
	return order;
}

void pack_plan(struct pack *p)
{
	uint64_t holes = count_holes(p), n;
	uint64_t *order = in_order(p, &n);

	p->victims = 0;
	p->move_blocks = 0;
	for (uint64_t i = 0; i < n; i++) {
		struct pack_unit *u = &p->unit[order[i]];
		uint64_t left = holes - holes_of(p, u);

		if ((p->move_blocks + u->used) * 100 > left * USABLE_PERCENT)
			break;
		holes = left;
		p->move_blocks += u->used;
		p->victims++;
		u->victim = true;
	}
	free(order);
}
