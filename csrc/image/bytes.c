/* SPDX-License-Identifier: Apache-2.0 */
/* The chain of an image, and what it holds and costs. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/co.h"
#include "image/image_int.h"
#include "maint/maint.h"

int chain_ids(const struct pl_image *img, const char *top,
	      const struct pl_image_layer ***ret, unsigned *ret_n,
	      struct pl_err *err)
{
	const struct pl_image_layer *l, **list;
	unsigned n = 0;

	for (l = descriptor_layer(&img->desc, top); l;
	     l = descriptor_layer(&img->desc, l->parent))
		n++;
	if (n == 0 || n > PL_CHAIN_MAX)
		return pl_err_set(err, PL_E_UNSUPPORTED, E2BIG,
				  "%s: a chain of %u layers; at most %u",
				  img->dir->path, n, PL_CHAIN_MAX);
	list = calloc(n, sizeof(struct pl_image_layer *));
	if (!list)
		return pl_err_sys(err, -ENOMEM, "chain");
	*ret_n = n;
	for (l = descriptor_layer(&img->desc, top); l;
	     l = descriptor_layer(&img->desc, l->parent))
		list[--n] = l;
	*ret = list;
	return 0;
}

/* Who has the image to himself need not tell others that he looks. */
static unsigned look_only(const struct pl_image *img)
{
	return img->writable ? 0 : LAYER_FILE_LOOK;
}

/* A clone has the file, too: it is not changed in any way (FMT-086). */
static bool is_shared(const struct pl_layer *ly)
{
	uint64_t links;

	return pl_store_links(pl_layer_store(ly), &links) < 0 || links > 1;
}

#define CLAIM_TRIES 100 /* of 20 ms */

/* Others may be reading it as it is; those who come now wait. */
static void claim_to_seal(struct pl_layer *ly)
{
	const struct timespec pause = { .tv_nsec = 20000000 };

	for (unsigned i = 0; i < CLAIM_TRIES && !pl_co_self(); i++) {
		if (pl_store_lock(pl_layer_store(ly), PL_STORE_EXCLUSIVE) !=
		    -EBUSY)
			return;
		nanosleep(&pause, NULL);
	}
}

/*
 * Seals what was the top until a snapshot whose process ended; with the changes
 * that it left. The snapshot's commit may not be durable yet, and comes first.
 */
static int finish_sealing(struct pl_image *img, const char *id,
			  struct pl_pending *pending, struct pl_err *err)
{
	struct pl_layer *ly;
	int rc = img->dir->ops->sync(img->dir, "");

	if (rc < 0)
		return pl_err_sys(err, rc, "%s", img->dir->path);
	rc = layer_file_open(img, id, PL_LAYER_WRITE | PL_LAYER_MAINTAIN, false,
			     pending, &ly, err);
	if (rc < 0)
		return rc;
	claim_to_seal(ly);
	rc = pl_layer_seal(ly, err);
	pl_layer_abandon(ly);
	return rc;
}

/*
 * A layer below the top, read-only. A crash between a snapshot's commit and
 * sealing leaves one unsealed: sealed now, when we may.
 */
static int open_lower(struct pl_image *img, const char *id, bool may_seal,
		      struct pl_pending *pending, struct pl_layer **ret,
		      struct pl_err *err)
{
	int rc = layer_file_open(img, id, look_only(img) | PL_LAYER_LAZY, false,
				 NULL, ret, err);

	if (rc < 0 || !may_seal ||
	    (pl_layer_header(*ret)->state == PL_LAYER_SEALED &&
	     pl_layer_header(*ret)->flags & PL_HEADER_CLEAN) ||
	    is_shared(*ret))
		return rc;
	pl_layer_abandon(*ret);
	*ret = NULL; /* callers clean up what they were given */
	rc = finish_sealing(img, id, pending, err);
	return rc < 0 ? rc :
			layer_file_open(img, id, PL_LAYER_LAZY, false, NULL,
					ret, err);
}

int seal_below_top(struct pl_image *img, struct pl_err *err)
{
	const struct pl_image_layer *top =
		descriptor_layer(&img->desc, img->desc.top);
	struct pl_layer *ly;
	int rc;

	if (!*top->parent)
		return 0;
	rc = open_lower(img, top->parent, true, NULL, &ly, err);
	if (rc == 0)
		pl_layer_abandon(ly);
	return rc == -EUCLEAN ? 0 : rc;
}

/*
 * The layer that a chain shows. Only one that may change bypasses the page
 * cache: a snapshot's layer is for ever as it is, and others read it as well.
 */
static int open_shown(struct pl_image *img, const char *id, bool read_only,
		      struct pl_pending *pending, struct pl_layer **ret,
		      struct pl_err *err)
{
	bool snapshot = read_only && strcmp(id, img->desc.top) != 0;

	return layer_file_open(img, id,
			       read_only ? look_only(img) | PL_LAYER_LAZY :
					   PL_LAYER_WRITE,
			       !snapshot, pending, ret, err);
}

static int open_layers(struct pl_image *img, bool read_only,
		       struct pl_pending *pending, struct pl_layer **layers,
		       const struct pl_image_layer **ids, unsigned n,
		       struct pl_err *err)
{
	int rc = 0;

	for (unsigned i = 0; i + 1 < n && rc == 0; i++)
		rc = open_lower(img, ids[i]->id, img->writable, pending,
				&layers[i], err);
	if (rc < 0)
		return rc;
	return open_shown(img, ids[n - 1]->id, read_only, pending,
			  &layers[n - 1], err);
}

static int open_chain(struct pl_image *img, const char *top, bool read_only,
		      struct pl_pending *pending, struct pl_chain **ret,
		      struct pl_err *err)
{
	const struct pl_image_layer **ids = NULL;
	struct pl_layer **layers;
	unsigned n = 0;
	int rc = chain_ids(img, top, &ids, &n, err);

	if (rc < 0)
		return rc;
	layers = calloc(n, sizeof(struct pl_layer *));
	if (layers)
		rc = open_layers(img, read_only, pending, layers, ids, n, err);
	else
		rc = pl_err_sys(err, -ENOMEM, "chain");
	if (rc == 0)
		rc = pl_chain_new(ret, layers, n, err);
	for (unsigned i = 0; rc < 0 && layers && i < n; i++)
		pl_layer_abandon(layers[i]);
	free(layers);
	free(ids);
	return rc;
}

/* A crash between growing the top and the commit: the layer is right. */
static int adopt_size(struct pl_image *img, struct pl_chain *ch,
		      struct pl_err *err)
{
	struct pl_image_desc next;

	if (pl_chain_size(ch) == img->desc.size)
		return 0;
	if (descriptor_copy(&img->desc, &next) < 0)
		return pl_err_sys(err, -ENOMEM, "resize");
	next.size = pl_chain_size(ch);
	descriptor_layer(&next, next.top)->size = next.size;
	return descriptor_commit(img, &next, err);
}

int pl_image_open_chain(struct pl_image *img, const char *key, bool read_only,
			struct pl_pending *pending, struct pl_chain **ret,
			struct pl_err *err)
{
	const struct pl_image_snapshot *snap;
	const char *top = img->desc.top;
	int rc = 0;

	if (key) {
		rc = pl_image_find(img, key, &snap, err);
		if (rc < 0)
			return rc;
		top = snap->layer;
		read_only = true;
	}
	if (!read_only)
		rc = need_writable(img, err);
	if (rc < 0)
		return rc;
	if (!read_only) {
		/* Of a chain that is closed by now. */
		img->sealing = (struct sealing){ .layer = NULL };
		snapshot_forget_prepared(img);
		img->pending = pending;
	}
	rc = open_chain(img, top, read_only, pending, ret, err);
	if (rc < 0 || read_only)
		return rc;
	pl_chain_set_discard(*ret, img->desc.discard);
	rc = adopt_size(img, *ret, err);
	if (rc < 0)
		pl_chain_abandon(*ret);
	return rc;
}

/* ---- compact ---- */

static int measure(struct pl_chain *ch, uint64_t *host, uint64_t *length)
{
	struct pl_store *st = pl_layer_store(pl_chain_top(ch));
	int rc = pl_store_usage(st, host);

	return rc < 0 ? rc : pl_store_size(st, length);
}

int chain_maintain(struct pl_image *img, struct pl_chain *live,
		   const struct pl_image_work *work, chain_work_fn *fn,
		   void *ret, struct pl_err *err)
{
	struct pl_maint_progress p = { 0 };
	struct pl_chain *ch = live;
	int rc = need_writable(img, err), rc2;

	if (work)
		p = (struct pl_maint_progress){ .fn = work->progress,
						.arg = work->arg,
						.pace = work->pace,
						.await_flush =
							work->await_flush,
						.others = work->others };
	if (rc == 0 && !ch)
		rc = pl_image_open_chain(img, NULL, false, NULL, &ch, err);
	if (rc < 0)
		return rc;
	rc = fn(img, ch, &p, ret, err);
	if (!live) {
		rc2 = pl_chain_close(ch, rc < 0 ? NULL : err);
		rc = rc < 0 ? rc : rc2;
	}
	return rc;
}

static int compact(struct pl_image *img, struct pl_chain *ch,
		   const struct pl_maint_progress *progress, void *result,
		   struct pl_err *err)
{
	struct pl_compact_result *ret = result;
	struct pl_compact_stats stats;
	int rc = measure(ch, &ret->host_before, &ret->length_before);

	(void)img;
	if (rc == 0)
		rc = pl_compact(ch, progress, &stats);
	if (rc == -ECANCELED)
		return pl_err_set(err, PL_E_INTERRUPTED, ECANCELED,
				  "compact was interrupted; what was moved "
				  "stays moved");
	if (rc == 0)
		rc = measure(ch, &ret->host_after, &ret->length_after);
	if (rc < 0)
		return pl_err_sys(err, rc, "compact");
	ret->clusters_freed = stats.freed;
	ret->clusters_moved = stats.moved;
	return 0;
}

int pl_image_compact(struct pl_image *img, struct pl_chain *live,
		     struct pl_compact_result *ret,
		     const struct pl_image_work *work, struct pl_err *err)
{
	memset(ret, 0, sizeof(*ret));
	return chain_maintain(img, live, work, compact, ret, err);
}

/* ---- looking ---- */

struct mapping {
	pl_map_fn *each;
	void *arg;
};

static bool map_one(void *arg, const struct pl_chain_extent *e)
{
	const struct mapping *m = arg;
	struct pl_map_extent ext = {
		.off = e->off,
		.len = e->len,
		.layer = e->layer ? pl_layer_id(e->layer) : NULL,
		.zero = e->host_off == UINT64_MAX,
		.host_off = e->host_off == UINT64_MAX ? 0 : e->host_off,
	};

	return m->each(m->arg, &ext);
}

int pl_image_map(struct pl_image *img, struct pl_chain *chain, uint64_t off,
		 uint64_t len, pl_map_fn *each, void *arg, struct pl_err *err)
{
	struct mapping m = { .each = each, .arg = arg };
	struct pl_chain *ch = chain;
	int rc = 0;

	if (off % img->desc.block_size)
		return pl_err_set(err, PL_E_INVALID_ARGUMENT, EINVAL,
				  "offset %llu: must be a multiple of the "
				  "block size, %u",
				  (unsigned long long)off,
				  img->desc.block_size);
	if (!ch)
		rc = pl_image_open_chain(img, NULL, true, NULL, &ch, err);
	if (rc < 0)
		return rc;
	if (len > pl_chain_size(ch))
		len = pl_chain_size(ch);
	rc = pl_chain_extents(ch, off, len, map_one, &m);
	if (!chain)
		pl_chain_abandon(ch);
	if (rc == -EUCLEAN)
		return pl_err_set(err, PL_E_CORRUPT, EUCLEAN,
				  "%s: a map page is damaged; see ploop check",
				  img->dir->path);
	return rc < 0 ? pl_err_sys(err, rc, "%s: map", img->dir->path) : 0;
}

int pl_image_layer_usage(struct pl_image *img, const struct pl_chain *live,
			 const char *layer_id, struct pl_layer_usage *ret,
			 struct pl_err *err)
{
	struct pl_layer_count count = { 0 };
	uint64_t bs = img->desc.block_size;
	int rc = 0, i = live ? pl_chain_find(live, layer_id) : -1;
	struct pl_layer *ly;

	if (i >= 0)
		ly = pl_chain_layer(live, (unsigned)i);
	else
		rc = layer_file_open(img, layer_id, LAYER_FILE_LOOK, false,
				     NULL, &ly, err);
	if (rc < 0)
		return rc;
	memset(ret, 0, sizeof(*ret));
	rc = pl_store_usage(pl_layer_store(ly), &ret->host_bytes);
	if (rc == 0)
		rc = pl_store_size(pl_layer_store(ly), &ret->length);
	if (rc == 0)
		rc = pl_layer_count(ly, &count);
	if (i < 0)
		pl_layer_abandon(ly);
	ret->clusters = count.clusters;
	ret->owned_bytes = count.owned * bs;
	ret->data_bytes = count.data * bs;
	_Static_assert(sizeof(ret->fullness) == sizeof(count.full), "");
	memcpy(ret->fullness, count.full, sizeof(count.full));
	if (rc == -EUCLEAN)
		return pl_err_set(err, PL_E_CORRUPT, EUCLEAN,
				  "layer %s: a map page is damaged; see ploop "
				  "check",
				  layer_id);
	return rc < 0 ? pl_err_sys(err, rc, "layer %s", layer_id) : 0;
}
