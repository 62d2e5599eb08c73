/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's NBD client, served by a worker: see via_nbd.c.
 *
 * INVARIANT  shared->device_clean is set only while nothing of the connection was
 * read by a worker that did not answer it: the next worker can go on with it.
 *
 * STATES
 *   serving --pl_nbd_front_stop--> leaving --all answered--> (clean)
 *   serving --the kernel says goodbye--> (the device is gone)
 *   serving --the connection ends--> (the worker dies; the keeper renews it)
 *
 * The last one is rare: the kernel's receiver of a connection that was replaced
 * may wake up late and declare the new one dead (it knows only the place).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/loop.h"
#include "engine/engine.h"
#include "export/nbd/nbd_server.h"
#include "ploopd/device/via_nbd.h"
#include "ploopd/keeper/fds.h"
#include "ploopd/keeper/shared.h"
#include "ploopd/log.h"
#include "ploopd/worker/worker.h"

#define DATA_MAX (64u << 20) /* bytes under way */

struct front {
	struct pl_worker *w;
	struct pl_nbd_share
		*share; /* its own: clients of exports can't fill it */
	struct pl_nbd *nbd;
	bool in_use; /* the kernel has the other end, as far as we know */
};

static void note(void *arg, const char *text)
{
	(void)arg;
	pl_log("%s", text);
}

static void on_end(void *arg, enum pl_nbd_end how)
{
	struct front *f = arg;

	if (how == PL_NBD_LEFT) {
		f->w->shared->device_clean = 1;
		return;
	}
	f->in_use = false;
	if (how == PL_NBD_GOODBYE || f->w->shared->device_gone) {
		f->w->shared->device_gone = 1;
		if (!f->w->closing)
			pl_worker_device_gone(f->w);
		return;
	}
	if (f->w->closing && !f->w->replaced)
		return;
	pl_log("the kernel's NBD client has dropped its connection; the next "
	       "worker gets another");
	_exit(PL_EXIT_DROPPED);
}

int pl_nbd_front_serve(struct pl_worker *w, void **ret, struct pl_err *err)
{
	struct front *f = calloc(1, sizeof(*f));
	struct pl_nbd_params p = {
		.loop = w->loop,
		.engine = w->engine,
		.listen_fd = -1,
		.name = w->name,
		.read_only = w->att.read_only,
		.note = note,
		.arg = f,
		.kernel = true,
		.ended = on_end,
	};
	int rc = f ? pl_nbd_share_new(&f->share, DATA_MAX) : -ENOMEM;
	int fd = dup(PL_FD_DEVICE);

	if (rc == 0 && fd < 0)
		rc = -errno;
	if (rc < 0)
		return pl_err_sys(err, rc, "the NBD connection");
	f->w = w;
	f->in_use = true;
	*ret = f;
	p.share = f->share;
	rc = pl_nbd_new(&f->nbd, &p, err);
	if (rc < 0)
		return rc;
	/* From here on bytes may have been taken. */
	w->shared->device_clean = 0;
	rc = pl_nbd_serve(f->nbd, fd);
	return rc < 0 ? pl_err_sys(err, rc, "the NBD connection") : 0;
}

/* A launch that fails before there is a device must be able to end. */
bool pl_nbd_front_in_use(const void *front)
{
	const struct front *f = front;

	return f->in_use && f->w->shared->announced;
}

/* The connection counts until it has ended. */
unsigned pl_nbd_front_inflight(const void *front)
{
	const struct front *f = front;

	return pl_nbd_inflight(f->nbd) + pl_nbd_clients(f->nbd);
}

void pl_nbd_front_stop(void *front)
{
	struct front *f = front;

	pl_nbd_leave(f->nbd);
}
