/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking requests from the kernel, and giving memory back when none come.
 *
 * The poll is armed for one event, again whenever we stop reading, and looks
 * at once whether something is there. So nothing has to be read until EAGAIN:
 * at a queue depth of one that would be a second read for each request. With
 * several in flight more are likely to wait, and what is taken together is
 * submitted together: fewer turns of the loop, fewer calls to the disk. How
 * likely is learnt: a read that finds a request pays for some that do not.
 * What is long keeps the disk busy by itself, and is begun at once.
 *
 * INVARIANTS
 *  1. While `taking`, and outside of take_requests(): `armed` or `starved`; of
 *     a starved one requests are in flight, the answer to one takes on.
 *  2. The place a request is read into has all its pages (fuse_buf.h).
 */
#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/co.h"
#include "export/fuse/fuse_int.h"

#define QUIET_MS 2000u /* without a request: memory goes back */
#define MANY 8u /* requests in flight: there are always more to try for */
#define PAYS_FOR 2u /* reads in vain that one which was not is worth */
#define CREDIT_MAX 16u /* reads in vain, in a row */
#define PROBE 16u /* without credit: one of so many turns tries all the same */
#define TOGETHER 16u /* so many are begun before more are taken */
#define LONG (64u << 10) /* bytes; nothing is gained by keeping these back */

/* ---- memory goes back when it is quiet ---- */

static void shrink_when_quiet(void *arg)
{
	struct pl_fuse *f = arg;
	uint64_t seen;

	do {
		seen = f->served;
		pl_loop_sleep_ms(f->p.loop, QUIET_MS);
	} while (!f->freeing && (f->inflight || f->served != seen));
	f->shrinking = false;
	if (f->freeing)
		pl_fuse_free(f);
	else
		pl_fuse_pool_shrink(f->pool);
}

static void shrink_later(struct pl_fuse *f)
{
	if (f->shrinking || !f->taking)
		return;
	f->shrinking = pl_co_start(shrink_when_quiet, f) == 0;
}

/* ---- reading ---- */

static void lost(struct pl_fuse *f, int error)
{
	char text[100];

	f->taking = false;
	if (error != ENODEV) {
		snprintf(text, sizeof(text),
			 "fuse: reading requests failed: %s",
			 strerrorname_np(error));
		f->p.note(f->p.arg, text);
	}
	memset(f->p.session->handles, 0, sizeof(f->p.session->handles));
	f->p.gone(f->p.arg);
}

/* One request. false: there is no more, or no room for it. */
static bool take_one(struct pl_fuse *f)
{
	uint8_t *data = f->free ? pl_fuse_pool_next(f->pool) : NULL;
	ssize_t n;

	if (!data) {
		f->starved = true;
		return false;
	}
	n = read(f->p.fd, data - PL_FUSE_WRITE_HEAD, PL_FUSE_MSG_MAX);
	if (n > 0) {
		pl_fuse_handle(f, data, (size_t)n);
		return true;
	}
	/* ENOENT: the request was aborted while it was copied. */
	if (n < 0 && (errno == ENOENT || errno == EINTR))
		return true;
	if (n < 0 && errno == EAGAIN)
		return false;
	lost(f, n < 0 ? errno : ENODEV);
	return false;
}

static void arm(struct pl_fuse *f)
{
	f->armed = true;
	io_uring_prep_poll_add(pl_loop_sqe(f->p.loop, &f->ready), f->p.fd,
			       POLLIN);
}

/* Is the next read worth its system call? */
static bool read_on(struct pl_fuse *f)
{
	if (f->inflight >= MANY || f->credit)
		return true;
	return f->inflight > 1 && ++f->unasked % PROBE == 0;
}

static bool take_another(struct pl_fuse *f)
{
	bool found = take_one(f);

	if (found)
		f->credit += PAYS_FOR;
	else if (f->credit)
		f->credit--;
	if (f->credit > CREDIT_MAX)
		f->credit = CREDIT_MAX;
	return found;
}

static void take_requests(struct pl_fuse *f)
{
	bool more;

	f->reading = true;
	f->begun = 0;
	more = take_one(f);
	for (unsigned n = 1; n < TOGETHER && f->taking && more; n++)
		more = f->begun < LONG && read_on(f) && take_another(f);
	f->reading = false;
	if (f->taking && !f->starved && !f->armed)
		arm(f);
	shrink_later(f);
}

static void ready(struct pl_ev *ev, int res, bool more)
{
	struct pl_fuse *f =
		(struct pl_fuse *)(void *)((char *)ev -
					   offsetof(struct pl_fuse, ready));

	(void)res, (void)more;
	f->armed = false;
	if (f->taking)
		take_requests(f);
	else if (f->freeing)
		pl_fuse_free(f);
}

void pl_fuse_take(struct pl_fuse *f)
{
	f->taking = true;
	f->ready.fn = ready;
	arm(f);
}

void pl_fuse_take_on(struct pl_fuse *f)
{
	if (!f->starved || f->reading || !f->taking)
		return;
	f->starved = false;
	take_requests(f);
}

void pl_fuse_take_no_more(struct pl_fuse *f)
{
	f->taking = false;
	/* Not poll_remove: that does nothing while an event is on its way. */
	if (f->armed)
		io_uring_prep_cancel(pl_loop_sqe(f->p.loop, NULL), &f->ready,
				     0);
}
