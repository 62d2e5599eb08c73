/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changed blocks as NBD metadata contexts: for every snapshot of the image one
 * "qemu:dirty-bitmap:<id>", and one "qemu:dirty-bitmap:<name>" where it has a
 * name: what changed between it and the state that is exported. No bitmap is
 * kept: the layers know (maint/diff.h).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "engine/engine.h"
#include "export/nbd/nbd_server.h"
#include "image/diff.h"
#include "ploopd/exports/exports.h"

#define PREFIX "qemu:dirty-bitmap:"

/* Even places are ids, odd ones names; the one that is exported has none. */
static bool name_at(void *arg, unsigned i, char *ret, size_t size)
{
	const struct pl_worker *w = arg;
	const struct pl_image_desc *d = pl_image_desc(w->image);
	const struct pl_image_snapshot *s;
	bool by_name;

	for (unsigned k = 0; k < 2 * d->n_snapshots; k++) {
		s = &d->snapshots[k / 2];
		by_name = k % 2;
		if (!strcmp(s->id, w->att.snapshot) ||
		    (by_name && !s->name[0]) || i-- > 0)
			continue;
		snprintf(ret, size, PREFIX "%s", by_name ? s->name : s->id);
		return true;
	}
	return false;
}

struct filling {
	struct pl_req_status *status;
	uint64_t at, end; /* what is not told yet */
	bool full;
};

/* Up to `end`; false: there is no room. */
static bool tell(struct filling *f, uint64_t end, bool clean)
{
	struct pl_req_status *s = f->status;

	if (end > f->end)
		end = f->end;
	if (end <= f->at)
		return true;
	if (s->n == 0 || s->run[s->n - 1].hole != clean) {
		f->full = s->n == s->max;
		if (f->full)
			return false;
		s->run[s->n].len = 0;
		s->run[s->n++].hole = clean;
	}
	s->run[s->n - 1].len += end - f->at;
	f->at = end;
	return true;
}

static bool on_extent(void *arg, const struct pl_diff_extent *e)
{
	struct filling *f = arg;

	return tell(f, e->off, true) && tell(f, e->off + e->len, false);
}

static int look(struct pl_worker *w, const char *from, uint64_t off,
		uint64_t len, struct pl_req_status *ret)
{
	const char *to = w->att.snapshot[0] ? w->att.snapshot : NULL;
	uint64_t bs = pl_engine_block_size(w->engine), start = off / bs * bs;
	struct filling f = { ret, off, off + len, false };
	struct pl_diff *diff;
	int rc = pl_diff_open(&diff, w->image, from, to,
			      pl_engine_chain(w->engine), NULL);

	if (rc < 0)
		return rc;
	rc = pl_diff_extents(diff, start, off + len - start, 0, on_extent, NULL,
			     &f, NULL, NULL);
	pl_diff_close(diff);
	if (rc == 0 && !f.full)
		tell(&f, f.end, true);
	return rc;
}

static int status(void *arg, const char *name, uint64_t off, uint64_t len,
		  struct pl_req_status *ret)
{
	struct pl_worker *w = arg;
	int rc;

	if (w->closing)
		return -ESHUTDOWN;
	w->running++;
	rc = look(w, name + strlen(PREFIX), off, len, ret);
	w->running--;
	pl_waitq_wake_all(&w->waiting);
	return rc;
}

void pl_exports_changed(struct pl_worker *w, struct pl_nbd_contexts *ret)
{
	*ret = (struct pl_nbd_contexts){ name_at, status, w };
}
