/* SPDX-License-Identifier: Apache-2.0 */
#include "patient.h"

#include <stdio.h>
#include <string.h>

#define CLUSTER 64u /* blocks */

static char buf[CLUSTER * 4096] __attribute__((aligned(4096)));

static bool trouble(const char *what, const struct pl_err *err)
{
	printf("# patient: %s: %s\n", what, err ? err->msg : "");
	return false;
}

static void fill(char *block, uint16_t value)
{
	for (unsigned i = 0; i < 4096; i += 2)
		memcpy(block + i, &value, 2);
}

static bool put(struct pl_chain *ch, uint16_t *values, uint64_t first,
		unsigned n, uint16_t seed)
{
	for (unsigned i = 0; i < n; i++) {
		values[first + i] = (uint16_t)(seed + i);
		fill(buf + i * 4096, values[first + i]);
	}
	return pl_chain_write(ch, buf, n * 4096, first * 4096) == 0;
}

static bool open_chain(struct pl_dir *dir, const char *key,
		       struct pl_image **img, struct pl_chain **ch)
{
	struct pl_err err;

	if (pl_image_open(img, dir, PL_IMAGE_WRITE, "test", &err) < 0)
		return trouble("open", &err);
	if (pl_image_open_chain(*img, key, key != NULL, NULL, ch, &err) == 0)
		return true;
	pl_image_close(*img);
	return trouble("open chain", &err);
}

static bool close_chain(struct pl_image *img, struct pl_chain *ch)
{
	struct pl_err err;
	int rc = pl_chain_close(ch, &err);

	pl_image_close(img);
	return rc == 0 || trouble("close", &err);
}

/* Clusters 0, 1, 2, 300 and the partial last one. */
static bool write_base(struct patient *p)
{
	uint64_t last = PATIENT_BLOCKS / CLUSTER * CLUSTER;
	struct pl_image *img;
	struct pl_chain *ch;
	bool fine;

	if (!open_chain(p->dir, NULL, &img, &ch))
		return false;
	fine = put(ch, p->base_value, 0, CLUSTER, 1000) &&
	       put(ch, p->base_value, CLUSTER, 40, 2000) &&
	       put(ch, p->base_value, 2 * CLUSTER, CLUSTER, 3000) &&
	       put(ch, p->base_value, 300 * CLUSTER, 10, 4000) &&
	       put(ch, p->base_value, last, 3, 5000);
	memcpy(p->base, pl_image_desc(img)->top, sizeof(p->base));
	return close_chain(img, ch) && fine;
}

static bool snapshot(struct patient *p, bool sums)
{
	struct pl_image *img;
	struct pl_err err;
	unsigned added = 0;
	int rc;

	if (pl_image_open(&img, p->dir, PL_IMAGE_WRITE, "test", &err) < 0)
		return trouble("open", &err);
	rc = pl_image_snapshot(img, NULL, "one", NULL, NULL, p->snapshot, &err);
	if (rc == 0 && sums)
		rc = pl_image_add_checksums(img, NULL, NULL, NULL, &added,
					    &err);
	memcpy(p->top, pl_image_desc(img)->top, sizeof(p->top));
	pl_image_close(img);
	return (rc == 0 && added == sums) || trouble("snapshot", &err);
}

/* Clusters 0 (half), 5, 301 and the last; then 6 behind the map pages. */
static bool write_top(struct patient *p)
{
	uint64_t last = PATIENT_BLOCKS / CLUSTER * CLUSTER;
	struct pl_image *img;
	struct pl_chain *ch;
	bool fine;

	if (!open_chain(p->dir, NULL, &img, &ch))
		return false;
	fine = put(ch, p->top_value, 0, 30, 6000) &&
	       put(ch, p->top_value, 5 * CLUSTER, CLUSTER, 7000) &&
	       put(ch, p->top_value, 301 * CLUSTER, 20, 8000) &&
	       put(ch, p->top_value, last + 1, 2, 9000);
	if (!close_chain(img, ch) || !fine ||
	    !open_chain(p->dir, NULL, &img, &ch))
		return false;
	fine = put(ch, p->top_value, 6 * CLUSTER, CLUSTER, 10000);
	return close_chain(img, ch) && fine;
}

/* Three flushes, to clusters 10, 11 and 12, and a crash. */
static bool leave_open(struct patient *p)
{
	struct pl_image *img;
	struct pl_chain *ch;
	bool fine = true;

	if (!open_chain(p->dir, NULL, &img, &ch))
		return false;
	for (unsigned c = 10; c < 13; c++)
		fine = fine &&
		       put(ch, p->top_value, c * CLUSTER, CLUSTER,
			   (uint16_t)(c * 1000 + 1000)) &&
		       pl_chain_flush(ch) == 0;
	pl_chain_abandon(ch);
	pl_image_close(img);
	return fine;
}

bool patient_make(struct patient *p, struct pl_dir *dir, struct patient_how how)
{
	struct pl_image_params params = { .size = PATIENT_SIZE };
	struct pl_err err;

	memset(p, 0, sizeof(*p));
	p->dir = dir;
	if (pl_image_create(dir, &params, &err) < 0)
		return trouble("create", &err);
	if (!write_base(p) || !snapshot(p, how.sums))
		return false;
	memcpy(p->top_value, p->base_value, sizeof(p->top_value));
	if (!how.empty_top && !write_top(p))
		return false;
	return !how.unclean || leave_open(p);
}

static bool block_is(const char *block, uint16_t value)
{
	return memcmp(block, &value, 2) == 0 &&
	       memcmp(block, block + 2, 4094) == 0;
}

static bool compare(struct pl_chain *ch, const uint16_t *values, uint64_t skip,
		    uint64_t n, const char *where)
{
	uint64_t count;

	for (uint64_t b = 0; b < PATIENT_BLOCKS; b += count) {
		count = PATIENT_BLOCKS - b;
		count = count < CLUSTER ? count : CLUSTER;
		if (pl_chain_read(ch, buf, count * 4096, b * 4096) < 0)
			return trouble("read failed", NULL);
		for (uint64_t i = b; i < b + count; i++)
			if ((i < skip || i - skip >= n) &&
			    !block_is(buf + (i - b) * 4096, values[i])) {
				printf("# %s: block %llu differs\n", where,
				       (unsigned long long)i);
				return false;
			}
	}
	return true;
}

bool patient_reads(struct patient *p, struct pl_dir *dir, uint64_t skip,
		   uint64_t n)
{
	struct pl_image *img;
	struct pl_chain *ch;
	bool fine;

	if (!open_chain(dir, p->snapshot, &img, &ch))
		return false;
	fine = compare(ch, p->base_value, skip, n, "snapshot");
	pl_chain_abandon(ch);
	pl_image_close(img);
	if (!open_chain(dir, NULL, &img, &ch))
		return false;
	fine = compare(ch, p->top_value, skip, n, "top") && fine;
	return close_chain(img, ch) && fine;
}

bool patient_works(struct pl_dir *dir)
{
	uint16_t values[CLUSTER * 2];
	struct pl_image *img;
	struct pl_chain *ch;
	bool fine;

	if (!open_chain(dir, NULL, &img, &ch))
		return false;
	fine = put(ch, values, CLUSTER, CLUSTER, 77);
	if (!close_chain(img, ch) || !fine || !open_chain(dir, NULL, &img, &ch))
		return false;
	fine = pl_chain_read(ch, buf, sizeof(buf), sizeof(buf)) == 0;
	for (unsigned i = 0; i < CLUSTER && fine; i++)
		fine = memcmp(buf + i * 4096 + 8, &values[CLUSTER + i], 2) == 0;
	return close_chain(img, ch) && fine;
}
