/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Damage that requests meet, told once: see trouble.h. The layers note the
 * latest; who tells it looks at those of the chain when a request has failed.
 * Needs no memory while requests are served.
 */
#include "ploopd/trouble.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/uuid.h"
#include "chain/chain.h"
#include "engine/engine.h"
#include "layer/layer.h"
#include "ploopd/log.h"

#define PLACES 16u /* that are told one by one */

typedef unsigned long long ull;

struct pl_trouble {
	struct pl_worker *w;
	struct {
		char layer[PL_UUID_TEXT];
		uint64_t off;
	} told[PLACES];
	unsigned n;
	bool more, elsewhere; /* that is told, too */
};

static bool is_told(const struct pl_trouble *t, const char *layer, uint64_t off)
{
	for (unsigned i = 0; i < t->n; i++)
		if (t->told[i].off == off &&
		    strcmp(t->told[i].layer, layer) == 0)
			return true;
	return false;
}

static void tell(struct pl_trouble *t, const char *layer,
		 const struct pl_layer_trouble *what)
{
	const char *dir = t->w->att.directory;

	if (t->n == PLACES) {
		if (!t->more)
			pl_log("layers/%s.plp: more is damaged; ploop check %s "
			       "names all of it",
			       layer, dir);
		t->more = true;
		return;
	}
	memcpy(t->told[t->n].layer, layer, PL_UUID_TEXT);
	t->told[t->n++].off = what->off;
	pl_log("layers/%s.plp: %s %llu at byte %llu: %s; requests for bytes "
	       "%llu to %llu of the disk may fail with I/O errors. Detach the "
	       "image and run: ploop check %s (then with --repair, or restore "
	       "that file from a copy)",
	       layer, what->what, (ull)what->number, (ull)what->off, what->why,
	       (ull)what->first, (ull)what->end - 1, dir);
}

static void met(void *arg)
{
	struct pl_trouble *t = arg;
	struct pl_chain *ch = pl_engine_chain(t->w->engine);
	bool any = false;

	for (unsigned i = 0; i < pl_chain_depth(ch); i++) {
		struct pl_layer *ly = pl_chain_layer(ch, i);
		const struct pl_layer_trouble *what = pl_layer_trouble(ly);

		any = any || what;
		if (what && !is_told(t, pl_layer_id(ly), what->off))
			tell(t, pl_layer_id(ly), what);
	}
	if (!any && !t->elsewhere) {
		t->elsewhere = true;
		pl_log("a request failed: the host's file system says EUCLEAN "
		       "(structure needs cleaning) of a file in %s/layers; see "
		       "the kernel's log and check that file system",
		       t->w->att.directory);
	}
}

int pl_trouble_watch(struct pl_worker *w, struct pl_err *err)
{
	w->trouble = calloc(1, sizeof(*w->trouble));
	if (!w->trouble)
		return pl_err_sys(err, -ENOMEM, "the log of damage");
	w->trouble->w = w;
	pl_engine_set_damaged(w->engine, met, w->trouble);
	return 0;
}
