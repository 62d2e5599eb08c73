/* SPDX-License-Identifier: Apache-2.0 */
/* state.json: see state.h and docs/control.md. */
#include "ploopd/state.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ploopd/rundir.h"
#include "ploopd/device/via.h"

struct out {
	char buf[4 * PATH_MAX];
	size_t len;
};

static void put(struct out *o, const char *s)
{
	size_t n = strlen(s);

	if (n > sizeof(o->buf) - 1 - o->len)
		n = sizeof(o->buf) - 1 - o->len;
	memcpy(o->buf + o->len, s, n);
	o->len += n;
	o->buf[o->len] = '\0';
}

/* Length of the valid UTF-8 sequence at s, 0 when there is none. */
static size_t utf8_length(const char *s)
{
	const unsigned char *u = (const unsigned char *)s;
	size_t n = u[0] < 0x80		       ? 1 :
		   u[0] >= 0xc2 && u[0] < 0xe0 ? 2 :
		   u[0] >= 0xe0 && u[0] < 0xf0 ? 3 :
		   u[0] >= 0xf0 && u[0] < 0xf5 ? 4 :
						 0;

	for (size_t i = 1; i < n; i++)
		if ((u[i] & 0xc0) != 0x80)
			return 0;
	if (n == 3 &&
	    ((u[0] == 0xe0 && u[1] < 0xa0) || (u[0] == 0xed && u[1] > 0x9f)))
		return 0;
	if (n == 4 &&
	    ((u[0] == 0xf0 && u[1] < 0x90) || (u[0] == 0xf4 && u[1] > 0x8f)))
		return 0;
	return n;
}

/* As a JSON string; null for "". Bytes that are not UTF-8 become U+FFFD. */
static void put_string(struct out *o, const char *s)
{
	char piece[8];
	size_t n;

	if (!*s) {
		put(o, "null");
		return;
	}
	put(o, "\"");
	while (*s) {
		n = utf8_length(s);
		if (n == 0)
			snprintf(piece, sizeof(piece), "\xef\xbf\xbd");
		else if (n > 1)
			snprintf(piece, sizeof(piece), "%.*s", (int)n, s);
		else if (*s == '"' || *s == '\\')
			snprintf(piece, sizeof(piece), "\\%c", *s);
		else if ((unsigned char)*s < 0x20)
			snprintf(piece, sizeof(piece), "\\u%04x", *s);
		else
			snprintf(piece, sizeof(piece), "%c", *s);
		put(o, piece);
		s += n ? n : 1;
	}
	put(o, "\"");
}

static void put_member(struct out *o, const char *name, const char *value)
{
	put(o, ",\"");
	put(o, name);
	put(o, "\":");
	put_string(o, value);
}

static void put_number(struct out *o, const char *name, unsigned value)
{
	char text[48];

	snprintf(text, sizeof(text), ",\"%s\":%u", name, value);
	put(o, text);
}

static void put_limit(struct out *o, const char *name, uint64_t value)
{
	char text[48];

	snprintf(text, sizeof(text), value ? ",\"%s\":%llu" : ",\"%s\":null",
		 name, (unsigned long long)value);
	put(o, text);
}

static void format(struct out *o, const struct pl_attachment *att,
		   const struct pl_state *st)
{
	put(o, "{\"version\":1");
	put_member(o, "image", att->image);
	put_member(o, "directory", att->directory);
	put_member(o, "snapshot", att->snapshot);
	put(o, att->read_only ? ",\"readOnly\":true" : ",\"readOnly\":false");
	put_number(o, "keeper", (unsigned)st->keeper);
	put_number(o, "worker", (unsigned)st->worker);
	put_member(o, "state", st->state);
	put_member(o, "stateSince", st->since_state);
	put_number(o, "restarts", st->restarts);
	put_number(o, "handovers", st->handovers);
	put_number(o, "handoverMs", st->handover_ms);
	put_number(o, "handover", st->handover);
	put_member(o, "onFull", st->on_full_error ? "error" : "pause");
	put_limit(o, "iops", st->limits.iops);
	put_limit(o, "bps", st->limits.bps);
	put_member(o, "via", att->via ? att->via->name : "");
	put_member(o, "device", st->device);
	put_member(o, "devno", st->devno);
	put_member(o, "since", st->since);
	put_member(o, "lastError", st->last_error);
	put(o, "}\n");
}

int pl_state_write(const struct pl_attachment *att, const struct pl_state *st)
{
	char path[PATH_MAX], fresh[PATH_MAX];
	struct out o = { .len = 0 };
	ssize_t n;
	int fd;

	format(&o, att, st);
	if (pl_rundir_file(path, att->folder, "state.json") < 0 ||
	    pl_rundir_file(fresh, att->folder, "state.new") < 0)
		return -ENAMETOOLONG;
	fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	n = write(fd, o.buf, o.len);
	close(fd);
	if (n != (ssize_t)o.len)
		return n < 0 ? -errno : -ENOSPC;
	return rename(fresh, path) < 0 ? -errno : 0;
}

static void get_string(json_t *from, const char *name, char *ret, size_t size)
{
	const char *s = json_string_value(json_object_get(from, name));

	snprintf(ret, size, "%s", s ? s : "");
}

static unsigned get_number(json_t *from, const char *name)
{
	return (unsigned)json_integer_value(json_object_get(from, name));
}

static const char *known_state(json_t *from)
{
	static const char *const words[] = { "starting", "running",
					     "restarting", "stopped" };
	const char *s = json_string_value(json_object_get(from, "state"));

	for (size_t i = 0; s && i < sizeof(words) / sizeof(words[0]); i++)
		if (!strcmp(s, words[i]))
			return words[i];
	return "";
}

int pl_state_read(const char *folder, struct pl_state *ret)
{
	char path[PATH_MAX];
	json_t *j;

	memset(ret, 0, sizeof(*ret));
	ret->state = "";
	if (pl_rundir_file(path, folder, "state.json") < 0)
		return -ENAMETOOLONG;
	j = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
	if (!j)
		return access(path, F_OK) < 0 ? -errno : -EINVAL;
	ret->state = known_state(j);
	ret->keeper = (int)get_number(j, "keeper");
	ret->worker = (int)get_number(j, "worker");
	ret->restarts = get_number(j, "restarts");
	ret->handovers = get_number(j, "handovers");
	ret->handover_ms = get_number(j, "handoverMs");
	ret->handover = get_number(j, "handover");
	get_string(j, "stateSince", ret->since_state, sizeof(ret->since_state));
	ret->read_only = json_is_true(json_object_get(j, "readOnly"));
	get_string(j, "directory", ret->directory, sizeof(ret->directory));
	/* Before there was a choice it was this. */
	if (json_object_get(j, "via"))
		get_string(j, "via", ret->via, sizeof(ret->via));
	else
		snprintf(ret->via, sizeof(ret->via), "fuse");
	get_string(j, "device", ret->device, sizeof(ret->device));
	get_string(j, "devno", ret->devno, sizeof(ret->devno));
	get_string(j, "since", ret->since, sizeof(ret->since));
	get_string(j, "lastError", ret->last_error, sizeof(ret->last_error));
	json_decref(j);
	return 0;
}

void pl_state_now(char since[32])
{
	time_t now = time(NULL);
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(since, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}
