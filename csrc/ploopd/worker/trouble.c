/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why requests fail, told once: see trouble.h. The layers note the latest that
 * they have met; who tells it looks at those of the chain when a request has
 * failed. Needs no memory while requests are served.
 */
#include "ploopd/worker/trouble.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/uuid.h"
#include "chain/chain.h"
#include "engine/engine.h"
#include "layer/layer.h"
#include "ploopd/log.h"

#define CAUSES 16u /* that are told one by one */

typedef unsigned long long ull;

/* One that is in the log. */
struct cause {
	char layer[PL_UUID_TEXT]; /* "" = the host, at large */
	int error;
	uint64_t at; /* offset in the layer's file, or kind of request */
};

struct pl_trouble {
	struct pl_worker *w;
	struct cause told[CAUSES];
	unsigned n;
	bool more; /* than these, which is told, too */
};

/* Is it to be told? It is noted then. */
static bool is_new(struct pl_trouble *t, const struct cause *c)
{
	for (unsigned i = 0; i < t->n; i++)
		if (t->told[i].at == c->at && t->told[i].error == c->error &&
		    strcmp(t->told[i].layer, c->layer) == 0)
			return false;
	if (t->n < CAUSES) {
		t->told[t->n++] = *c;
		return true;
	}
	if (!t->more)
		pl_log("more requests fail, for other causes than those that "
		       "are told above: see ploop check %s",
		       t->w->att.directory);
	t->more = true;
	return false;
}

static void tell_damage(const struct pl_trouble *t, const char *layer,
			const struct pl_layer_trouble *what)
{
	pl_log("layers/%s.plp: %s %llu at byte %llu: %s; requests for bytes "
	       "%llu to %llu of the disk may fail with I/O errors. Detach the "
	       "image and run: ploop check %s (then with --repair, or restore "
	       "that file from a copy)",
	       layer, what->what, (ull)what->number, (ull)what->off, what->why,
	       (ull)what->first, (ull)what->end - 1, t->w->att.directory);
}

static void tell_sync(const struct pl_trouble *t, const char *layer, int error)
{
	pl_log("layers/%s.plp: the host could not make it durable (%s): what "
	       "was written since the last flush is not certain, and every "
	       "flush fails from now on. See the kernel's log for the host's "
	       "file system or disk; then detach the image and run: ploop "
	       "check %s",
	       layer, strerrorname_np(error), t->w->att.directory);
}

/* After a failed sync every change and flush fails with EIO. */
static bool explains(const struct pl_layer_trouble *what, int res)
{
	return res == -what->error || (what->error != EUCLEAN && res == -EIO);
}

/* What layers have met. True: it is why a request ended with res. */
static bool tell_layers(struct pl_trouble *t, int res)
{
	struct pl_chain *ch = pl_engine_chain(t->w->engine);
	bool why = false;

	for (unsigned i = 0; i < pl_chain_depth(ch); i++) {
		struct pl_layer *ly = pl_chain_layer(ch, i);
		const struct pl_layer_trouble *what = pl_layer_trouble(ly);
		struct cause c = { .layer = "" };

		if (!what)
			continue;
		why = why || explains(what, res);
		memcpy(c.layer, pl_layer_id(ly), PL_UUID_TEXT);
		c.error = what->error;
		c.at = what->off;
		if (!is_new(t, &c))
			continue;
		if (what->error == EUCLEAN)
			tell_damage(t, c.layer, what);
		else
			tell_sync(t, c.layer, what->error);
	}
	return why;
}

static void failed(void *arg, const struct pl_req *req, int res)
{
	static const char *const names[PL_REQ_OPS] = {
		"read", "write", "flush", "discard", "write-zeroes", "status",
	};
	struct pl_trouble *t = arg;
	struct cause c = { .error = -res, .at = req->op };

	if (!tell_layers(t, res) && is_new(t, &c))
		pl_log("a %s request (bytes %llu to %llu of the disk) failed: "
		       "the host says %s of %s%s; see the kernel's log",
		       names[req->op], (ull)req->off,
		       (ull)(req->off + req->len - (req->len > 0)),
		       strerrorname_np(-res),
		       res == -ENOMEM ? "memory for " : "a file in layers/ of ",
		       t->w->att.directory);
}

int pl_trouble_watch(struct pl_worker *w, struct pl_err *err)
{
	w->trouble = calloc(1, sizeof(*w->trouble));
	if (!w->trouble)
		return pl_err_sys(err, -ENOMEM, "the log of failed requests");
	w->trouble->w = w;
	pl_engine_set_failed(w->engine, failed, w->trouble);
	return 0;
}
