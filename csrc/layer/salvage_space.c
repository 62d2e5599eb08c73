/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks at what a closed layer promises to be zeros: free host clusters, and
 * blocks of used ones that the layer does not own (FMT-080). Writers rely on
 * it; where it does not hold, a later write brings the old bytes back to light.
 * Free ones may hold what an auto-clear bit is about: whoever clears that
 * punches them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/zero.h"
#include "layer/salvage.h"

#define LOOK 65536u /* bytes read at once */

struct look {
	struct pl_layer *ly;
	char *buf;
	uint64_t first, bytes; /* of what should be zeros: where, how many */
};

static bool bit(const struct look *l, const uint64_t *map, uint64_t cluster)
{
	return cluster < l->ly->salvage->limit &&
	       map[cluster / 64] >> cluster % 64 & 1;
}

static bool may_hold_bytes(const struct look *l, uint64_t cluster)
{
	const struct salvage *sv = l->ly->salvage;

	return bit(l, sv->meta, cluster) ||
	       (l->ly->hdr.auto_clear && !bit(l, sv->used, cluster));
}

static bool owned(const struct look *l, uint64_t cluster, uint64_t block)
{
	const struct salvage *sv = l->ly->salvage;

	return cluster < sv->limit && sv->owned[cluster] >> block & 1;
}

static int look_at(struct look *l, uint64_t off, uint64_t end)
{
	int rc = 0;

	for (uint64_t len; off < end && rc == 0; off += len) {
		len = end - off < LOOK ? end - off : LOOK;
		rc = pl_store_read(l->ly->st, l->buf, len, off, PL_IO_META);
		if (rc < 0 || pl_is_zero(l->buf, len))
			continue;
		if (!l->bytes)
			l->first = off;
		l->bytes += len;
	}
	return rc;
}

/* One range of the file that may hold data: what nobody owns of it. */
static int look_through(struct look *l, uint64_t start, uint64_t end)
{
	uint64_t cs = pl_cluster_size(&l->ly->hdr);
	uint64_t bs = l->ly->hdr.block_size, next;
	int rc = 0;

	for (uint64_t off = start; off < end && rc == 0; off = next) {
		uint64_t cluster = off / cs;

		next = (cluster + 1) * cs;
		if (!may_hold_bytes(l, cluster)) {
			next = off / bs * bs + bs;
			if (!owned(l, cluster, off % cs / bs))
				rc = look_at(l, off, next < end ? next : end);
		}
	}
	return rc;
}

int salvage_space(struct pl_layer *ly)
{
	struct look l = { .ly = ly, .buf = malloc(LOOK) };
	uint64_t off = 0, start, end;
	int rc = l.buf ? 0 : -ENOMEM;

	while (rc == 0) {
		rc = pl_store_seek_data(ly->st, off, &start, &end);
		if (rc < 0 || start == UINT64_MAX)
			break;
		rc = look_through(&l, start, end);
		off = end;
	}
	free(l.buf);
	if (rc == 0 && l.bytes)
		salvage_found(ly, PL_DAMAGE_UNOWNED_DATA, l.first,
			      "%llu bytes that the layer does not own should "
			      "be zeros and are not",
			      (unsigned long long)l.bytes);
	return rc;
}
