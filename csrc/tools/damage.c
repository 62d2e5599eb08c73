/* SPDX-License-Identifier: Apache-2.0 */
/*
 * damage IMAGE NAME [LAYER]: makes exactly one fault, chosen by name, in an
 * otherwise valid image; `damage --list` lists the names. For tests.
 *
 * The fault is in the layer whose id begins with LAYER; without it, in the
 * top. What hangs on a changed page (checksums above it) is made right again,
 * unless the checksum is the fault.
 *
 * test/c/image includes this file with PL_DAMAGE_LIBRARY defined.
 */
#include "tools/damage_layer.h"

/* ---- the descriptor ---- */

static int write_text(struct damage *d, const char *text)
{
	struct pl_store *st;
	int rc = d->dir->ops->open(d->dir, "image.json", PL_OPEN_WRITE, &st,
				   NULL);

	if (rc < 0)
		return rc;
	rc = pl_store_truncate(st, 0);
	if (rc == 0)
		rc = pl_store_write(st, text, strlen(text), 0, PL_IO_META);
	if (rc == 0)
		rc = pl_store_sync(st);
	pl_store_close(st);
	return rc;
}

static int write_descriptor(struct damage *d)
{
	char *text = json_dumps(d->desc, JSON_INDENT(2));
	int rc = text ? write_text(d, text) : -ENOMEM;

	free(text);
	return rc;
}

static int descriptor_json(struct damage *d)
{
	return write_text(d, "{\"format\": \"ploop-image\", ");
}

static int descriptor_empty(struct damage *d)
{
	return write_text(d, "");
}

static int descriptor_top(struct damage *d)
{
	json_object_set_new(
		d->desc, "top",
		json_string("00000000-0000-4000-8000-000000000000"));
	return write_descriptor(d);
}

static int descriptor_size(struct damage *d)
{
	json_object_set_new(d->desc, "size", json_string("large"));
	return write_descriptor(d);
}

/* The first layer builds on the last. */
static int descriptor_cycle(struct damage *d)
{
	json_t *layers = json_object_get(d->desc, "layers");
	size_t n = json_array_size(layers);
	json_t *last = json_array_get(layers, n - 1);

	json_object_set(json_array_get(layers, 0), "parent",
			json_object_get(last, "id"));
	return write_descriptor(d);
}

/* ---- the table ---- */

static const struct {
	const char *name, *what;
	damage_fn *fn;
} damages[] = {
	{ "header-a", "a flipped bit in header copy A", header_a },
	{ "header-b", "a flipped bit in header copy B", header_b },
	{ "header-both", "a flipped bit in both copies", header_both },
	{ "magic", "no magic in either copy", magic },
	{ "version", "a format version of the future", version },
	{ "feature", "an unknown incompatible feature", feature },
	{ "directory-used", "the count of directory pages is 0",
	  directory_used },
	{ "directory-crc", "a directory page with a bad checksum only",
	  directory_crc },
	{ "directory-entry", "a flipped bit in a directory entry",
	  directory_entry },
	{ "directory-location", "a map page inside the metadata",
	  directory_location },
	{ "directory-zeros", "a directory page of zeros", directory_zeros },
	{ "map-page-crc", "a flipped bit in a map page", map_page_crc },
	{ "map-page-shared", "two map pages at one place", map_page_shared },
	{ "entry-into-metadata", "an entry into the first clusters",
	  entry_into_metadata },
	{ "entry-into-map", "an entry into the map's own cluster",
	  entry_into_map },
	{ "entry-beyond-end", "an entry far beyond the file's end",
	  entry_beyond_end },
	{ "entry-reserved", "an entry with a reserved bit", entry_reserved },
	{ "entry-duplicate", "two entries with one host cluster",
	  entry_duplicate },
	{ "owned-beyond-disk", "an entry that owns a block beyond the disk",
	  owned_beyond_disk },
	{ "unowned-data", "a byte in a block that nobody owns", unowned_data },
	{ "journal-record", "a flipped bit in a record that others follow",
	  journal_record },
	{ "truncated", "a file without its last cluster", truncated },
	{ "short-file", "an empty layer without the end of its metadata",
	  short_file },
	{ "data-bitflip", "a flipped bit in a block's data", data_bitflip },
	{ "checksum-page", "a flipped bit in the block checksums",
	  checksum_page },
	{ "missing-layer", "no file", missing_layer },
	{ "foreign-layer", "another layer's file", foreign_layer },
	{ "foreign-parent", "a layer made on one that is not below it",
	  foreign_parent },
	{ "foreign-block-size", "another block size than the image",
	  foreign_block_size },
	{ "descriptor-json", "a descriptor that is no JSON", descriptor_json },
	{ "descriptor-empty", "an empty descriptor", descriptor_empty },
	{ "descriptor-top", "a top that is not among the layers",
	  descriptor_top },
	{ "descriptor-size", "a size that is no number", descriptor_size },
	{ "descriptor-cycle", "a layer that builds on itself",
	  descriptor_cycle },
};

#define N_DAMAGES (sizeof(damages) / sizeof(damages[0]))

/* ---- doing it ---- */

static json_t *load_descriptor(struct pl_dir *dir)
{
	struct pl_store *st;
	uint64_t size;
	json_t *root = NULL;
	char *text;

	if (dir->ops->open(dir, "image.json", 0, &st, NULL) < 0)
		return NULL;
	if (pl_store_size(st, &size) == 0 && (text = malloc(size)) != NULL) {
		if (pl_store_read(st, text, size, 0, PL_IO_META) == 0)
			root = json_loadb(text, size, 0, NULL);
		free(text);
	}
	pl_store_close(st);
	return root;
}

/* The id that begins with `layer`, or the top's. */
static int choose_layer(struct damage *d, const char *layer)
{
	const char *id = json_string_value(json_object_get(d->desc, "top"));
	json_t *one;
	size_t i;

	json_array_foreach(json_object_get(d->desc, "layers"), i, one) {
		const char *text =
			json_string_value(json_object_get(one, "id"));

		if (layer && text && !strncmp(text, layer, strlen(layer)))
			id = text;
	}
	if (!id || (layer && strncmp(id, layer, strlen(layer)) != 0))
		return -ENOENT;
	snprintf(d->layer, sizeof(d->layer), "%s", id);
	snprintf(d->file, sizeof(d->file), "layers/%s.plp", id);
	return 0;
}

static int damage_layer(struct damage *d, damage_fn *fn)
{
	int rc =
		d->dir->ops->open(d->dir, d->file, PL_OPEN_WRITE, &d->st, NULL);

	if (rc < 0)
		return rc;
	rc = read_header(d);
	if (rc == 0)
		rc = fn(d);
	if (rc == 0)
		rc = pl_store_sync(d->st);
	pl_store_close(d->st);
	return rc;
}

/* -ENODATA: the image has nothing that can be damaged so; -EINVAL: no name. */
static int damage_image(struct pl_dir *dir, const char *name, const char *layer)
{
	struct damage d = { .dir = dir };
	int rc = -EINVAL;

	d.desc = load_descriptor(dir);
	if (!d.desc)
		return -ENOENT;
	for (size_t i = 0; i < N_DAMAGES; i++) {
		if (strcmp(damages[i].name, name) != 0)
			continue;
		rc = choose_layer(&d, layer);
		if (rc == 0)
			rc = damage_layer(&d, damages[i].fn);
	}
	json_decref(d.desc);
	return rc;
}

#ifndef PL_DAMAGE_LIBRARY
static int list(void)
{
	for (size_t i = 0; i < N_DAMAGES; i++)
		printf("%-20s %s\n", damages[i].name, damages[i].what);
	return 0;
}

int main(int argc, char **argv)
{
	struct pl_dir *dir;
	struct pl_err err;
	int rc;

	if (argc == 2 && strcmp(argv[1], "--list") == 0)
		return list();
	if (argc != 3 && argc != 4) {
		fprintf(stderr, "usage: damage IMAGE NAME [LAYER]\n"
				"       damage --list\n");
		return 2;
	}
	if (pl_dir_open(&dir, argv[1], 0, NULL, &err) < 0) {
		fprintf(stderr, "damage: %s\n", err.msg);
		return 1;
	}
	rc = damage_image(dir, argv[2], argc == 4 ? argv[3] : NULL);
	pl_dir_close(dir);
	if (rc < 0)
		fprintf(stderr, "damage: %s: %s\n", argv[2],
			rc == -ENODATA ? "this layer has nothing to damage so" :
			rc == -EINVAL  ? "no such damage (see --list)" :
					 strerror(-rc));
	return rc < 0;
}
#endif
