/* SPDX-License-Identifier: Apache-2.0 */
/* Block checksums of sealed layers: written, verified, dropped, crashed. */
#include "tap.h"

#include <errno.h>

#include "base/crc32c.h"
#include "format/format.h"
#include "patient.h"
#include "store/faulty.h"
#include "store/recording.h"

static struct patient patient;
static char page[2 * PL_PAGE];

static struct pl_store *open_layer(struct pl_dir *dir, const char *id)
{
	struct pl_store *st = NULL;
	char name[64];

	snprintf(name, sizeof(name), "layers/%s.plp", id);
	ok(dir->ops->open(dir, name, PL_OPEN_WRITE, &st, NULL) == 0);
	return st;
}

static struct pl_header header_of(struct pl_dir *dir, const char *id)
{
	struct pl_store *st = open_layer(dir, id);
	struct pl_header h = { 0 };
	unsigned slot;

	ok(pl_store_read(st, page, sizeof(page), 0, PL_IO_META) == 0);
	ok(pl_header_choose(page, page + PL_PAGE, &h, &slot, NULL) == 0);
	pl_store_close(st);
	return h;
}

static void put_headers(struct pl_dir *dir, struct pl_header *h)
{
	char id[PL_UUID_TEXT];
	struct pl_store *st;

	pl_uuid_format(&h->uuid, id);
	st = open_layer(dir, id);
	for (unsigned i = 0; i < 2; i++) {
		h->sequence++;
		pl_header_encode(h, page);
		ok(pl_store_write(st, page, PL_PAGE, i * PL_PAGE, PL_IO_META) ==
		   0);
	}
	pl_store_close(st);
}

struct seen {
	unsigned n;
	enum pl_damage kind;
};

static bool see(void *arg, const struct pl_finding *f)
{
	struct seen *s = arg;

	s->n++;
	s->kind = f->kind;
	return true;
}

static struct seen check(struct pl_dir *dir, struct pl_check_result *res)
{
	struct seen s = { 0 };

	ok(pl_image_check_deep(dir, PL_CHECK_DATA, see, &s, res, NULL) == 0);
	return s;
}

static struct pl_dir *start(bool sums)
{
	struct pl_dir *dir = NULL;

	ok(pl_dir_memory(&dir, 0) == 0);
	ok(patient_make(&patient, dir, (struct patient_how){ .sums = sums }));
	return dir;
}

pl_test("a sum is that of the block, in a page with its own (FMT-123, FMT-124)")
{
	struct pl_dir *dir = start(true);
	struct pl_header h = header_of(dir, patient.base);
	struct pl_store *st = open_layer(dir, patient.base);
	uint32_t sums[PL_SUMS_PER_PAGE];
	char block[4096];

	ok(pl_store_read(st, page, PL_PAGE, h.sums_off, PL_IO_META) == 0);
	ok(pl_sums_decode(page, 0, sums));
	ok(!pl_sums_decode(page, 1, sums));
	for (unsigned b = 0; b < 64; b++) {
		ok(pl_store_read(st, block, 4096,
				 h.first_cluster * pl_cluster_size(&h) +
					 b * 4096,
				 PL_IO_META) == 0);
		is_int(sums[b], pl_crc32c(0, block, 4096));
	}
	page[4000] ^= 1;
	ok(!pl_sums_decode(page, 0, sums));
	pl_store_close(st);
	pl_dir_close(dir);
}

pl_test("the table has its bit and lies behind everything (FMT-120, FMT-121)")
{
	struct pl_dir *dir = start(true);
	struct pl_header h = header_of(dir, patient.base);
	struct pl_check_result res;

	is_int(h.auto_clear, PL_AUTO_CLEAR_SUMS);
	is_int(h.state, PL_LAYER_SEALED);
	ok(h.flags & PL_HEADER_CLEAN);
	is_int(h.sums_off % pl_cluster_size(&h), 0);
	ok(memmem(page, sizeof(page), "block-checksums", 15) != NULL);
	is_int(check(dir, &res).n, 0);
	is_int(res.layers_with_sums, 1);
	is_int(res.verified, 64 + 40 + 64 + 10 + 3);
	is_int(res.uncovered, 30 + 64 + 20 + 2 + 64); /* the top's */
	pl_dir_close(dir);
}

pl_test("a table at an impossible place is none, and is told (FMT-121)")
{
	struct pl_dir *dir = start(true);
	struct pl_header h = header_of(dir, patient.base);
	struct pl_check_result res;
	struct seen s;

	h.sums_off += 4096;
	put_headers(dir, &h);
	s = check(dir, &res);
	is_int(s.n, 1);
	is_int(s.kind, PL_DAMAGE_CHECKSUMS);
	is_int(res.layers_with_sums, 0);
	ok(patient_reads(&patient, dir, 0, 0));
	pl_dir_close(dir);
}

static bool see_entry(void *arg, const struct pl_finding *f)
{
	*(bool *)arg |= f->kind == PL_DAMAGE_MAP_ENTRY;
	return true;
}

pl_test("no entry may name a host cluster of the table (FMT-125)")
{
	struct pl_dir *dir = start(true);
	struct pl_header h = header_of(dir, patient.base);
	struct pl_check_result res;
	bool seen = false;

	h.sums_off = h.first_cluster * pl_cluster_size(&h);
	put_headers(dir, &h);
	is_int(pl_image_check(dir, see_entry, &seen, &res, NULL), 0);
	ok(seen);
	pl_dir_close(dir);
}

pl_test("blocks beyond the table are not covered (FMT-124)")
{
	struct pl_dir *dir = start(true);
	struct pl_header h = header_of(dir, patient.base);
	struct pl_check_result res;

	h.auto_clear = h.sums_off = h.sums_pages = 0;
	h.flags |= PL_HEADER_STALE; /* the table's bytes are there still */
	put_headers(dir, &h);
	is_int(check(dir, &res).n, 0);
	is_int(res.verified, 0);
	ok(res.uncovered > 0);
	pl_dir_close(dir);
}

/* A second snapshot, then the first goes: base is merged into the middle. */
static bool merge_into_sealed(struct pl_dir *dir, char *middle)
{
	char id[PL_ID_LEN + 1];
	struct pl_image *img;
	unsigned added;
	bool fine;

	if (pl_image_open(&img, dir, PL_IMAGE_WRITE, "test", NULL) < 0)
		return false;
	memcpy(middle, patient.top, PL_ID_LEN + 1);
	fine = pl_image_snapshot(img, NULL, "two", NULL, NULL, id, NULL) == 0 &&
	       pl_image_add_checksums(img, NULL, NULL, NULL, &added, NULL) ==
		       0 &&
	       added == 1 &&
	       pl_image_delete(img, patient.snapshot, NULL, NULL, NULL) == 0;
	memcpy(patient.snapshot, id, sizeof(id));
	memcpy(patient.base_value, patient.top_value,
	       sizeof(patient.top_value));
	pl_image_close(img);
	return fine;
}

pl_test("merging into a layer drops its checksums (FMT-122)")
{
	struct pl_dir *dir = start(true);
	struct pl_check_result res;
	char middle[PL_ID_LEN + 1];
	struct pl_header h;

	ok(merge_into_sealed(dir, middle));
	h = header_of(dir, middle);
	is_int(h.auto_clear, 0);
	is_int(h.sums_off, 0);
	is_int(h.sums_pages, 0);
	ok(!(h.flags & PL_HEADER_STALE));
	is_int(check(dir, &res).n, 0);
	ok(patient_reads(&patient, dir, 0, 0));
	pl_dir_close(dir);
}

pl_test("a layer that takes writes gets none")
{
	struct pl_dir *dir = start(false);
	struct pl_image *img;
	unsigned added = 9;

	require(pl_image_open(&img, dir, PL_IMAGE_WRITE, "test", NULL) == 0);
	is_int(pl_image_add_checksums(img, patient.top, NULL, NULL, &added,
				      NULL),
	       0);
	is_int(added, 0);
	is_int(pl_image_add_checksums(img, patient.base, NULL, NULL, &added,
				      NULL),
	       0);
	is_int(added, 1);
	is_int(pl_image_add_checksums(img, NULL, NULL, NULL, &added, NULL), 0);
	is_int(added, 0);
	pl_image_close(img);
	pl_dir_close(dir);
}

static bool stop(void *arg, uint64_t done, uint64_t total)
{
	(void)arg, (void)done, (void)total;
	return false;
}

static int add_all(struct pl_dir *dir, pl_progress_fn *progress)
{
	struct pl_image *img;
	unsigned added;
	int rc = pl_image_open(&img, dir, PL_IMAGE_WRITE, "test", NULL);

	if (rc < 0)
		return rc;
	rc = pl_image_add_checksums(img, NULL, progress, NULL, &added, NULL);
	pl_image_close(img);
	return rc;
}

pl_test("an interrupted addition leaves the layer as it was")
{
	struct pl_dir *dir = start(false);
	struct pl_check_result res;
	struct pl_header h;

	is_int(add_all(dir, stop), -ECANCELED);
	h = header_of(dir, patient.base);
	ok(h.flags & PL_HEADER_CLEAN);
	is_int(h.auto_clear, 0);
	is_int(check(dir, &res).n, 0);
	ok(patient_reads(&patient, dir, 0, 0));
	pl_dir_close(dir);
}

static bool one_fault(enum pl_fault how, unsigned n)
{
	struct pl_check_result res;
	struct pl_dir *memory, *dir;
	struct pl_faults *faults;
	const char *fired;
	int rc;

	if (!ok(pl_dir_memory(&memory, 0) == 0 &&
		pl_dir_faulty(&dir, memory, &faults) == 0 &&
		patient_make(&patient, dir, (struct patient_how){ 0 })))
		return false;
	pl_faults_arm(faults, how, n);
	rc = add_all(dir, NULL);
	fired = pl_faults_fired(faults);
	is_int(rc < 0, fired != NULL);
	is_int(check(dir, &res).n, 0);
	ok(patient_reads(&patient, dir, 0, 0));
	is_int(add_all(dir, NULL), 0);
	is_int(check(dir, &res).n, 0);
	is_int(res.layers_with_sums, 1);
	pl_dir_close(dir);
	return fired != NULL;
}

pl_test("fails cleanly whatever write fails")
{
	static const enum pl_fault how[] = { PL_FAULT_EIO, PL_FAULT_ENOSPC,
					     PL_FAULT_SHORT };

	for (unsigned i = 0; i < 3; i++)
		for (unsigned n = 1; one_fault(how[i], n); n++)
			;
}

struct crash {
	struct pl_recorder *rec;
	uint64_t seed;
	unsigned states;
};

static void crash_here(void *arg)
{
	struct pl_check_result res;
	struct crash *c = arg;
	struct pl_dir *dir;
	uint64_t hash;

	for (int how = PL_CRASH_NONE; how <= PL_CRASH_RANDOM_TORN; how++) {
		if (pl_recorder_crash(c->rec, (enum pl_crash)how, &c->seed,
				      &dir, &hash) < 0)
			continue;
		c->states++;
		is_int(check(dir, &res).n, 0);
		ok(patient_reads(&patient, dir, 0, 0));
		is_int(add_all(dir, NULL), 0);
		is_int(check(dir, &res).n, 0);
		is_int(res.layers_with_sums, 1);
		pl_dir_close(dir);
	}
}

pl_test("a power failure while they are added does no harm (FMT-126)")
{
	struct crash c = { .seed = 99 };
	struct pl_dir *dir;

	require(pl_dir_recording(&dir, &c.rec) == 0);
	ok(patient_make(&patient, dir, (struct patient_how){ 0 }));
	pl_recorder_hook(c.rec, crash_here, &c);
	is_int(add_all(dir, NULL), 0);
	pl_recorder_hook(c.rec, NULL, NULL);
	pl_dir_close(dir);
	pl_recorder_free(c.rec);
	printf("# %u states\n", c.states);
}

int main(void)
{
	return pl_tap_main();
}
