/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a repair leaves for people: <image>/repair-<UTC time>/ with the files as
 * they were and report.json.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "image/repair.h"

#define CHUNK (1u << 20)
#define PATH_MAX_LEN 128

/* ---- the copies ---- */

static int copy_range(struct pl_store *from, struct pl_store *to, char *buf,
		      uint64_t start, uint64_t end)
{
	uint64_t n;
	int rc = 0;

	for (uint64_t at = start; at < end && rc == 0; at += n) {
		n = end - at < CHUNK ? end - at : CHUNK;
		rc = pl_store_read(from, buf, n, at, PL_IO_META);
		if (rc == 0)
			rc = pl_store_write(to, buf, n, at, PL_IO_META);
	}
	return rc;
}

/* With its holes. */
static int copy_store(struct pl_store *from, struct pl_store *to)
{
	char *buf = malloc(CHUNK);
	uint64_t size, start, end = 0;
	int rc = buf ? pl_store_size(from, &size) : -ENOMEM;

	if (rc == 0)
		rc = pl_store_truncate(to, size);
	while (rc == 0 && end < size) {
		rc = pl_store_seek_data(from, end, &start, &end);
		if (rc < 0 || start == UINT64_MAX)
			break;
		rc = copy_range(from, to, buf, start, end < size ? end : size);
	}
	free(buf);
	return rc < 0 ? rc : pl_store_sync(to);
}

static int keep(struct repair *r, const char *id, struct pl_err *err)
{
	struct pl_dir *dir = r->c.img.dir;
	char name[LAYER_NAME_MAX], copy[PATH_MAX_LEN];
	struct pl_store *from, *to;
	int rc;

	layer_file_name(name, id);
	snprintf(copy, sizeof(copy), "%s/%s.plp", r->c.ret->report, id);
	rc = dir->ops->open(dir, name, 0, &from, err);
	if (rc < 0)
		return rc;
	rc = dir->ops->open(dir, copy, PL_OPEN_WRITE | PL_OPEN_CREATE, &to,
			    err);
	if (rc == 0) {
		rc = copy_store(from, to);
		if (rc < 0)
			pl_err_sys(err, rc, "%s/%s", dir->path, copy);
		pl_store_close(to);
	}
	pl_store_close(from);
	return rc;
}

/* ---- report.json ---- */

static const char *outcome_name(enum pl_outcome o)
{
	static const char *const names[] = {
		[PL_FOUND] = "found",
		[PL_FIXED] = "fixed",
		[PL_SALVAGED] = "salvaged",
		[PL_LEFT] = "left",
	};

	return names[o];
}

static json_t *encode_finding(const struct pl_finding *f)
{
	return json_pack("{s:s, s:s, s:I, s:s, s:s, s:s}", "kind",
			 pl_damage_name(f->kind), "layer", f->layer, "offset",
			 (json_int_t)f->offset, "found", f->text, "meaning",
			 pl_damage_meaning(f->kind), "done",
			 outcome_name(f->outcome));
}

static json_t *encode_kept(const struct repair *r)
{
	json_t *list = json_array();
	char name[PL_ID_LEN + 8];

	for (unsigned i = 0; list && i < r->c.img.desc.n_layers; i++) {
		const char *id = r->c.img.desc.layers[i].id;

		snprintf(name, sizeof(name), "%s.plp", id);
		if (r->work[i].salvage && !r->work[i].blocked &&
		    json_array_append_new(list, json_pack("{s:s, s:s}", "layer",
							  id, "file", name)) <
			    0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

static char *encode(const struct repair *r, bool finished)
{
	json_t *list = json_array(), *root;
	char now[32], *text;

	iso_now(now, sizeof(now));
	for (unsigned i = 0; list && i < r->n; i++)
		if (json_array_append_new(list, encode_finding(&r->list[i])) <
		    0) {
			json_decref(list);
			return NULL;
		}
	root = json_pack("{s:s, s:i, s:s, s:b, s:I, s:o, s:o}", "format",
			 "ploop-repair", "version", 1, "written", now,
			 "finished", finished, "findingsTotal",
			 (json_int_t)r->c.ret->findings, "findings", list,
			 "kept", encode_kept(r));
	text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
	json_decref(root);
	return text;
}

static int write_report(struct repair *r, bool finished, struct pl_err *err)
{
	struct pl_dir *dir = r->c.img.dir;
	char temp[PATH_MAX_LEN], name[PATH_MAX_LEN];
	char *text = encode(r, finished);
	struct pl_store *st;
	int rc;

	if (!text)
		return pl_err_sys(err, -ENOMEM, "report.json");
	snprintf(temp, sizeof(temp), "%s/report.json.new", r->c.ret->report);
	snprintf(name, sizeof(name), "%s/report.json", r->c.ret->report);
	dir->ops->unlink(dir, temp);
	rc = dir->ops->open(dir, temp, PL_OPEN_WRITE | PL_OPEN_CREATE, &st,
			    err);
	if (rc < 0) {
		free(text);
		return rc;
	}
	rc = pl_store_write(st, text, strlen(text), 0, PL_IO_META);
	if (rc == 0)
		rc = pl_store_sync(st);
	pl_store_close(st);
	free(text);
	if (rc == 0)
		rc = dir->ops->rename(dir, temp, name);
	if (rc == 0)
		rc = dir->ops->sync(dir, r->c.ret->report);
	return rc < 0 ? pl_err_sys(err, rc, "%s/%s", dir->path, name) : 0;
}

/* ---- the directory ---- */

static int any(void *arg, const char *name)
{
	(void)arg, (void)name;
	return -EEXIST;
}

static int make_one(struct pl_dir *dir, const char *name)
{
	if (dir->ops->list(dir, name, any, NULL) == -EEXIST)
		return -EEXIST;
	return dir->ops->mkdir(dir, name);
}

static int make_directory(struct repair *r, struct pl_err *err)
{
	char stamp[32], *name = r->c.ret->report;
	size_t size = sizeof(r->c.ret->report);
	struct pl_dir *dir = r->c.img.dir;
	time_t now = time(NULL);
	struct tm tm;
	int rc;

	gmtime_r(&now, &tm);
	strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", &tm);
	snprintf(name, size, "repair-%s", stamp);
	rc = make_one(dir, name);
	for (unsigned k = 2; rc == -EEXIST; k++) {
		snprintf(name, size, "repair-%s-%u", stamp, k);
		rc = make_one(dir, name);
	}
	if (rc == 0)
		rc = dir->ops->sync(dir, "");
	return rc < 0 ? pl_err_sys(err, rc, "%s/%s", dir->path, name) : 0;
}

int report_begin(struct repair *r, struct pl_err *err)
{
	int rc = make_directory(r, err);

	for (unsigned i = 0; rc == 0 && i < r->c.img.desc.n_layers; i++)
		if (r->work[i].salvage && !r->work[i].blocked)
			rc = keep(r, r->c.img.desc.layers[i].id, err);
	return rc < 0 ? rc : write_report(r, false, err);
}

int report_end(struct repair *r, struct pl_err *err)
{
	return write_report(r, true, err);
}
