/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks that layers below the writable one show. Moving them would cost the
 * host what it should save: the layer keeps the old place, and the new one is
 * written on top. So they stay, and count for nothing: a unit with nothing else
 * in it is empty.
 *
 * The bitmap is of one moment. What others write becomes the top's meanwhile:
 * the plan then expects a little less than there is to gain.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "pack.h"

bool pack_below(const struct pack *p, uint64_t block)
{
	return p->below && (p->below[block / 8] >> (block % 8) & 1);
}

uint32_t pack_count_below(const struct pack *p, uint64_t block, uint32_t len)
{
	uint32_t n = 0;

	for (uint32_t i = 0; p->below && i < len; i++)
		n += pack_below(p, block + i);
	return n;
}

void pack_written(struct pack *p, uint64_t block, uint32_t len)
{
	for (uint64_t i = block; p->below && i < block + len; i++)
		p->below[i / 8] &= (uint8_t) ~(1u << (i % 8));
}

int pack_read_below(struct pack *p, FILE *from)
{
	char line[64];
	uint64_t off, len;

	p->below = calloc(p->blocks / 8 + 1, 1);
	if (!p->below)
		return -ENOMEM;
	while (fgets(line, sizeof(line), from) &&
	       sscanf(line, "%" SCNu64 " %" SCNu64, &off, &len) == 2) {
		uint64_t block = off / p->block_size;
		uint64_t end = block + len / p->block_size;

		for (; block < end && block < p->blocks; block++)
			p->below[block / 8] |= (uint8_t)(1u << (block % 8));
	}
	return 0;
}
