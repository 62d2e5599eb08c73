/* SPDX-License-Identifier: Apache-2.0 */
/* Creating and opening images. */
#include <errno.h>

#include "edit.h"
#include "scene.h"

static struct scene sc;

static int create(uint64_t size, uint32_t block_size, const char *label)
{
	struct pl_image_params p = { .size = size,
				     .block_size = block_size,
				     .label = label,
				     .fs = "ext4" };

	return pl_image_create(sc.dir, &p, &sc.err);
}

static bool begin(void)
{
	memset(&sc, 0, sizeof(sc));
	return pl_dir_memory(&sc.dir, 0) == 0;
}

pl_test("makes an image that says what was asked for")
{
	const struct pl_image_desc *d;

	require(begin());
	is_int(create(10 * MIB, 0, "ct1"), 0);
	require(scene_open(&sc, true));
	d = pl_image_desc(sc.img);
	is_int(d->size, 10 * MIB);
	is_int(d->block_size, 4096);
	is_str(d->label, "ct1");
	is_str(d->fs, "ext4");
	is_int(d->n_layers, 1);
	is_int(d->n_snapshots, 0);
	is_str(d->layers[0].id, d->top);
	is_int(pl_chain_size(sc.ch), 10 * MIB);
	ok(scene_holds(sc.ch, 0, 2560, 0));
	ok(scene_close(&sc));
	is_int(scene_check(&sc), 0);
	scene_fini(&sc);
}

pl_test("rounds the size up to whole blocks")
{
	require(begin());
	is_int(create(1, 65536, NULL), 0);
	require(scene_open(&sc, false));
	is_int(pl_image_desc(sc.img)->size, 65536);
	scene_fini(&sc);
}

static void refused(uint64_t size, uint32_t bs, const char *label,
		    const char *word)
{
	is_int(create(size, bs, label), -EINVAL);
	is_int(sc.err.code, PL_E_INVALID_ARGUMENT);
	if (!ok(strstr(sc.err.msg, word) != NULL))
		printf("# \"%s\" does not say \"%s\"\n", sc.err.msg, word);
}

pl_test("refuses what no image can be, naming it, and leaves nothing")
{
	char label[65];

	require(begin());
	memset(label, 'x', 64);
	label[64] = '\0';
	refused(0, 4096, NULL, "size 0");
	refused((64ull << 40) + 1, 4096, NULL, "size");
	refused(UINT64_MAX, 65536, NULL, "size");
	refused(MIB, 4097, NULL, "block size 4097");
	refused(MIB, 512, NULL, "block size 512");
	refused(MIB, 4096, label, "label");
	is_int(scene_layer_files(&sc), 0);
	is_int(create(64ull << 40, 4096, label + 1), 0);
	scene_fini(&sc);
}

pl_test("makes none where something is already")
{
	require(begin());
	is_int(create(MIB, 0, NULL), 0);
	is_int(create(MIB, 0, NULL), -EEXIST);
	is_int(sc.err.code, PL_E_EXISTS);
	pl_dir_close(sc.dir);
	require(begin());
	scene_put_file(&sc, "precious", "x", 1);
	is_int(create(MIB, 0, NULL), -EEXIST);
	scene_fini(&sc);
}

pl_test("clears up after a create that was interrupted (FMT-112)")
{
	require(begin());
	scene_put_file(&sc, "layers/11111111-1111-4111-8111-111111111111.plp",
		       "x", 1);
	scene_put_file(&sc, "image.json.new", "{", 1);
	is_int(create(MIB, 0, NULL), 0);
	is_int(scene_layer_files(&sc), 1);
	scene_fini(&sc);
}

pl_test("never removes a file that is not its own (FMT-112)")
{
	require(begin());
	scene_put_file(&sc, "layers/precious.txt", "x", 1);
	scene_put_file(&sc, "layers/1111111111111-4111-8111-1111111111111.plp",
		       "x", 1);
	create(MIB, 0, NULL);
	ok(scene_layer_files(&sc) >= 2);
	if (scene_open(&sc, false))
		ok(scene_layer_files(&sc) >= 2);
	scene_fini(&sc);
}

pl_test("a directory without a descriptor is no image (FMT-100)")
{
	require(begin());
	ok(pl_image_open(&sc.img, sc.dir, 0, "test", &sc.err) < 0);
	is_int(sc.err.code, PL_E_NOT_AN_IMAGE);
	ok(strstr(sc.err.msg, "image.json") != NULL);
	sc.img = NULL;
	scene_fini(&sc);
}

pl_test("a descriptor without its layer file is a damaged image (FMT-108)")
{
	char name[80];

	require(begin() && create(MIB, 0, NULL) == 0 && scene_open(&sc, false));
	snprintf(name, sizeof(name), "layers/%s.plp",
		 pl_image_desc(sc.img)->top);
	sc.dir->ops->unlink(sc.dir, name);
	ok(pl_image_open_chain(sc.img, NULL, true, NULL, &sc.ch, &sc.err) < 0);
	is_int(sc.err.code, PL_E_CORRUPT);
	ok(strstr(sc.err.msg, "missing") != NULL);
	scene_crash(&sc);
	ok(scene_check(&sc) > 0);
	scene_fini(&sc);
}

/* The top's header, edited. */
static void with_header(void (*edit)(struct pl_header *h), const char *word)
{
	struct pl_header hdr;
	struct pl_store *st;
	char name[80];

	require(begin() && create(MIB, 0, NULL) == 0 && scene_open(&sc, false));
	snprintf(name, sizeof(name), "layers/%s.plp",
		 pl_image_desc(sc.img)->top);
	require(sc.dir->ops->open(sc.dir, name, PL_OPEN_WRITE, &st, &sc.err) ==
		0);
	require(edit_header_read(st, &hdr));
	edit(&hdr);
	edit_header_write(st, &hdr);
	pl_store_close(st);
	ok(pl_image_open_chain(sc.img, NULL, false, NULL, &sc.ch, &sc.err) < 0);
	is_int(sc.err.code, PL_E_CORRUPT);
	if (!ok(strstr(sc.err.msg, word) != NULL))
		printf("# \"%s\" does not say \"%s\"\n", sc.err.msg, word);
	scene_crash(&sc);
	ok(scene_check(&sc) > 0);
	scene_fini(&sc);
}

static void other_uuid(struct pl_header *h)
{
	h->uuid.b[3] ^= 1;
}

static void other_block_size(struct pl_header *h)
{
	h->block_size = 8192;
	pl_header_layout(h, 1 << 20);
}

pl_test("a file that holds another layer is refused (FMT-108)")
{
	with_header(other_uuid, "another layer");
}

pl_test("so is a layer with another block size than the image (FMT-108)")
{
	with_header(other_block_size, "block size");
}

int main(void)
{
	return pl_tap_main();
}
