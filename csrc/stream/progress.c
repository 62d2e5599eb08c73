/* SPDX-License-Identifier: Apache-2.0 */
/* receiving.json: see progress.h. */
#include "stream/progress.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/uuid.h"
#include "store/store.h"

#define FILE_BYTES_MAX (1u << 20)
#define PART_SUFFIX ".part"

void part_name(const char *layer_id, char name[PART_NAME_MAX])
{
	snprintf(name, PART_NAME_MAX, "layers/%s" PART_SUFFIX, layer_id);
}

int progress_add(struct progress *p, const char *snapshot, const char *layer)
{
	struct received *list = realloc(p->list, (p->n + 1) * sizeof(*list));

	if (!list)
		return -ENOMEM;
	p->list = list;
	snprintf(list[p->n].snapshot, sizeof(list->snapshot), "%s", snapshot);
	snprintf(list[p->n].layer, sizeof(list->layer), "%s", layer);
	p->n++;
	return 0;
}

void progress_free(struct progress *p)
{
	free(p->list);
	memset(p, 0, sizeof(*p));
}

/* ---- writing ---- */

static char *encode(const struct progress *p)
{
	json_t *list = json_array(), *root;
	char token[TOKEN_TEXT], *text;

	for (unsigned i = 0; i < p->n; i++)
		json_array_append_new(list,
				      json_pack("{s:s, s:s}", "snapshot",
						p->list[i].snapshot, "layer",
						p->list[i].layer));
	token_format(&p->token, token);
	root = json_pack("{s:i, s:s, s:o}", "version", 1, "token", token,
			 "layers", list);
	text = json_dumps(root, JSON_COMPACT);
	json_decref(root);
	return text;
}

static int write_file(struct pl_dir *dir, const char *text, struct pl_err *err)
{
	int rc = pl_dir_replace(dir, PROGRESS_FILE, PROGRESS_NEW, text, err);

	if (rc < 0)
		return rc;
	rc = dir->ops->sync(dir, "");
	return rc < 0 ? pl_err_sys(err, rc, "%s/" PROGRESS_FILE, dir->path) : 0;
}

int progress_save(struct pl_dir *dir, const struct progress *p,
		  struct pl_err *err)
{
	char *text = encode(p);
	int rc = text ? write_file(dir, text, err) :
			pl_err_sys(err, -ENOMEM, PROGRESS_FILE);

	free(text);
	return rc;
}

/* ---- reading ---- */

static bool read_layers(const json_t *root, struct progress *p)
{
	const json_t *list = json_object_get(root, "layers"), *v;
	struct pl_uuid uuid;
	size_t i;

	json_array_foreach(list, i, v) {
		const char *snapshot =
			json_string_value(json_object_get(v, "snapshot"));
		const char *layer =
			json_string_value(json_object_get(v, "layer"));

		if (!snapshot || !layer || !pl_uuid_parse(snapshot, &uuid) ||
		    !pl_uuid_parse(layer, &uuid) ||
		    progress_add(p, snapshot, layer) < 0)
			return false;
	}
	return p->n > 0 &&
	       strcmp(p->list[p->n - 1].snapshot, p->token.snapshot) == 0;
}

static int decode(struct pl_dir *dir, const char *text, size_t len,
		  struct progress *ret, struct pl_err *err)
{
	json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	const char *token = json_string_value(json_object_get(root, "token"));
	int rc = 0;

	if (!token || token_parse(token, &ret->token, NULL) < 0 ||
	    !read_layers(root, ret))
		rc = pl_err_set(err, PL_E_CORRUPT, EUCLEAN,
				"%s/" PROGRESS_FILE ": what an interrupted "
				"transfer left can't be gone on with; start "
				"again, without the token",
				dir->path);
	json_decref(root);
	if (rc < 0)
		progress_free(ret);
	return rc;
}

int progress_load(struct pl_dir *dir, struct progress *ret, struct pl_err *err)
{
	struct pl_store *st;
	uint64_t size = 0;
	char *text = NULL;
	int rc = dir->ops->open(dir, PROGRESS_FILE, 0, &st, NULL);

	memset(ret, 0, sizeof(*ret));
	if (rc == -ENOENT)
		return pl_err_set(err, PL_E_NOT_FOUND, ENOENT,
				  "%s: no interrupted transfer was kept",
				  dir->path);
	if (rc == 0) {
		rc = pl_store_size(st, &size);
		if (rc == 0 && size > FILE_BYTES_MAX)
			rc = -E2BIG;
		text = rc == 0 ? malloc(size + 1) : NULL;
		if (rc == 0)
			rc = text ? pl_store_read(st, text, size, 0,
						  PL_IO_META) :
				    -ENOMEM;
		pl_store_close(st);
	}
	rc = rc < 0 ? pl_err_sys(err, rc, "%s/" PROGRESS_FILE, dir->path) :
		      decode(dir, text, size, ret, err);
	free(text);
	return rc;
}

/* ---- discarding ---- */

static int drop_part(void *arg, const char *name)
{
	struct pl_dir *dir = arg;
	size_t len = strlen(name);
	char id[PL_ID_LEN + 1], path[PART_NAME_MAX];
	struct pl_uuid uuid;

	if (len != PL_ID_LEN + strlen(PART_SUFFIX) ||
	    strcmp(name + PL_ID_LEN, PART_SUFFIX) != 0)
		return 0;
	memcpy(id, name, PL_ID_LEN);
	id[PL_ID_LEN] = '\0';
	if (pl_uuid_parse(id, &uuid)) {
		part_name(id, path);
		dir->ops->unlink(dir, path);
	}
	return 0;
}

void progress_discard(struct pl_dir *dir)
{
	dir->ops->unlink(dir, PROGRESS_FILE);
	dir->ops->unlink(dir, PROGRESS_NEW);
	dir->ops->list(dir, "layers", drop_part, dir);
}
