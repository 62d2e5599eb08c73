/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Block checksums for the layer that a snapshot has just sealed, in the
 * background: beside requests, which only read that layer. When the worker
 * closes before it is done the layer stays without; when it is killed the next
 * one cleans up.
 */
#include "ploopd/worker/sums.h"

#include <stdlib.h>

#include "engine/engine.h"
#include "image/image.h"
#include "maint/maint.h"
#include "ploopd/log.h"
#include "store/store.h"

struct job {
	struct pl_worker *w;
	struct pl_layer *ly;
};

static bool go_on(void *arg, uint64_t done, uint64_t total)
{
	const struct job *job = arg;

	(void)done, (void)total;
	return !job->w->closing;
}

static void run(void *arg)
{
	struct job *job = arg;
	struct pl_maint_progress p = { .fn = go_on, .arg = job };
	struct pl_worker *w = job->w;
	uint64_t links = 0;
	struct pl_err err;
	bool added;

	/* Clones share sealed layers: neither meanwhile nor before. */
	if (pl_store_lock(pl_layer_store(job->ly), PL_STORE_EXCLUSIVE) < 0 ||
	    pl_store_links(pl_layer_store(job->ly), &links) < 0 || links > 1)
		pl_log("block checksums: the layer is in use already");
	else if (pl_checksums_add_to(job->ly, &p, &added, &err) < 0 &&
		 err.code != PL_E_INTERRUPTED)
		pl_log("block checksums: %s", err.msg);
	pl_store_lock(pl_layer_store(job->ly), PL_STORE_UNLOCKED);
	free(job);
	w->running--;
	w->summing--;
	pl_waitq_wake_all(&w->waiting);
}

void pl_worker_sum_sealed(struct pl_worker *w)
{
	struct pl_chain *ch = pl_engine_chain(w->engine);
	struct job *job;

	if (!pl_image_desc(w->image)->checksums || pl_chain_depth(ch) < 2)
		return;
	job = malloc(sizeof(*job));
	if (!job)
		return;
	*job = (struct job){ w, pl_chain_layer(ch, pl_chain_depth(ch) - 2) };
	w->running++;
	w->summing++;
	if (pl_co_start(run, job) < 0) {
		w->running--;
		w->summing--;
		free(job);
	}
}
