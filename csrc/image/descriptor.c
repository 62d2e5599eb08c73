/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The descriptor, image.json: read, checked, replaced (docs/format.md,
 * FMT-100 ff.). It names layers by id, never by path, so nothing in it can
 * lead out of the image.
 */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/uuid.h"
#include "image/image_int.h"

#define FORMAT_NAME "ploop-image"
#define FORMAT_VERSION 1
#define SIZE_MAX_BYTES (4u << 20)

/* ---- small things ---- */

void iso_now(char *ret, size_t size)
{
	time_t now = time(NULL);
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(ret, size, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

void descriptor_free(struct pl_image_desc *desc)
{
	free(desc->layers);
	free(desc->snapshots);
	memset(desc, 0, sizeof(*desc));
}

static void *copy_array(const void *from, size_t n, size_t size)
{
	void *to = calloc(n ? n : 1, size);

	if (to && n)
		memcpy(to, from, n * size);
	return to;
}

int descriptor_copy(const struct pl_image_desc *from, struct pl_image_desc *to)
{
	*to = *from;
	to->layers =
		copy_array(from->layers, from->n_layers, sizeof(*from->layers));
	to->snapshots = copy_array(from->snapshots, from->n_snapshots,
				   sizeof(*from->snapshots));
	if (to->layers && to->snapshots)
		return 0;
	descriptor_free(to);
	return -ENOMEM;
}

int descriptor_add_layer(struct pl_image_desc *desc,
			 const struct pl_image_layer *layer)
{
	void *p = realloc(desc->layers, (desc->n_layers + 1) * sizeof(*layer));

	if (!p)
		return -ENOMEM;
	desc->layers = p;
	desc->layers[desc->n_layers++] = *layer;
	return 0;
}

int descriptor_add_snapshot(struct pl_image_desc *desc,
			    const struct pl_image_snapshot *snap)
{
	void *p = realloc(desc->snapshots,
			  (desc->n_snapshots + 1) * sizeof(*snap));

	if (!p)
		return -ENOMEM;
	desc->snapshots = p;
	desc->snapshots[desc->n_snapshots++] = *snap;
	return 0;
}

void descriptor_drop_layer(struct pl_image_desc *desc, const char *id)
{
	unsigned keep = 0;

	for (unsigned i = 0; i < desc->n_layers; i++)
		if (strcmp(desc->layers[i].id, id) != 0)
			desc->layers[keep++] = desc->layers[i];
	desc->n_layers = keep;
}

void descriptor_drop_snapshot(struct pl_image_desc *desc, const char *id)
{
	unsigned keep = 0;

	for (unsigned i = 0; i < desc->n_snapshots; i++)
		if (strcmp(desc->snapshots[i].id, id) != 0)
			desc->snapshots[keep++] = desc->snapshots[i];
	desc->n_snapshots = keep;
}

struct pl_image_layer *descriptor_layer(const struct pl_image_desc *desc,
					const char *id)
{
	for (unsigned i = 0; i < desc->n_layers; i++)
		if (strcmp(desc->layers[i].id, id) == 0)
			return &desc->layers[i];
	return NULL;
}

struct pl_image_snapshot *descriptor_snapshot_of(const struct pl_image_desc *d,
						 const char *layer_id)
{
	for (unsigned i = 0; i < d->n_snapshots; i++)
		if (strcmp(d->snapshots[i].layer, layer_id) == 0)
			return &d->snapshots[i];
	return NULL;
}

/* ---- reading ---- */

static int bad(struct pl_err *err, const char *what)
{
	return pl_err_set(err, PL_E_CORRUPT, EUCLEAN,
			  DESCRIPTOR ": %s is missing or not valid", what);
}

/* A string that fits; absent is "" unless needed. */
static bool get_text(const json_t *obj, const char *key, char *ret, size_t size,
		     bool needed)
{
	const json_t *v = json_object_get(obj, key);
	const char *text;

	ret[0] = '\0';
	if (!v || json_is_null(v))
		return !needed;
	text = json_string_value(v);
	if (!text || strlen(text) >= size)
		return false;
	memcpy(ret, text, strlen(text) + 1);
	return true;
}

static bool get_id(const json_t *obj, const char *key, char *ret, bool needed)
{
	struct pl_uuid uuid;

	return get_text(obj, key, ret, PL_ID_LEN + 1, needed) &&
	       (!ret[0] ? !needed : pl_uuid_parse(ret, &uuid));
}

static bool get_size(const json_t *obj, const char *key, uint64_t *ret)
{
	const json_t *v = json_object_get(obj, key);

	if (!json_is_integer(v) || json_integer_value(v) <= 0)
		return false;
	*ret = (uint64_t)json_integer_value(v);
	return true;
}

/* true or false; absent is false. */
static bool get_flag(const json_t *obj, const char *key, bool *ret)
{
	const json_t *v = json_object_get(obj, key);

	*ret = json_is_true(v);
	return !v || json_is_boolean(v);
}

/* Absent is "block". */
static bool get_discard(const json_t *obj, enum pl_discard *ret)
{
	const json_t *v = json_object_get(obj, "discard");

	*ret = PL_DISCARD_BLOCK;
	return !v || (json_is_string(v) &&
		      pl_discard_parse(json_string_value(v), ret));
}

static int read_layers(const json_t *root, struct pl_image_desc *desc,
		       struct pl_err *err)
{
	const json_t *list = json_object_get(root, "layers"), *v;
	struct pl_image_layer layer;
	size_t i;

	if (!json_is_array(list) || json_array_size(list) == 0)
		return bad(err, "\"layers\"");
	json_array_foreach(list, i, v) {
		if (!get_id(v, "id", layer.id, true) ||
		    !get_id(v, "parent", layer.parent, false) ||
		    !get_size(v, "size", &layer.size))
			return bad(err, "an entry of \"layers\"");
		if (descriptor_add_layer(desc, &layer) < 0)
			return pl_err_sys(err, -ENOMEM, DESCRIPTOR);
	}
	return 0;
}

static int read_snapshots(const json_t *root, struct pl_image_desc *desc,
			  struct pl_err *err)
{
	const json_t *list = json_object_get(root, "snapshots"), *v;
	struct pl_image_snapshot s;
	size_t i;

	if (!json_is_array(list))
		return bad(err, "\"snapshots\"");
	json_array_foreach(list, i, v) {
		if (!get_id(v, "id", s.id, true) ||
		    !get_id(v, "layer", s.layer, true) ||
		    !get_text(v, "name", s.name, sizeof(s.name), false) ||
		    !get_text(v, "description", s.description,
			      sizeof(s.description), false) ||
		    !get_text(v, "created", s.created, sizeof(s.created), true))
			return bad(err, "an entry of \"snapshots\"");
		if (!get_flag(v, "hidden", &s.hidden))
			return bad(err, "\"hidden\" of a snapshot");
		if (!get_text(v, "holder", s.holder, sizeof(s.holder), false))
			return bad(err, "\"holder\" of a snapshot");
		if (!descriptor_layer(desc, s.layer))
			return bad(err, "the layer of a snapshot");
		if (descriptor_add_snapshot(desc, &s) < 0)
			return pl_err_sys(err, -ENOMEM, DESCRIPTOR);
	}
	return 0;
}

static int decode(const json_t *root, struct pl_image_desc *desc,
		  struct pl_err *err)
{
	const char *format = json_string_value(json_object_get(root, "format"));
	json_int_t version =
		json_integer_value(json_object_get(root, "version"));
	uint64_t bs;
	int rc;

	if (!format || strcmp(format, FORMAT_NAME) != 0)
		return pl_err_set(err, PL_E_NOT_AN_IMAGE, EINVAL,
				  DESCRIPTOR " does not describe an image");
	if (version != FORMAT_VERSION)
		return pl_err_set(err, PL_E_UNSUPPORTED_FEATURE, EOPNOTSUPP,
				  DESCRIPTOR " has version %lld; this program "
					     "knows version %d",
				  (long long)version, FORMAT_VERSION);
	if (!get_id(root, "id", desc->id, true))
		return bad(err, "\"id\"");
	if (!get_text(root, "label", desc->label, sizeof(desc->label), false) ||
	    !get_text(root, "fs", desc->fs, sizeof(desc->fs), false) ||
	    !get_text(root, "created", desc->created, sizeof(desc->created),
		      true))
		return bad(err, "\"label\", \"fs\" or \"created\"");
	if (!get_size(root, "size", &desc->size))
		return bad(err, "\"size\"");
	if (!get_size(root, "blockSize", &bs) || bs > PL_BLOCK_MAX ||
	    !pl_block_size_valid((uint32_t)bs))
		return bad(err, "\"blockSize\"");
	desc->block_size = (uint32_t)bs;
	desc->checksums = json_is_true(json_object_get(root, "checksums"));
	if (!get_discard(root, &desc->discard))
		return bad(err, "\"discard\"");
	if (!get_id(root, "top", desc->top, true))
		return bad(err, "\"top\"");
	rc = read_layers(root, desc, err);
	if (rc == 0)
		rc = read_snapshots(root, desc, err);
	return rc < 0 ? rc : descriptor_check_tree(desc, err);
}

static int read_text(struct pl_dir *dir, char **ret, size_t *ret_len,
		     struct pl_err *err)
{
	struct pl_store *st;
	uint64_t size;
	char *text;
	int rc = dir->ops->open(dir, DESCRIPTOR, 0, &st, err);

	if (rc == -ENOENT)
		return pl_err_set(err, PL_E_NOT_AN_IMAGE, ENOENT,
				  "%s is not an image: it has no " DESCRIPTOR,
				  dir->path);
	if (rc < 0)
		return rc;
	rc = pl_store_size(st, &size);
	if (rc == 0 && size > SIZE_MAX_BYTES) {
		pl_store_close(st);
		return pl_err_set(err, PL_E_CORRUPT, EFBIG,
				  "%s/" DESCRIPTOR " has %llu bytes; at most "
				  "%u",
				  dir->path, (unsigned long long)size,
				  SIZE_MAX_BYTES);
	}
	text = rc == 0 ? malloc(size + 1) : NULL;
	if (rc == 0)
		rc = text ? pl_store_read(st, text, size, 0, PL_IO_META) :
			    -ENOMEM;
	pl_store_close(st);
	if (rc < 0) {
		free(text);
		return pl_err_sys(err, rc, "%s/" DESCRIPTOR, dir->path);
	}
	*ret = text;
	*ret_len = size;
	return 0;
}

int descriptor_load(struct pl_dir *dir, struct pl_image_desc *ret,
		    struct pl_err *err)
{
	json_error_t jerr;
	json_t *root;
	char *text = NULL;
	size_t len = 0;
	int rc = read_text(dir, &text, &len, err);

	if (rc < 0)
		return rc;
	memset(ret, 0, sizeof(*ret));
	root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &jerr);
	free(text);
	if (!root)
		return pl_err_set(err, PL_E_CORRUPT, EUCLEAN,
				  "%s/" DESCRIPTOR ": line %d: %s", dir->path,
				  jerr.line, jerr.text);
	rc = decode(root, ret, err);
	json_decref(root);
	if (rc < 0) {
		pl_err_wrap(err, "%s", dir->path);
		descriptor_free(ret);
	}
	return rc;
}

/* ---- writing ---- */

/*
 * Without memory jansson returns NULL; json_array_append_new() refuses NULL and
 * json_pack() fails on it. Nothing may be left out silently: a shorter list
 * would be a descriptor that forgets layers.
 */
static json_t *text_or_null(const char *text)
{
	return text[0] ? json_string(text) : json_null();
}

static json_t *give_up(json_t *list)
{
	json_decref(list);
	return NULL;
}

static json_t *encode_layers(const struct pl_image_desc *desc)
{
	json_t *list = json_array(), *v;

	for (unsigned i = 0; list && i < desc->n_layers; i++) {
		v = json_pack("{s:s, s:o, s:I}", "id", desc->layers[i].id,
			      "parent", text_or_null(desc->layers[i].parent),
			      "size", (json_int_t)desc->layers[i].size);
		if (json_array_append_new(list, v) < 0)
			return give_up(list);
	}
	return list;
}

static json_t *encode_snapshots(const struct pl_image_desc *desc)
{
	json_t *list = json_array(), *v;

	for (unsigned i = 0; list && i < desc->n_snapshots; i++) {
		const struct pl_image_snapshot *s = &desc->snapshots[i];

		v = json_pack("{s:s, s:s, s:o, s:o, s:s, s:b}", "id", s->id,
			      "layer", s->layer, "name", text_or_null(s->name),
			      "description", text_or_null(s->description),
			      "created", s->created, "hidden", s->hidden);
		/* Only where it is set: older programs do not know it. */
		if (v && s->holder[0] &&
		    json_object_set_new(v, "holder", json_string(s->holder)) <
			    0)
			v = give_up(v);
		if (json_array_append_new(list, v) < 0)
			return give_up(list);
	}
	return list;
}

/* jansson ignores some failed appends while dumping: read it back. */
static char *dump(const json_t *root)
{
	char *text = json_dumps(root, JSON_INDENT(2));
	json_t *back = text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) :
			      NULL;

	if (!back || !json_equal(root, back)) {
		free(text);
		text = NULL;
	}
	json_decref(back);
	return text;
}

static char *encode(const struct pl_image_desc *desc)
{
	json_t *root = json_pack(
		"{s:s, s:i, s:s, s:o, s:s, s:s, s:I, s:i, s:s, s:o, s:o}",
		"format", FORMAT_NAME, "version", FORMAT_VERSION, "id",
		desc->id, "label", text_or_null(desc->label), "fs", desc->fs,
		"created", desc->created, "size", (json_int_t)desc->size,
		"blockSize", (int)desc->block_size, "top", desc->top, "layers",
		encode_layers(desc), "snapshots", encode_snapshots(desc));
	char *text;

	/* Only where it is set: older programs do not know it. */
	if (root && desc->checksums &&
	    json_object_set_new(root, "checksums", json_true()) < 0)
		root = give_up(root);
	if (root && desc->discard != PL_DISCARD_BLOCK &&
	    json_object_set_new(root, "discard",
				json_string(pl_discard_name(desc->discard))) <
		    0)
		root = give_up(root);
	text = root ? dump(root) : NULL;
	json_decref(root);
	return text;
}

int descriptor_prepare(struct pl_dir *dir, const struct pl_image_desc *desc,
		       struct pl_err *err)
{
	char *text = encode(desc);
	int rc;

	if (!text)
		return pl_err_sys(err, -ENOMEM, DESCRIPTOR);
	rc = pl_dir_write_new(dir, DESCRIPTOR_NEW, text, err);
	free(text);
	return rc;
}

int descriptor_publish(struct pl_dir *dir, struct pl_err *err)
{
	int rc = dir->ops->rename(dir, DESCRIPTOR_NEW, DESCRIPTOR);

	return rc < 0 ? pl_err_sys(err, rc, "%s/" DESCRIPTOR, dir->path) : 0;
}

int descriptor_store(struct pl_dir *dir, const struct pl_image_desc *desc,
		     struct pl_err *err)
{
	int rc = descriptor_prepare(dir, desc, err);

	if (rc == 0)
		rc = descriptor_publish(dir, err);
	if (rc < 0)
		return rc;
	rc = dir->ops->sync(dir, "");
	if (rc < 0) {
		pl_err_sys(err, rc,
			   "%s/" DESCRIPTOR " is replaced, but the host can't "
			   "make that durable",
			   dir->path);
		return -ESTALE;
	}
	return 0;
}

int descriptor_commit(struct pl_image *img, struct pl_image_desc *next,
		      struct pl_err *err)
{
	int rc;

	snapshot_forget_prepared(img);
	rc = descriptor_store(img->dir, next, err);
	if (rc < 0 && rc != -ESTALE) {
		descriptor_free(next);
		return rc;
	}
	descriptor_free(&img->desc);
	img->desc = *next;
	return rc;
}
