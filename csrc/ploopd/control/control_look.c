/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations of the control socket that only look, and the reading and writing
 * of arguments and results that all of them share.
 */
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/engine.h"
#include "image/image.h"
#include "ploopd/control/control_ops.h"

#define MAP_LIMIT 512

/* ---- arguments ---- */

int pl_call_get_number(struct pl_call *call, const char *name,
		       uint64_t fallback, uint64_t *ret, struct pl_err *err)
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

void pl_call_set_limits(json_t *object, struct pl_limits limits)
{
	json_t *iops = json_integer((json_int_t)limits.iops);
	json_t *bps = json_integer((json_int_t)limits.bps);

	json_object_set_new(object, "iops", limits.iops ? iops : json_null());
	json_object_set_new(object, "bps", limits.bps ? bps : json_null());
	if (!limits.iops)
		json_decref(iops);
	if (!limits.bps)
		json_decref(bps);
}

int pl_call_get_text(struct pl_call *call, const char *name, size_t max_bytes,
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

void pl_call_set_number(json_t *object, const char *name, uint64_t value)
{
	json_object_set_new(object, name, json_integer((json_int_t)value));
}

void pl_call_set_text(json_t *object, const char *name, const char *value)
{
	json_object_set_new(object, name,
			    *value ? json_string(value) : json_null());
}

/* ---- looking ---- */

int pl_op_ping(struct pl_worker *w, struct pl_call *call, json_t **ret,
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
	json_t *j, *full;
	int rc = pl_image_layer_usage(w->image, pl_engine_chain(w->engine), id,
				      &usage, err);

	if (rc < 0)
		return rc;
	layer = find_layer(pl_image_desc(w->image), id);
	*ret_parent = layer ? layer->parent : "";
	j = json_object();
	pl_call_set_text(j, "id", id);
	pl_call_set_text(j, "parent", *ret_parent);
	pl_call_set_number(j, "hostBytes", usage.host_bytes);
	pl_call_set_number(j, "length", usage.length);
	pl_call_set_number(j, "clusters", usage.clusters);
	pl_call_set_number(j, "ownedBytes", usage.owned_bytes);
	pl_call_set_number(j, "dataBytes", usage.data_bytes);
	full = json_array();
	for (int i = 0; i < 8; i++)
		json_array_append_new(
			full, json_integer((json_int_t)usage.fullness[i]));
	json_object_set_new(j, "fullness", full);
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

/* Wall time of a moment of CLOCK_MONOTONIC; null for 0. */
static void set_time(json_t *object, const char *name, uint64_t ns)
{
	struct timespec mono, real;
	char text[32] = "";
	struct tm tm;
	time_t t;

	clock_gettime(CLOCK_MONOTONIC, &mono);
	clock_gettime(CLOCK_REALTIME, &real);
	t = real.tv_sec - mono.tv_sec + (time_t)(ns / 1000000000u);
	gmtime_r(&t, &tm);
	if (ns)
		strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	pl_call_set_text(object, name, text);
}

static void set_full(const struct pl_worker *w, json_t *object)
{
	struct pl_engine_stats stats;

	pl_engine_stats(w->engine, &stats);
	pl_call_set_text(object, "onFull",
			 pl_on_full_name(pl_engine_on_full(w->engine)));
	pl_call_set_limits(object, pl_engine_limits(w->engine));
	pl_call_set_number(object, "full", stats.full);
	pl_call_set_number(object, "fullEvents", stats.full_events);
	set_time(object, "fullSince", stats.full_since_ns);
}

int pl_op_info(struct pl_worker *w, struct pl_call *call, json_t **ret,
	       struct pl_err *err)
{
	json_t *j = json_object(), *layers = json_array();
	int rc = list_layers(w, layers, err);

	(void)call;
	pl_call_set_text(j, "image", w->att.image);
	pl_call_set_text(j, "snapshot", w->att.snapshot);
	json_object_set_new(j, "readOnly", json_boolean(w->att.read_only));
	pl_call_set_number(j, "size", pl_engine_size(w->engine));
	pl_call_set_number(j, "blockSize", pl_engine_block_size(w->engine));
	pl_call_set_text(j, "discard",
			 pl_discard_name(pl_image_desc(w->image)->discard));
	pl_call_set_text(j, "top", shown_layer(w));
	json_object_set_new(j, "layers", layers);
	pl_call_set_number(j, "pid", (uint64_t)getpid());
	pl_call_set_text(j, "version", PL_VERSION);
	set_full(w, j);
	*ret = j;
	return rc;
}

int pl_op_stats(struct pl_worker *w, struct pl_call *call, json_t **ret,
		struct pl_err *err)
{
	static const char *const names[PL_REQ_OPS] = {
		[PL_REQ_READ] = "read",
		[PL_REQ_WRITE] = "write",
		[PL_REQ_FLUSH] = "flush",
		[PL_REQ_DISCARD] = "discard",
		[PL_REQ_WRITE_ZEROES] = "writeZeroes",
		[PL_REQ_STATUS] = "status",
	};
	struct pl_engine_stats stats;
	json_t *one;

	(void)call, (void)err;
	pl_engine_stats(w->engine, &stats);
	*ret = json_object();
	for (int i = 0; i < PL_REQ_OPS; i++) {
		one = json_object();
		pl_call_set_number(one, "requests", stats.op[i].requests);
		pl_call_set_number(one, "bytes", stats.op[i].bytes);
		pl_call_set_number(one, "errors", stats.op[i].errors);
		pl_call_set_number(one, "ns", stats.op[i].ns);
		json_object_set_new(*ret, names[i], one);
	}
	pl_call_set_number(*ret, "inflight", stats.inflight);
	pl_call_set_number(*ret, "inflightMax", stats.inflight_max);
	pl_call_set_number(*ret, "waiting", stats.waiting);
	set_full(w, *ret);
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
	pl_call_set_number(j, "offset", e->off);
	pl_call_set_number(j, "length", e->len);
	pl_call_set_text(j, "layer", e->layer ? e->layer : "");
	json_object_set_new(j, "zero", json_boolean(e->zero));
	if (e->layer && !e->zero)
		pl_call_set_number(j, "hostOffset", e->host_off);
	else
		json_object_set_new(j, "hostOffset", json_null());
	json_array_append_new(m->extents, j);
	return true;
}

int pl_op_map(struct pl_worker *w, struct pl_call *call, json_t **ret,
	      struct pl_err *err)
{
	uint64_t size = pl_engine_size(w->engine), off, len, limit;
	struct mapping m = { .extents = NULL };
	int rc;

	if (pl_call_get_number(call, "offset", 0, &off, err) < 0 ||
	    pl_call_get_number(call, "length", size, &len, err) < 0 ||
	    pl_call_get_number(call, "limit", MAP_LIMIT, &limit, err) < 0)
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
		pl_call_set_number(*ret, "next", m.next);
	else
		json_object_set_new(*ret, "next", json_null());
	return rc;
}
