/* SPDX-License-Identifier: Apache-2.0 */
/* The operation `diff` of the control socket: changed blocks, page by page. */
#include <errno.h>

#include "engine/engine.h"
#include "image/diff.h"
#include "ploopd/control/control_ops.h"

#define DIFF_LIMIT 512 /* extents */
#define KEY_MAX 127

struct diffing {
	struct pl_call *call;
	json_t *extents;
	uint64_t left; /* extents that fit */
	uint64_t next; /* the first one that does not fit; UINT64_MAX = all do */
};

static bool add_extent(void *arg, const struct pl_diff_extent *e)
{
	struct diffing *d = arg;
	json_t *j;

	if (d->left == 0) {
		d->next = e->off;
		return false;
	}
	d->left--;
	j = json_object();
	pl_call_set_number(j, "offset", e->off);
	pl_call_set_number(j, "length", e->len);
	json_object_set_new(j, "zero", json_boolean(e->zero));
	json_array_append_new(d->extents, j);
	return true;
}

static bool go_on(void *arg, uint64_t looked_at_end)
{
	const struct diffing *d = arg;

	(void)looked_at_end;
	return !d->call->cancelled;
}

static int arguments(struct pl_call *call, struct diffing *d, uint64_t *off,
		     uint64_t *len, struct pl_err *err)
{
	if (pl_call_get_number(call, "offset", 0, off, err) < 0 ||
	    pl_call_get_number(call, "length", UINT64_MAX, len, err) < 0 ||
	    pl_call_get_number(call, "limit", DIFF_LIMIT, &d->left, err) < 0)
		return -EINVAL;
	if (d->left == 0 || d->left > DIFF_LIMIT)
		return pl_err_set(err, PL_E_INVALID_ARGUMENT, 0,
				  "diff: limit: must be 1 to %d", DIFF_LIMIT);
	return 0;
}

static int open_diff(struct pl_worker *w, struct pl_call *call,
		     struct pl_diff **ret, struct pl_err *err)
{
	const char *from, *to;

	if (pl_call_get_text(call, "from", KEY_MAX, &from, err) < 0 ||
	    pl_call_get_text(call, "to", KEY_MAX, &to, err) < 0)
		return -EINVAL;
	return pl_diff_open(ret, w->image, from, to, pl_engine_chain(w->engine),
			    err);
}

int pl_op_diff(struct pl_worker *w, struct pl_call *call, json_t **ret,
	       struct pl_err *err)
{
	struct diffing d = { .call = call, .next = UINT64_MAX };
	struct pl_diff *diff = NULL;
	unsigned flags =
		json_is_true(json_object_get(call->request, "compare")) ?
			PL_DIFF_COMPARE :
			0;
	uint64_t off, len;
	int rc = arguments(call, &d, &off, &len, err);

	if (rc == 0)
		rc = open_diff(w, call, &diff, err);
	if (rc < 0)
		return rc;
	d.extents = json_array();
	rc = pl_diff_extents(diff, off, len, flags, add_extent, go_on, &d, NULL,
			     err);
	*ret = json_object();
	pl_call_set_text(*ret, "from", pl_diff_from(diff));
	pl_call_set_text(*ret, "to", pl_diff_to(diff));
	pl_call_set_number(*ret, "size", pl_diff_size(diff));
	json_object_set_new(*ret, "extents", d.extents);
	if (d.next != UINT64_MAX)
		pl_call_set_number(*ret, "next", d.next);
	else
		json_object_set_new(*ret, "next", json_null());
	pl_diff_close(diff);
	return rc;
}
