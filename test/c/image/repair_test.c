/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every damage by name: check finds exactly that, repair does what it says,
 * and afterwards the image opens, checks clean and reads as before, but for
 * the blocks that the damage was about.
 */
#define PL_DAMAGE_LIBRARY
#include "tools/damage.c"

#include "tap.h"

#include "patient.h"
#include "store/faulty.h"
#include "store/recording.h"

#define C 64u /* blocks of a cluster */
#define PAGE_BLOCKS (256u * C)

enum where { TOP, BASE, WHOLE };

struct row {
	const char *damage;
	enum where where; /* WHOLE: the image's descriptor */
	enum pl_damage kind;
	unsigned findings;
	const char *text; /* in the finding's */
	enum pl_outcome outcome;
	uint64_t skip, n; /* blocks that may differ */
	struct patient_how how;
	unsigned flags;
};

#define ROW(what, in, is) .damage = what, .where = in, .kind = is, .findings = 1

static const struct row rows[] = {
	{ ROW("header-a", TOP, PL_DAMAGE_HEADER_COPY), .text = "copy A",
	  .outcome = PL_FIXED },
	{ ROW("header-b", TOP, PL_DAMAGE_HEADER_COPY), .text = "copy B",
	  .outcome = PL_FIXED },
	{ ROW("header-a", BASE, PL_DAMAGE_HEADER_COPY), .text = "copy A",
	  .outcome = PL_FIXED },
	{ ROW("header-b", BASE, PL_DAMAGE_HEADER_COPY), .text = "copy B",
	  .outcome = PL_FIXED, .how = { .sums = true } },
	{ ROW("header-both", TOP, PL_DAMAGE_HEADER), .text = "checksum",
	  .outcome = PL_LEFT },
	{ ROW("header-both", BASE, PL_DAMAGE_HEADER), .text = "checksum",
	  .outcome = PL_LEFT },
	{ ROW("magic", TOP, PL_DAMAGE_HEADER), .text = "no magic",
	  .outcome = PL_LEFT },
	{ ROW("version", TOP, PL_DAMAGE_FEATURE), .text = "version 2",
	  .outcome = PL_LEFT },
	{ ROW("feature", BASE, PL_DAMAGE_FEATURE), .text = "time-travel",
	  .outcome = PL_LEFT },
	{ ROW("directory-used", TOP, PL_DAMAGE_DIRECTORY_USED),
	  .text = "counts 0", .outcome = PL_FIXED },
	{ ROW("directory-used", BASE, PL_DAMAGE_DIRECTORY_USED),
	  .text = "counts 0", .outcome = PL_FIXED },
	{ ROW("directory-crc", TOP, PL_DAMAGE_DIRECTORY_PAGE),
	  .text = "2 map pages that it names prove themselves, 0",
	  .outcome = PL_SALVAGED },
	{ ROW("directory-crc", BASE, PL_DAMAGE_DIRECTORY_PAGE),
	  .text = "2 map pages that it names prove themselves, 0",
	  .outcome = PL_SALVAGED, .how = { .sums = true } },
	{ ROW("directory-entry", BASE, PL_DAMAGE_DIRECTORY_PAGE),
	  .text = "1 map pages that it names prove themselves, 1",
	  .outcome = PL_SALVAGED, .skip = 0, .n = PAGE_BLOCKS },
	{ ROW("directory-location", TOP, PL_DAMAGE_DIRECTORY_ENTRY),
	  .text = "map page 0 is at 4096", .outcome = PL_SALVAGED, .skip = 0,
	  .n = PAGE_BLOCKS },
	{ ROW("directory-zeros", TOP, PL_DAMAGE_DIRECTORY_PAGE),
	  .text = "directory page 0", .outcome = PL_SALVAGED, .skip = 0,
	  .n = PATIENT_BLOCKS },
	{ ROW("map-page-crc", TOP, PL_DAMAGE_MAP_PAGE), .text = "map page 0",
	  .outcome = PL_SALVAGED, .skip = 0, .n = 1 },
	{ ROW("map-page-crc", BASE, PL_DAMAGE_MAP_PAGE), .text = "map page 0",
	  .outcome = PL_SALVAGED, .skip = 0, .n = 1 },
	{ ROW("map-page-shared", TOP, PL_DAMAGE_SHARED_PAGE),
	  .text = "pages 0 and 1", .outcome = PL_SALVAGED, .skip = PAGE_BLOCKS,
	  .n = PATIENT_BLOCKS },
	{ ROW("entry-into-metadata", BASE, PL_DAMAGE_MAP_ENTRY),
	  .text = "host cluster 1 holds metadata", .outcome = PL_SALVAGED,
	  .skip = 0, .n = C },
	{ ROW("entry-into-map", TOP, PL_DAMAGE_MAP_ENTRY),
	  .text = "holds metadata", .outcome = PL_SALVAGED, .skip = 0, .n = C },
	{ ROW("entry-beyond-end", TOP, PL_DAMAGE_BEYOND_END),
	  .text = "host cluster 1073741824", .outcome = PL_SALVAGED, .skip = 0,
	  .n = C },
	{ ROW("entry-reserved", BASE, PL_DAMAGE_MAP_ENTRY),
	  .text = "reserved bits", .outcome = PL_SALVAGED, .skip = 0, .n = C },
	{ ROW("entry-duplicate", TOP, PL_DAMAGE_SHARED_CLUSTER),
	  .text = "another user", .outcome = PL_FIXED, .skip = 5 * C, .n = C },
	{ ROW("entry-duplicate", BASE, PL_DAMAGE_SHARED_CLUSTER),
	  .text = "another user", .outcome = PL_FIXED, .skip = C, .n = C },
	{ ROW("owned-beyond-disk", TOP, PL_DAMAGE_MAP_ENTRY),
	  .text = "beyond the end of the disk", .outcome = PL_SALVAGED },
	{ ROW("unowned-data", TOP, PL_DAMAGE_UNOWNED_DATA),
	  .text = "should be zeros", .outcome = PL_FIXED },
	{ ROW("journal-record", TOP, PL_DAMAGE_JOURNAL),
	  .text = "wrong checksum", .outcome = PL_SALVAGED, .skip = 10 * C,
	  .n = C, .how = { .unclean = true } },
	{ ROW("truncated", TOP, PL_DAMAGE_TRUNCATED), .text = "64 blocks",
	  .outcome = PL_SALVAGED, .skip = 6 * C, .n = C },
	{ ROW("truncated", BASE, PL_DAMAGE_TRUNCATED), .text = "2 map pages",
	  .outcome = PL_SALVAGED, .skip = 0, .n = PATIENT_BLOCKS },
	{ ROW("short-file", TOP, PL_DAMAGE_SHORT_FILE),
	  .text = "metadata takes", .outcome = PL_FIXED,
	  .how = { .empty_top = true } },
	{ ROW("data-bitflip", BASE, PL_DAMAGE_DATA), .text = "virtual offset 0",
	  .outcome = PL_LEFT, .skip = 0, .n = 1, .how = { .sums = true },
	  .flags = PL_CHECK_DATA },
	{ ROW("checksum-page", BASE, PL_DAMAGE_CHECKSUMS),
	  .text = "1 of 1 pages", .outcome = PL_FIXED,
	  .how = { .sums = true } },
	{ ROW("missing-layer", BASE, PL_DAMAGE_LAYER_MISSING),
	  .text = "missing", .outcome = PL_LEFT },
	{ ROW("foreign-layer", TOP, PL_DAMAGE_LAYER_FOREIGN),
	  .text = "holds layer", .outcome = PL_LEFT },
	{ ROW("foreign-parent", TOP, PL_DAMAGE_LAYER_MISFIT),
	  .text = "made on layer", .outcome = PL_LEFT },
	{ ROW("foreign-block-size", TOP, PL_DAMAGE_LAYER_MISFIT),
	  .text = "block size 8192", .outcome = PL_LEFT,
	  .how = { .empty_top = true } },
	{ ROW("descriptor-json", WHOLE, PL_DAMAGE_DESCRIPTOR), .text = "line",
	  .outcome = PL_LEFT },
	{ ROW("descriptor-empty", WHOLE, PL_DAMAGE_DESCRIPTOR), .text = "line",
	  .outcome = PL_LEFT },
	{ ROW("descriptor-top", WHOLE, PL_DAMAGE_DESCRIPTOR), .text = "top",
	  .outcome = PL_LEFT },
	{ ROW("descriptor-size", WHOLE, PL_DAMAGE_DESCRIPTOR), .text = "size",
	  .outcome = PL_LEFT },
	{ ROW("descriptor-cycle", WHOLE, PL_DAMAGE_DESCRIPTOR),
	  .text = "parent", .outcome = PL_LEFT },
};

#define N_ROWS (sizeof(rows) / sizeof(rows[0]))

static struct patient patient;

struct seen {
	struct pl_finding first;
	char layer[PL_ID_LEN + 1];
	unsigned n;
};

static bool see(void *arg, const struct pl_finding *f)
{
	struct seen *s = arg;

	if (s->n++ == 0) {
		s->first = *f;
		snprintf(s->layer, sizeof(s->layer), "%s", f->layer);
	}
	return true;
}

static const char *layer_of(const struct row *row)
{
	return row->where == WHOLE ? "" :
	       row->where == TOP   ? patient.top :
				     patient.base;
}

static bool prepare(const struct row *row, struct pl_dir *dir)
{
	const char *layer = layer_of(row);
	int rc;

	if (!ok(patient_make(&patient, dir, row->how)))
		return false;
	layer = layer_of(row);
	rc = damage_image(dir, row->damage, *layer ? layer : NULL);
	if (rc < 0)
		printf("# %s: %s\n", row->damage, strerror(-rc));
	return ok(rc == 0);
}

static void is_named(const struct row *row, const struct seen *s)
{
	is_int(s->n, row->findings);
	if (!s->n)
		return;
	if (!ok(s->first.kind == row->kind))
		printf("# %s, not %s: %s\n", pl_damage_name(s->first.kind),
		       pl_damage_name(row->kind), s->first.text);
	is_str(s->layer, layer_of(row));
	if (!ok(strstr(s->first.text, row->text) != NULL))
		printf("# text: %s\n", s->first.text);
}

static unsigned remaining(struct pl_dir *dir, unsigned flags)
{
	struct pl_check_result res;
	struct seen s = { .n = 0 };
	struct pl_err err;

	if (!ok(pl_image_check_deep(dir, flags, see, &s, &res, &err) == 0))
		printf("# %s\n", err.msg);
	if (s.n)
		printf("# left: %s\n", s.first.text);
	return s.n;
}

static bool exists_in(struct pl_dir *dir, const char *folder, const char *file)
{
	char path[128];
	struct pl_store *st;

	snprintf(path, sizeof(path), "%s/%s", folder, file);
	if (dir->ops->open(dir, path, 0, &st, NULL) < 0)
		return false;
	pl_store_close(st);
	return true;
}

/* A copy of what was there, and a report, when something was salvaged. */
static void is_reported(const struct row *row, struct pl_dir *dir,
			const struct pl_check_result *res)
{
	char copy[64];

	if (row->outcome != PL_SALVAGED) {
		is_str(res->report, "");
		return;
	}
	snprintf(copy, sizeof(copy), "%s.plp", layer_of(row));
	ok(exists_in(dir, res->report, "report.json"));
	ok(exists_in(dir, res->report, copy));
}

static bool repair(struct pl_dir *dir, unsigned flags, struct seen *s,
		   struct pl_check_result *res)
{
	struct pl_err err;

	memset(s, 0, sizeof(*s));
	return pl_image_repair(dir, flags, see, s, res, &err) == 0;
}

/* What every repair must lead to. */
static void is_healed(const struct row *row, struct pl_dir *dir)
{
	if (row->outcome == PL_LEFT) {
		is_int(remaining(dir, row->flags), row->findings);
		return;
	}
	is_int(remaining(dir, row->flags), 0);
	ok(patient_reads(&patient, dir, row->skip, row->n));
	ok(patient_works(dir));
	is_int(remaining(dir, row->flags), 0);
}

pl_test("names every damage, and repairs what can be")
{
	struct pl_check_result res;
	struct pl_dir *dir;
	struct seen s;
	struct pl_err err;
	unsigned bad;

	for (size_t i = 0; i < N_ROWS; i++) {
		bad = pl_tap_bad;
		require(pl_dir_memory(&dir, 0) == 0);
		if (prepare(&rows[i], dir)) {
			memset(&s, 0, sizeof(s));
			is_int(pl_image_check_deep(dir, rows[i].flags, see, &s,
						   &res, &err),
			       0);
			is_named(&rows[i], &s);
			ok(repair(dir, rows[i].flags, &s, &res));
			is_named(&rows[i], &s);
			is_int(s.first.outcome, rows[i].outcome);
			is_reported(&rows[i], dir, &res);
			is_healed(&rows[i], dir);
		}
		if (pl_tap_bad != bad)
			printf("# row %zu: %s in the %s\n", i, rows[i].damage,
			       rows[i].where == BASE ? "base" : "top");
		pl_dir_close(dir);
	}
}

pl_test("has a row for every damage of the tool")
{
	for (size_t i = 0; i < N_DAMAGES; i++) {
		bool has = false;

		for (size_t k = 0; k < N_ROWS; k++)
			has |= strcmp(rows[k].damage, damages[i].name) == 0;
		if (!ok(has))
			printf("# %s\n", damages[i].name);
	}
}

/* Of rows with one kind, the first; with PLOOP_CRASH_ALL every one. */
static bool interrupted(size_t i)
{
	bool all = getenv("PLOOP_CRASH_ALL");

	for (size_t k = 0; k < i && !all; k++)
		if (rows[k].kind == rows[i].kind)
			return false;
	return rows[i].outcome != PL_LEFT;
}

/* False when the fault did not fire any more. */
static bool one_fault(const struct row *row, unsigned n)
{
	struct pl_check_result res;
	struct pl_faults *faults;
	struct pl_dir *memory, *dir;
	const char *fired = NULL;
	struct seen s;
	bool done;

	if (!ok(pl_dir_memory(&memory, 0) == 0 &&
		pl_dir_faulty(&dir, memory, &faults) == 0))
		return false;
	if (prepare(row, dir)) {
		pl_faults_arm(faults, PL_FAULT_EIO, n);
		done = repair(dir, row->flags, &s, &res);
		fired = pl_faults_fired(faults);
		ok(done || fired);
		ok(repair(dir, row->flags, &s, &res));
		is_healed(row, dir);
	}
	pl_dir_close(dir);
	return fired != NULL;
}

pl_test("a repair that fails at any write can be run again")
{
	unsigned bad, n;

	for (size_t i = 0; i < N_ROWS; i++) {
		if (!interrupted(i))
			continue;
		bad = pl_tap_bad;
		for (n = 1; one_fault(&rows[i], n) && pl_tap_bad == bad; n++)
			;
		if (pl_tap_bad != bad)
			printf("# row %zu: %s, fault %u\n", i, rows[i].damage,
			       n);
	}
}

struct crash {
	const struct row *row;
	struct pl_recorder *rec;
	uint64_t seed;
	unsigned states, points;
};

static void crash_here(void *arg)
{
	static const enum pl_crash how[] = { PL_CRASH_NONE, PL_CRASH_ALL,
					     PL_CRASH_RANDOM,
					     PL_CRASH_RANDOM_TORN };
	struct crash *c = arg;
	struct pl_check_result res;
	struct pl_dir *dir;
	struct seen s;
	uint64_t hash;

	for (size_t i = 0; i < sizeof(how) / sizeof(how[0]); i++) {
		unsigned bad = pl_tap_bad;

		/* One kind of crash per place; PLOOP_CRASH_ALL: all. */
		if (!getenv("PLOOP_CRASH_ALL") && i != c->points % 4)
			continue;

		if (pl_recorder_crash(c->rec, how[i], &c->seed, &dir, &hash) <
		    0)
			continue;
		c->states++;
		ok(repair(dir, c->row->flags, &s, &res));
		is_int(remaining(dir, c->row->flags), 0);
		ok(patient_reads(&patient, dir, c->row->skip, c->row->n));
		if (pl_tap_bad != bad)
			printf("# crash %u of %s\n", c->states, c->row->damage);
		pl_dir_close(dir);
	}
	c->points++;
}

pl_test("a repair that a power failure ends can be run again")
{
	struct crash c = { .seed = 4711 };
	struct pl_check_result res;
	unsigned states = 0;
	struct pl_dir *dir;
	struct seen s;

	for (size_t i = 0; i < N_ROWS; i++) {
		if (!interrupted(i))
			continue;
		c.row = &rows[i];
		c.states = 0;
		require(pl_dir_recording(&dir, &c.rec) == 0);
		if (prepare(&rows[i], dir)) {
			dir->ops->sync(dir, "");
			dir->ops->sync(dir, "layers");
			pl_recorder_hook(c.rec, crash_here, &c);
			ok(repair(dir, rows[i].flags, &s, &res));
			pl_recorder_hook(c.rec, NULL, NULL);
		}
		pl_dir_close(dir);
		pl_recorder_free(c.rec);
		states += c.states;
	}
	printf("# %u states\n", states);
}

int main(void)
{
	return pl_tap_main();
}
