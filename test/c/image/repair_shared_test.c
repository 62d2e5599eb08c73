/* SPDX-License-Identifier: Apache-2.0 */
/* Repairing an image whose layers a clone shares: the clone's stay as they are. */
#define PL_DAMAGE_LIBRARY
#include "tools/damage.c"

#include "tap.h"

#include <sys/stat.h>

#include "patient.h"
#include "scratch.h"

static struct pl_dir *dir, *clone_dir;
static struct patient p;
static struct pl_check_result res;
static struct pl_err err;
static struct stat before, after;

static bool ignore_finding(void *arg, const struct pl_finding *f)
{
	return arg == NULL && f != NULL;
}

static const char *base_of(const char *image)
{
	static char path[400];

	snprintf(path, sizeof(path), "%s/layers/%s.plp", scratch_file(image),
		 p.base);
	return path;
}

/* All of a file; free() it. */
static char *bytes_of(const char *path, size_t *ret_len)
{
	struct stat st;
	FILE *f = fopen(path, "r");
	char *bytes;

	if (!f || fstat(fileno(f), &st) < 0)
		return NULL;
	bytes = malloc((size_t)st.st_size);
	*ret_len = fread(bytes, 1, (size_t)st.st_size, f);
	fclose(f);
	return bytes;
}

/* An image and a clone that share a damaged base. */
static bool shared(const char *name, const char *damage)
{
	char other[60];

	snprintf(other, sizeof(other), "%s-clone", name);
	return pl_dir_open(&dir, scratch_file(name), PL_OPEN_CREATE, NULL,
			   &err) == 0 &&
	       patient_make(&p, dir, (struct patient_how){ 0 }) &&
	       pl_dir_open(&clone_dir, scratch_file(other), PL_OPEN_CREATE,
			   NULL, &err) == 0 &&
	       pl_image_clone(dir, "one", clone_dir, NULL, false, &err) == 0 &&
	       damage_image(dir, damage, p.base) == 0;
}

static void finish(void)
{
	pl_dir_close(clone_dir);
	pl_dir_close(dir);
}

static int repair(struct pl_dir *d)
{
	return pl_image_repair(d, 0, ignore_finding, NULL, &res, &err);
}

static int64_t findings(struct pl_dir *d)
{
	if (pl_image_check(d, ignore_finding, NULL, &res, &err) < 0)
		return -1;
	return res.findings;
}

/* Repairs the image, then the clone: each in a file of its own. */
static void both(const char *name, const char *damage)
{
	size_t len, len_after;
	char other[60], *bytes, *bytes_after;

	require(shared(name, damage));
	snprintf(other, sizeof(other), "%s-clone", name);
	is_int(stat(base_of(other), &before), 0);
	is_int((int64_t)before.st_nlink, 2);
	bytes = bytes_of(base_of(other), &len);
	is_int(repair(dir), 0);
	ok(res.fixed + res.salvaged > 0);
	is_int(findings(dir), 0);
	/* Not a byte of what the clone has was changed. */
	is_int(stat(base_of(other), &after), 0);
	is_int((int64_t)after.st_ino, (int64_t)before.st_ino);
	is_int((int64_t)after.st_nlink, 1);
	bytes_after = bytes_of(base_of(other), &len_after);
	ok(bytes && bytes_after && len == len_after &&
	   memcmp(bytes, bytes_after, len) == 0);
	ok(findings(clone_dir) > 0);
	is_int(repair(clone_dir), 0);
	is_int(findings(clone_dir), 0);
	free(bytes);
	free(bytes_after);
	finish();
}

pl_test("a header's copy is repaired in a file of the image's own (FMT-086)")
{
	both("header", "header-b");
}

pl_test("what can't be proven is salvaged in one, too (FMT-086)")
{
	both("salvage", "map-page-crc");
}

pl_test("a layer that somebody reads is not repaired meanwhile (FMT-086)")
{
	struct pl_image *looking;
	struct pl_chain *ch;

	require(shared("read", "header-b"));
	require(pl_image_open(&looking, clone_dir, PL_IMAGE_NO_LOCK, "look",
			      &err) == 0 &&
		pl_image_open_chain(looking, NULL, true, NULL, &ch, &err) == 0);
	is_int(repair(dir), -EBUSY);
	is_int(err.code, PL_E_BUSY);
	pl_chain_abandon(ch);
	pl_image_close(looking);
	is_int(repair(dir), 0);
	is_int(findings(dir), 0);
	finish();
}

int main(void)
{
	return pl_tap_main();
}
