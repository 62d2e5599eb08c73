/* SPDX-License-Identifier: Apache-2.0 */
/* Names of attachments, and the one line that attach and detach print. */
#include "ploopd/attachment.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/uuid.h"

/* The loop driver keeps 63 characters: a snapshot's UUID is cut short. */
void pl_attachment_name(const char *id, char name[PL_LOOP_NAME])
{
	snprintf(name, PL_LOOP_NAME, "ploop:%.57s", id);
}

int pl_attachment_split(struct pl_attachment *att)
{
	struct pl_uuid uuid;
	const char *at = strchr(att->id, '@');
	size_t n = at ? (size_t)(at - att->id) : strlen(att->id);

	att->image[0] = att->snapshot[0] = '\0';
	if (n != PL_ID_LEN)
		return -EINVAL;
	memcpy(att->image, att->id, PL_ID_LEN);
	att->image[PL_ID_LEN] = '\0';
	if (!pl_uuid_parse(att->image, &uuid))
		return -EINVAL;
	if (!at)
		return 0;
	if (!pl_uuid_parse(at + 1, &uuid))
		return -EINVAL;
	memcpy(att->snapshot, at + 1, PL_ID_LEN + 1);
	return 0;
}

const char *pl_on_full_name(enum pl_on_full on_full)
{
	return on_full == PL_ON_FULL_ERROR ? "error" : "pause";
}

int pl_on_full_parse(const char *word, enum pl_on_full *ret)
{
	if (!strcmp(word, "pause"))
		*ret = PL_ON_FULL_PAUSE;
	else if (!strcmp(word, "error"))
		*ret = PL_ON_FULL_ERROR;
	else
		return -EINVAL;
	return 0;
}

const char *pl_limits_wrong(struct pl_limits limits)
{
	if (limits.iops > PL_LIMIT_IOPS_MAX)
		return "iops: at most 1000000000";
	if (limits.bps &&
	    (limits.bps < PL_LIMIT_BPS_MIN || limits.bps > PL_LIMIT_BPS_MAX))
		return "bps: from 64K (65536) to 64T bytes a second";
	return NULL;
}

int pl_hint(struct pl_failure *f, int rc, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(f->hint, sizeof(f->hint), fmt, ap);
	va_end(ap);
	return rc;
}

/* Messages hold path names, which need not be UTF-8. */
static json_t *text(const char *s)
{
	json_t *j = json_string(s);

	return j ? j : json_string("(the message is not valid UTF-8)");
}

int pl_report_failure(const struct pl_failure *f)
{
	json_t *error = json_object(), *line = json_object();

	json_object_set_new(error, "code",
			    json_string(pl_code_name(f->err.code)));
	json_object_set_new(error, "message", text(f->err.msg));
	if (f->hint[0])
		json_object_set_new(error, "hint", text(f->hint));
	json_object_set_new(line, "ok", json_false());
	json_object_set_new(line, "error", error);
	json_dumpf(line, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(line);
	return pl_code_exit(f->err.code);
}

int pl_report_result(const char *json)
{
	printf("{\"ok\":true,\"result\":%s}\n", json);
	return fflush(stdout) == 0 ? 0 : EXIT_FAILURE;
}
