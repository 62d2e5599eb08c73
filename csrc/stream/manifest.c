/* SPDX-License-Identifier: Apache-2.0 */
/* The manifest as JSON (STR-020 ff.). */
#include "stream/manifest.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/uuid.h"
#include "format/format.h"
#include "stream/wire.h"

#define FORMAT_NAME "ploop-stream"

/* Features that a stream may name; a reader without one of them refuses. */
#define SHRINKS "shrink" /* some snapshot is smaller than the one before */

static const char *const features[] = { "zstd", SHRINKS };

/* ---- writing ---- */

static json_t *text_or_null(const char *text)
{
	return *text ? json_string(text) : json_null();
}

static json_t *snapshot_json(const struct stream_snapshot *s)
{
	return json_pack("{s:s, s:o, s:o, s:s, s:s, s:I}", "id", s->snap.id,
			 "name", text_or_null(s->snap.name), "description",
			 text_or_null(s->snap.description), "created",
			 s->snap.created, "layer", s->snap.layer, "size",
			 (json_int_t)s->size);
}

static json_t *image_json(const struct stream_manifest *m)
{
	return json_pack("{s:s, s:o, s:s, s:s, s:I, s:b}", "id", m->image,
			 "label", text_or_null(m->label), "fs", m->fs,
			 "created", m->created, "blockSize",
			 (json_int_t)m->block_size, "checksums", m->checksums);
}

static json_t *resume_json(const struct stream_manifest *m)
{
	if (!m->first && !m->start)
		return json_null();
	return json_pack("{s:s, s:I}", "snapshot", m->list[m->first].snap.id,
			 "offset", (json_int_t)m->start);
}

char *manifest_encode(const struct stream_manifest *m)
{
	json_t *list = json_array(), *names = json_array(), *root;
	char *text = NULL;

	for (unsigned i = 0; i < m->n; i++)
		json_array_append_new(list, snapshot_json(&m->list[i]));
	for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++)
		if (m->shrinks || strcmp(features[i], SHRINKS) != 0)
			json_array_append_new(names, json_string(features[i]));
	root = json_pack("{s:s, s:i, s:o, s:o, s:o, s:I, s:o, s:o}", "format",
			 FORMAT_NAME, "version", STREAM_VERSION, "features",
			 names, "image", image_json(m), "from",
			 text_or_null(m->from), "bytes", (json_int_t)m->bytes,
			 "snapshots", list, "resume", resume_json(m));
	if (root && json_array_size(list) == m->n)
		text = json_dumps(root, JSON_COMPACT);
	json_decref(root);
	return text;
}

/* ---- reading ---- */

static int bad(struct pl_err *err, const char *what)
{
	return pl_err_set(err, PL_E_BAD_STREAM, EBADMSG,
			  "manifest: %s is missing or not valid", what);
}

static bool get_text(const json_t *obj, const char *key, char *ret, size_t size)
{
	const json_t *v = json_object_get(obj, key);
	const char *text = json_string_value(v);

	ret[0] = '\0';
	if (json_is_null(v))
		return true;
	if (!text || strlen(text) >= size ||
	    strlen(text) != json_string_length(v))
		return false;
	memcpy(ret, text, strlen(text) + 1);
	return true;
}

static bool get_id(const json_t *obj, const char *key, char *ret, bool needed)
{
	struct pl_uuid uuid;

	if (!get_text(obj, key, ret, PL_ID_LEN + 1))
		return false;
	return *ret ? pl_uuid_parse(ret, &uuid) : !needed;
}

static bool get_number(const json_t *obj, const char *key, uint64_t *ret)
{
	const json_t *v = json_object_get(obj, key);

	*ret = (uint64_t)json_integer_value(v);
	return json_is_integer(v) && json_integer_value(v) >= 0;
}

static int read_features(const json_t *root, struct stream_manifest *m,
			 struct pl_err *err)
{
	const json_t *list = json_object_get(root, "features"), *v;
	size_t i, k, n = sizeof(features) / sizeof(features[0]);

	if (!json_is_array(list))
		return bad(err, "\"features\"");
	json_array_foreach(list, i, v) {
		const char *name = json_string_value(v);

		for (k = 0; name && k < n; k++)
			if (strcmp(name, features[k]) == 0)
				break;
		if (!name)
			return bad(err, "\"features\"");
		if (k == n)
			return pl_err_set(err, PL_E_UNSUPPORTED_FEATURE,
					  EOPNOTSUPP,
					  "the stream needs the feature "
					  "\"%.60s\", which this version lacks",
					  name);
		m->shrinks = m->shrinks || strcmp(name, SHRINKS) == 0;
	}
	return 0;
}

static int read_image(const json_t *root, struct stream_manifest *m,
		      struct pl_err *err)
{
	const json_t *image = json_object_get(root, "image");
	uint64_t block_size;

	if (!get_id(image, "id", m->image, true) ||
	    !get_text(image, "label", m->label, sizeof(m->label)) ||
	    !get_text(image, "fs", m->fs, sizeof(m->fs)) || !m->fs[0] ||
	    !get_text(image, "created", m->created, sizeof(m->created)) ||
	    !get_number(image, "blockSize", &block_size) ||
	    block_size > UINT32_MAX ||
	    !pl_block_size_valid((uint32_t)block_size) ||
	    !json_is_boolean(json_object_get(image, "checksums")))
		return bad(err, "\"image\"");
	m->block_size = (uint32_t)block_size;
	m->checksums = json_is_true(json_object_get(image, "checksums"));
	return 0;
}

static bool read_snapshot(const json_t *v, const struct stream_manifest *m,
			  struct stream_snapshot *s)
{
	return get_id(v, "id", s->snap.id, true) &&
	       get_id(v, "layer", s->snap.layer, true) &&
	       get_text(v, "name", s->snap.name, sizeof(s->snap.name)) &&
	       get_text(v, "description", s->snap.description,
			sizeof(s->snap.description)) &&
	       get_text(v, "created", s->snap.created,
			sizeof(s->snap.created)) &&
	       get_number(v, "size", &s->size) && s->size > 0 &&
	       s->size % m->block_size == 0 &&
	       s->size / m->block_size <= PL_MAX_BLOCKS;
}

static bool is_twice(const struct stream_manifest *m, unsigned i)
{
	for (unsigned k = 0; k < i; k++)
		if (strcmp(m->list[k].snap.id, m->list[i].snap.id) == 0 ||
		    strcmp(m->list[k].snap.layer, m->list[i].snap.layer) == 0 ||
		    (m->list[k].snap.name[0] &&
		     strcmp(m->list[k].snap.name, m->list[i].snap.name) == 0))
			return true;
	return strcmp(m->list[i].snap.id, m->from) == 0;
}

static int read_snapshots(const json_t *root, struct stream_manifest *m,
			  struct pl_err *err)
{
	const json_t *list = json_object_get(root, "snapshots"), *v;
	size_t i, n = json_array_size(list);

	if (n == 0 || n > MANIFEST_SNAPSHOTS_MAX)
		return bad(err, "\"snapshots\"");
	m->list = calloc(n, sizeof(*m->list));
	if (!m->list)
		return pl_err_sys(err, -ENOMEM, "manifest");
	m->n = (unsigned)n;
	json_array_foreach(list, i, v)
		if (!read_snapshot(v, m, &m->list[i]) ||
		    is_twice(m, (unsigned)i) ||
		    (!m->shrinks && i > 0 &&
		     m->list[i].size < m->list[i - 1].size))
			return bad(err, "an entry of \"snapshots\"");
	return 0;
}

static int read_resume(const json_t *root, struct stream_manifest *m,
		       struct pl_err *err)
{
	const json_t *v = json_object_get(root, "resume");
	char id[PL_ID_LEN + 1];

	if (json_is_null(v))
		return 0;
	if (!get_id(v, "snapshot", id, true) ||
	    !get_number(v, "offset", &m->start))
		return bad(err, "\"resume\"");
	while (m->first < m->n && strcmp(m->list[m->first].snap.id, id) != 0)
		m->first++;
	if (m->first == m->n || m->start % m->block_size ||
	    m->start > m->list[m->first].size)
		return bad(err, "\"resume\"");
	return 0;
}

static int read_root(const json_t *root, struct stream_manifest *m,
		     struct pl_err *err)
{
	char format[32];
	int rc;

	if (!get_text(root, "format", format, sizeof(format)) ||
	    strcmp(format, FORMAT_NAME) != 0)
		return bad(err, "\"format\"");
	rc = read_features(root, m, err);
	if (rc == 0)
		rc = read_image(root, m, err);
	if (rc == 0 && (!get_id(root, "from", m->from, false) ||
			!get_number(root, "bytes", &m->bytes)))
		rc = bad(err, "\"from\" or \"bytes\"");
	if (rc == 0)
		rc = read_snapshots(root, m, err);
	return rc == 0 ? read_resume(root, m, err) : rc;
}

int manifest_decode(const char *text, size_t len, struct stream_manifest *ret,
		    struct pl_err *err)
{
	json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	int rc;

	memset(ret, 0, sizeof(*ret));
	rc = root ? read_root(root, ret, err) : bad(err, "JSON");
	json_decref(root);
	if (rc < 0)
		manifest_free(ret);
	return rc;
}

void manifest_free(struct stream_manifest *m)
{
	free(m->list);
	memset(m, 0, sizeof(*m));
}
