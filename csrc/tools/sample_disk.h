/* SPDX-License-Identifier: Apache-2.0 */
/* What a disk of sample-images.c holds: a model beside the image. */
#ifndef PLOOP_TOOLS_SAMPLE_DISK_H
#define PLOOP_TOOLS_SAMPLE_DISK_H

#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR 512u

/* One disk: a byte for each of its sectors, as far as it is looked at. */
struct disk {
	char snapshot[128]; /* "" = the top */
	uint64_t size;
	uint8_t *sector;
	uint64_t n;
};

static void reserve(struct disk *d, uint64_t sectors)
{
	if (sectors <= d->n)
		return;
	d->sector = realloc(d->sector, sectors);
	if (!d->sector)
		abort();
	memset(d->sector + d->n, 0, sectors - d->n);
	d->n = sectors;
}

static void fill(struct disk *d, uint64_t off, uint64_t len, uint8_t byte)
{
	reserve(d, (off + len) / SECTOR);
	memset(d->sector + off / SECTOR, byte, len / SECTOR);
}

/* As JSON: [offset, length, byte]. */
static json_t *runs_of(const struct disk *d)
{
	json_t *runs = json_array();
	uint64_t i = 0, start;

	while (i < d->n) {
		start = i;
		while (i < d->n && d->sector[i] == d->sector[start])
			i++;
		if (d->sector[start])
			json_array_append_new(
				runs,
				json_pack("[I,I,i]",
					  (json_int_t)(start * SECTOR),
					  (json_int_t)((i - start) * SECTOR),
					  (int)d->sector[start]));
	}
	return runs;
}

#endif
