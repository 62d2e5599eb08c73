/* SPDX-License-Identifier: Apache-2.0 */
/* A check names each kind of damage, with the layer and the place. */
#include "edit.h"
#include "scene.h"

static struct scene sc;
static struct pl_store *st;
static struct pl_header hdr;
static char layer[PL_ID_LEN + 1];
static struct pl_finding last;
static unsigned n;

static bool note(void *arg, const struct pl_finding *f)
{
	(void)arg;
	last = *f;
	if (*f->layer)
		is_str(f->layer, layer);
	n++;
	return true;
}

static void check(void)
{
	struct pl_check_result res;

	n = 0;
	memset(&last, 0, sizeof(last));
	ok(scene_says(&sc, pl_image_check(sc.dir, note, NULL, &res, &sc.err)));
	is_int(res.findings, n);
}

/* A closed image with data in map pages 0 and 3; its layer file open. */
static bool begin(bool clean)
{
	char name[80];

	if (!scene_create(&sc, 1024 * MIB, 4096) || !scene_open(&sc, true) ||
	    scene_fill(sc.ch, 0, 128, 'a') < 0 ||
	    scene_fill(sc.ch, 3 * 256 * 64, 64, 'b') < 0 ||
	    pl_layer_checkpoint(pl_chain_top(sc.ch)) < 0)
		return false;
	memcpy(layer, pl_image_desc(sc.img)->top, sizeof(layer));
	if (clean)
		scene_close(&sc);
	else
		scene_crash(&sc);
	snprintf(name, sizeof(name), "layers/%s.plp", layer);
	return sc.dir->ops->open(sc.dir, name, PL_OPEN_WRITE, &st, &sc.err) ==
		       0 &&
	       edit_header_read(st, &hdr);
}

static void finish(void)
{
	pl_store_close(st);
	scene_fini(&sc);
}

static void flip(uint64_t off)
{
	char byte;

	ok(pl_store_read(st, &byte, 1, off, PL_IO_META) == 0);
	byte ^= 4;
	ok(pl_store_write(st, &byte, 1, off, PL_IO_META) == 0);
}

/* Something of that layer is damaged, and its text says the word. */
static void finds(const char *word)
{
	check();
	ok(n > 0);
	is_int(last.code, PL_E_CORRUPT);
	if (!ok(strstr(last.text, word) != NULL))
		printf("# \"%s\" does not say \"%s\"\n", last.text, word);
}

pl_test("a whole image has no findings, closed in order or not")
{
	require(begin(true));
	check();
	is_int(n, 0);
	finish();
	require(begin(false));
	check();
	is_int(n, 0);
	finish();
}

pl_test("a check changes nothing")
{
	char *before, *after;
	uint64_t size;

	require(begin(false));
	is_int(pl_store_size(st, &size), 0);
	before = malloc(size);
	after = malloc(size);
	is_int(pl_store_read(st, before, size, 0, PL_IO_META), 0);
	check();
	is_int(pl_store_read(st, after, size, 0, PL_IO_META), 0);
	is_int(memcmp(before, after, size), 0);
	free(before);
	free(after);
	finish();
}

pl_test("names a damaged header copy although the other is good (FMT-011)")
{
	require(begin(true));
	flip(PL_PAGE + 90);
	finds("header copy B");
	is_int(last.offset, PL_PAGE);
	finish();
	require(begin(true));
	flip(90);
	finds("header copy A");
	finish();
}

pl_test("names a layer without a good header (FMT-011)")
{
	require(begin(true));
	flip(90);
	flip(PL_PAGE + 90);
	finds("header");
	finish();
}

pl_test("names a damaged directory page (FMT-032)")
{
	require(begin(true));
	flip(hdr.dir_off + 40);
	finds("directory");
	finish();
}

pl_test("names a damaged map page and what it was for (FMT-025)")
{
	uint64_t location;

	require(begin(true));
	location = edit_dir_entry(st, &hdr, 3).location;
	flip(location + 7);
	finds("map page 3");
	is_int(last.offset, location);
	finish();
}

pl_test("names a host cluster with two users (FMT-051)")
{
	require(begin(true));
	edit_entry(st, 9, (struct pl_entry){ hdr.first_cluster, 1 });
	finds("host cluster");
	finish();
}

pl_test("names two map pages at one place (FMT-051)")
{
	require(begin(true));
	edit_dir_write(st, &hdr, 5, edit_dir_entry(st, &hdr, 3));
	finds("map page");
	finish();
}

pl_test("names a file that ends in its metadata")
{
	require(begin(true));
	ok(pl_store_truncate(st, hdr.journal_off) == 0);
	finds("");
	finish();
}

pl_test("names a layer made on a parent that is not below it (FMT-018)")
{
	require(begin(true));
	hdr.parent.b[5] = 9;
	edit_header_write(st, &hdr);
	finds("not below it");
	finish();
}

pl_test("a damaged descriptor is a finding, not a failure")
{
	require(begin(true));
	scene_put_file(&sc, "image.json", "{\"format\":\"ploop-image\",", 24);
	check();
	is_int(n, 1);
	is_int(last.code, PL_E_CORRUPT);
	finish();
}

int main(void)
{
	return pl_tap_main();
}
