/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the operations of the control socket do (docs/control.md). Each runs
 * in a coroutine of its own; snapshot, resize and compact exclude each other.
 */
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/engine.h"
#include "export/fuse/fuse_export.h"
#include "image/image.h"
#include "base/loop.h"
#include "ploopd/control.h"
#include "ploopd/log.h"
#include "ploopd/worker.h"

#define MAP_LIMIT 512
#define HOLD_US 10000u /* compaction holds requests back this long at a time */
#define TELL_US 100000u /* and says how far it is this often */

/* ---- arguments ---- */

static int get_number(struct pl_call *call, const char *name, uint64_t fallback,
		      uint64_t *ret, struct pl_err *err)
{
	json_t *j = json_object_get(call->request, name);

	*ret = fallback;
	if (!j || json_is_null(j))
		return 0;
	if (!json_is_integer(j) || json_integer_value(j) < 0)
		return pl_err_set(err, PL_E_INVALID_ARGUMENT, 0,
				  "%s: %s: must be an integer >= 0", call->op,
				  name);
	*ret = (uint64_t)json_integer_value(j);
	return 0;
}

static int get_text(struct pl_call *call, const char *name, size_t max_bytes,
		    const char **ret, struct pl_err *err)
{
	json_t *j = json_object_get(call->request, name);

	*ret = NULL;
	if (!j || json_is_null(j))
		return 0;
	if (!json_is_string(j))
		return pl_err_set(err, PL_E_INVALID_ARGUMENT, 0,
				  "%s: %s: must be a string", call->op, name);
	if (json_string_length(j) > max_bytes)
		return pl_err_set(err, PL_E_INVALID_ARGUMENT, 0,
				  "%s: %s: longer than %zu bytes", call->op,
				  name, max_bytes);
	*ret = json_string_value(j);
	return 0;
}

static void set_number(json_t *object, const char *name, uint64_t value)
{
	json_object_set_new(object, name, json_integer((json_int_t)value));
}

static void set_text(json_t *object, const char *name, const char *value)
{
	json_object_set_new(object, name,
			    *value ? json_string(value) : json_null());
}

/* ---- looking ---- */

static int op_ping(struct pl_worker *w, struct pl_call *call, json_t **ret,
		   struct pl_err *err)
{
	(void)w, (void)call, (void)ret, (void)err;
	return 0;
}

static const struct pl_image_layer *find_layer(const struct pl_image_desc *d,
					       const char *id)
{
	for (unsigned i = 0; i < d->n_layers; i++)
		if (!strcmp(d->layers[i].id, id))
			return &d->layers[i];
	return NULL;
}

/* The layer that the attached device shows. */
static const char *shown_layer(struct pl_worker *w)
{
	const struct pl_image_desc *d = pl_image_desc(w->image);

	for (unsigned i = 0; i < d->n_snapshots; i++)
		if (!strcmp(d->snapshots[i].id, w->att.snapshot))
			return d->snapshots[i].layer;
	return d->top;
}

static int add_layer(struct pl_worker *w, const char *id, json_t *layers,
		     const char **ret_parent, struct pl_err *err)
{
	const struct pl_image_layer *layer;
	struct pl_layer_usage usage;
	json_t *j;
	int rc = pl_image_layer_usage(w->image, id, &usage, err);

	if (rc < 0)
		return rc;
	layer = find_layer(pl_image_desc(w->image), id);
	*ret_parent = layer ? layer->parent : "";
	j = json_object();
	set_text(j, "id", id);
	set_text(j, "parent", *ret_parent);
	set_number(j, "hostBytes", usage.host_bytes);
	set_number(j, "length", usage.length);
	set_number(j, "clusters", usage.clusters);
	set_number(j, "ownedBytes", usage.owned_bytes);
	json_array_insert_new(layers, 0, j);
	return 0;
}

/* From the base to the layer that is shown. */
static int list_layers(struct pl_worker *w, json_t *layers, struct pl_err *err)
{
	char id[PL_ID_LEN + 1];
	const char *parent = shown_layer(w);
	int rc = 0;

	for (unsigned n = 0; *parent && rc == 0; n++) {
		/* The descriptor may be exchanged while we wait. */
		snprintf(id, sizeof(id), "%s", parent);
		parent = "";
		if (n > pl_image_desc(w->image)->n_layers)
			return pl_err_set(err, PL_E_CORRUPT, 0,
					  "the layers form a ring");
		rc = add_layer(w, id, layers, &parent, err);
	}
	return rc;
}

static int op_info(struct pl_worker *w, struct pl_call *call, json_t **ret,
		   struct pl_err *err)
{
	json_t *j = json_object(), *layers = json_array();
	int rc = list_layers(w, layers, err);

	(void)call;
	set_text(j, "image", w->att.image);
	set_text(j, "snapshot", w->att.snapshot);
	json_object_set_new(j, "readOnly", json_boolean(w->att.read_only));
	set_number(j, "size", pl_engine_size(w->engine));
	set_number(j, "blockSize", pl_engine_block_size(w->engine));
	set_text(j, "top", shown_layer(w));
	json_object_set_new(j, "layers", layers);
	set_number(j, "pid", (uint64_t)getpid());
	set_text(j, "version", PL_VERSION);
	*ret = j;
	return rc;
}

static int op_stats(struct pl_worker *w, struct pl_call *call, json_t **ret,
		    struct pl_err *err)
{
	static const char *const names[PL_REQ_OPS] = {
		[PL_REQ_READ] = "read",
		[PL_REQ_WRITE] = "write",
		[PL_REQ_FLUSH] = "flush",
		[PL_REQ_DISCARD] = "discard",
		[PL_REQ_WRITE_ZEROES] = "writeZeroes",
	};
	struct pl_engine_stats stats;
	json_t *one;

	(void)call, (void)err;
	pl_engine_stats(w->engine, &stats);
	*ret = json_object();
	for (int i = 0; i < PL_REQ_OPS; i++) {
		one = json_object();
		set_number(one, "requests", stats.op[i].requests);
		set_number(one, "bytes", stats.op[i].bytes);
		set_number(one, "errors", stats.op[i].errors);
		set_number(one, "ns", stats.op[i].ns);
		json_object_set_new(*ret, names[i], one);
	}
	set_number(*ret, "inflight", stats.inflight);
	set_number(*ret, "inflightMax", stats.inflight_max);
	return 0;
}

struct mapping {
	json_t *extents;
	uint64_t next; /* first byte not told */
	uint64_t left; /* extents that fit */
};

static bool map_extent(void *arg, const struct pl_map_extent *e)
{
	struct mapping *m = arg;
	json_t *j;

	if (m->left == 0)
		return false;
	m->left--;
	m->next = e->off + e->len;
	j = json_object();
	set_number(j, "offset", e->off);
	set_number(j, "length", e->len);
	set_text(j, "layer", e->layer ? e->layer : "");
	json_object_set_new(j, "zero", json_boolean(e->zero));
	if (e->layer && !e->zero)
		set_number(j, "hostOffset", e->host_off);
	else
		json_object_set_new(j, "hostOffset", json_null());
	json_array_append_new(m->extents, j);
	return true;
}

static int op_map(struct pl_worker *w, struct pl_call *call, json_t **ret,
		  struct pl_err *err)
{
	uint64_t size = pl_engine_size(w->engine), off, len, limit;
	struct mapping m = { .extents = NULL };
	int rc;

	if (get_number(call, "offset", 0, &off, err) < 0 ||
	    get_number(call, "length", size, &len, err) < 0 ||
	    get_number(call, "limit", MAP_LIMIT, &limit, err) < 0)
		return -EINVAL;
	if (limit == 0 || limit > MAP_LIMIT)
		return pl_err_set(err, PL_E_INVALID_ARGUMENT, 0,
				  "map: limit: must be 1 to %d", MAP_LIMIT);
	if (off > size)
		off = size;
	if (len > size - off)
		len = size - off;
	m.extents = json_array();
	m.next = off;
	m.left = limit;
	rc = len ? pl_image_map(w->image, pl_engine_chain(w->engine), off, len,
				map_extent, &m, err) :
		   0;
	*ret = json_object();
	json_object_set_new(*ret, "extents", m.extents);
	if (m.left == 0 && m.next < off + len)
		rc = 0; /* stopped by us */
	if (m.next < off + len)
		set_number(*ret, "next", m.next);
	else
		json_object_set_new(*ret, "next", json_null());
	return rc;
}

/* ---- flush ---- */

struct flush {
	struct pl_req req; /* first: the engine hands this back */
	struct pl_co *co;
	int res;
	bool done;
};

static void flush_done(struct pl_req *req, int res)
{
	struct flush *flush = (struct flush *)req;

	flush->res = res;
	flush->done = true;
	pl_co_wake(flush->co);
}

static int op_flush(struct pl_worker *w, struct pl_call *call, json_t **ret,
		    struct pl_err *err)
{
	struct flush flush = {
		.req = { .op = PL_REQ_FLUSH, .done = flush_done },
		.co = pl_co_self(),
	};

	(void)call, (void)ret;
	pl_engine_submit(w->engine, &flush.req);
	while (!flush.done)
		pl_co_yield();
	if (flush.res < 0)
		return pl_err_sys(err, flush.res, "flush");
	return 0;
}

/* ---- changing ---- */

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static int op_snapshot(struct pl_worker *w, struct pl_call *call, json_t **ret,
		       struct pl_err *err)
{
	const char *name, *description;
	char id[PL_ID_LEN + 1] = "";
	uint64_t start;
	int rc;

	if (get_text(call, "name", 127, &name, err) < 0 ||
	    get_text(call, "description", 255, &description, err) < 0)
		return -EINVAL;
	rc = pl_image_snapshot_prepare(w->image, err);
	if (rc < 0)
		return rc;
	start = now_us();
	pl_engine_pause(w->engine);
	rc = pl_image_snapshot(w->image, pl_engine_chain(w->engine), name,
			       description, id, err);
	if (rc == -ESTALE) {
		/* Taken, but this chain can't follow. The next worker can. */
		pl_log("snapshot: %s; starting over", err->msg);
		_exit(pl_code_exit(PL_E_INTERNAL));
	}
	pl_engine_resume(w->engine);
	*ret = json_object();
	set_text(*ret, "id", id);
	set_number(*ret, "pausedUs", now_us() - start);
	return rc;
}

static int op_resize(struct pl_worker *w, struct pl_call *call, json_t **ret,
		     struct pl_err *err)
{
	uint64_t size;
	int rc = get_number(call, "size", 0, &size, err);

	if (rc < 0)
		return rc;
	if (size == 0)
		return pl_err_set(err, PL_E_INVALID_ARGUMENT, 0,
				  "resize: size: must be given, in bytes");
	pl_engine_pause(w->engine);
	rc = pl_image_resize(w->image, pl_engine_chain(w->engine), size, err);
	pl_engine_resume(w->engine);
	*ret = json_object();
	set_number(*ret, "size", pl_engine_size(w->engine));
	return rc;
}

struct compaction {
	struct pl_worker *w;
	struct pl_call *call;
	uint64_t paused_us; /* since when */
	uint64_t told_us;
};

/* Between two pieces of work: lets the disk's users have their turn. */
static bool compact_progress(void *arg, uint64_t done, uint64_t total)
{
	struct compaction *c = arg;
	uint64_t now = now_us();

	if (now - c->told_us > TELL_US || done == total) {
		c->told_us = now;
		pl_call_progress(c->call, done, total);
	}
	if (now - c->paused_us > HOLD_US) {
		pl_engine_resume(c->w->engine);
		pl_loop_sleep_ms(c->w->loop, HOLD_US / 1000);
		pl_engine_pause(c->w->engine);
		c->paused_us = now_us();
	}
	return !c->call->cancelled;
}

static int op_compact(struct pl_worker *w, struct pl_call *call, json_t **ret,
		      struct pl_err *err)
{
	struct pl_compact_result res = { 0 };
	struct compaction c = { .w = w, .call = call };
	int rc;

	pl_engine_pause(w->engine);
	c.paused_us = now_us();
	rc = pl_image_compact(w->image, pl_engine_chain(w->engine), &res,
			      compact_progress, &c, err);
	pl_engine_resume(w->engine);
	*ret = json_object();
	set_number(*ret, "hostBefore", res.host_before);
	set_number(*ret, "hostAfter", res.host_after);
	set_number(*ret, "lengthBefore", res.length_before);
	set_number(*ret, "lengthAfter", res.length_after);
	set_number(*ret, "clustersFreed", res.clusters_freed);
	set_number(*ret, "clustersMoved", res.clusters_moved);
	return rc;
}

static int op_cancel(struct pl_worker *w, struct pl_call *call, json_t **ret,
		     struct pl_err *err)
{
	(void)w, (void)ret;
	if (!pl_call_cancel(call, json_object_get(call->request, "target")))
		return pl_err_set(err, PL_E_NOT_FOUND, 0,
				  "cancel: this connection has no such request "
				  "under way");
	return 0;
}

static int op_quit(struct pl_worker *w, struct pl_call *call, json_t **ret,
		   struct pl_err *err)
{
	int rc;

	(void)call, (void)ret;
	if (!w->closing && pl_fuse_in_use(w->fuse))
		return pl_err_set(err, PL_E_BUSY, EBUSY,
				  "quit: the device is configured; use ploopd "
				  "detach");
	rc = pl_worker_close(w, err);
	/* Runs when this call was answered. */
	pl_worker_end(w);
	return rc;
}

/* ---- dispatch ---- */

#define EXCLUSIVE 1u /* one of these at a time */
#define WRITES 2u /* not on a read-only attachment */
#define LOOSE 4u /* works while closing; does not hold closing up */

static const struct op {
	const char *name;
	int (*run)(struct pl_worker *w, struct pl_call *call, json_t **ret,
		   struct pl_err *err);
	unsigned flags;
} ops[] = {
	{ "ping", op_ping, LOOSE },
	{ "info", op_info, 0 },
	{ "stats", op_stats, 0 },
	{ "flush", op_flush, 0 },
	{ "map", op_map, 0 },
	{ "snapshot", op_snapshot, EXCLUSIVE | WRITES },
	{ "resize", op_resize, EXCLUSIVE | WRITES },
	{ "compact", op_compact, EXCLUSIVE | WRITES },
	{ "cancel", op_cancel, LOOSE },
	{ "quit", op_quit, LOOSE },
};

static const struct op *find_op(const char *name)
{
	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
		if (!strcmp(ops[i].name, name))
			return &ops[i];
	return NULL;
}

static int begin(struct pl_worker *w, const struct op *op, struct pl_err *err)
{
	if (op->flags & LOOSE)
		return 0;
	if (w->closing)
		return pl_err_set(err, PL_E_BUSY, EBUSY,
				  "%s: the image is being detached", op->name);
	if ((op->flags & WRITES) && w->att.read_only)
		return pl_err_set(err, PL_E_READ_ONLY, EROFS,
				  "%s: the image is attached read-only",
				  op->name);
	if ((op->flags & EXCLUSIVE) && w->maintenance)
		return pl_err_set(err, PL_E_BUSY, EBUSY,
				  "%s: a %s of this image is under way",
				  op->name, w->maintenance);
	if (op->flags & EXCLUSIVE)
		w->maintenance = op->name;
	w->running++;
	return 0;
}

static void finish(struct pl_worker *w, const struct op *op)
{
	if (op->flags & LOOSE)
		return;
	if (op->flags & EXCLUSIVE)
		w->maintenance = NULL;
	w->running--;
	pl_waitq_wake_all(&w->waiting);
}

static void run_call(void *arg)
{
	struct pl_call *call = arg;
	struct pl_worker *w = call->user;
	const struct op *op = find_op(call->op);
	struct pl_err err = { 0 };
	json_t *result = NULL;
	int rc;

	if (!op) {
		pl_call_fail(call, PL_E_INVALID_ARGUMENT,
			     "there is no operation \"%.40s\"", call->op);
		return;
	}
	rc = begin(w, op, &err);
	if (rc == 0) {
		rc = op->run(w, call, &result, &err);
		finish(w, op);
	}
	if (rc < 0 && op->flags & EXCLUSIVE)
		pl_log("%s failed: %s", op->name, err.msg);
	if (rc < 0) {
		json_decref(result);
		pl_call_error(call, &err);
	} else {
		pl_call_result(call, result);
	}
}

void pl_worker_call(struct pl_call *call)
{
	if (pl_co_start(run_call, call) < 0)
		pl_call_fail(call, PL_E_NO_MEMORY, "%.40s: no memory",
			     call->op);
}
