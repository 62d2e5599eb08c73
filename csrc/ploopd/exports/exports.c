/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's NBD exports: see exports.h.
 *
 * INVARIANTS
 *  1. An export that is answered with success is in the vault.
 *  2. An export is writable only where nothing else writes: not on a read-only
 *     attachment, and not beside a device that is in use.
 */
#include "ploopd/exports/exports.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/engine.h"
#include "export/nbd/nbd_server.h"
#include "ploopd/keeper/fds.h"
#include "ploopd/keeper/vault.h"
#include "ploopd/log.h"

#define DATA_MAX (128u << 20) /* bytes under way of all exports together */
#define SECRETS_MAX (1u << 20) /* bytes of TLS credentials */

struct pl_export {
	struct pl_export *next;
	struct pl_nbd *nbd;
	struct pl_nbd_tls *tls;
	json_t *about; /* as it was asked for */
	const char *name; /* in it */
	int fd[PL_VAULT_FDS]; /* listening; credentials, or -1 */
};

struct pl_exports {
	struct pl_worker *worker;
	struct pl_nbd_share *share;
	struct pl_nbd_contexts changed;
	struct pl_export *first;
	unsigned n;
};

/* ---- one export ---- */

static void note(void *arg, const char *text)
{
	(void)arg;
	pl_log("%s", text);
}

static void free_export(struct pl_export *e)
{
	pl_nbd_free(e->nbd);
	pl_nbd_tls_free(e->tls);
	json_decref(e->about);
	for (unsigned i = 0; i < PL_VAULT_FDS; i++)
		if (e->fd[i] >= 0)
			close(e->fd[i]);
	free(e);
}

/* The credentials are a JSON object in a memory file: see offer.c. */
static json_t *read_secrets(int fd)
{
	struct stat sb;
	json_t *j = NULL;
	char *map;
	size_t len;

	if (fd < 0 || fstat(fd, &sb) < 0 || sb.st_size <= 0 ||
	    sb.st_size > SECRETS_MAX)
		return NULL;
	len = (size_t)sb.st_size;
	map = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return NULL;
	j = json_loadb(map, len, 0, NULL);
	munmap(map, len);
	return j;
}

static const char *text_of(const json_t *j, const char *name)
{
	return json_string_value(json_object_get(j, name));
}

static bool flag_of(const json_t *j, const char *name)
{
	return json_is_true(json_object_get(j, name));
}

static int make_tls(struct pl_export *e, struct pl_err *err)
{
	json_t *secrets = read_secrets(e->fd[1]);
	struct pl_nbd_tls_params p = {
		.ca = text_of(secrets, "ca"),
		.cert = text_of(secrets, "cert"),
		.key = text_of(secrets, "key"),
		.crl = text_of(secrets, "crl"),
		.psk = text_of(secrets, "psk"),
		.verify_peer = flag_of(e->about, "verifyPeer"),
	};
	int rc;

	if (p.psk || (p.ca && p.cert && p.key))
		rc = pl_nbd_tls_new(&e->tls, &p, err);
	else
		rc = pl_err_set(err, PL_E_INVALID_ARGUMENT, EINVAL,
				"export: the TLS credentials did not come "
				"with the request");
	json_decref(secrets);
	return rc;
}

static int open_nbd(struct pl_exports *x, struct pl_export *e,
		    struct pl_err *err)
{
	struct pl_worker *w = x->worker;
	struct pl_nbd_params p = {
		.loop = w->loop,
		.engine = w->engine,
		.share = x->share,
		.listen_fd = e->fd[0],
		.name = e->name,
		.description = text_of(e->about, "description"),
		.read_only = flag_of(e->about, "readOnly"),
		.idle_ms = (unsigned)json_integer_value(
			json_object_get(e->about, "idleMs")),
		.contexts = &x->changed,
		.note = note,
	};
	int rc = flag_of(e->about, "tls") ? make_tls(e, err) : 0;

	p.tls = e->tls;
	if (rc == 0)
		rc = pl_nbd_new(&e->nbd, &p, err);
	if (rc == 0) {
		e->next = x->first;
		x->first = e;
		x->n++;
	}
	return rc;
}

/* Owns fds; about is borrowed. */
static int add_export(struct pl_exports *x, json_t *about,
		      const int fds[PL_VAULT_FDS], struct pl_export **ret,
		      struct pl_err *err)
{
	struct pl_export *e = calloc(1, sizeof(*e));
	int rc;

	for (unsigned i = 0; i < PL_VAULT_FDS; i++)
		if (e)
			e->fd[i] = fds[i];
		else if (fds[i] >= 0)
			close(fds[i]);
	if (!e)
		return pl_err_sys(err, -ENOMEM, "export");
	e->about = json_incref(about);
	e->name = text_of(about, "name");
	rc = open_nbd(x, e, err);
	if (rc < 0)
		free_export(e);
	else if (ret)
		*ret = e;
	return rc;
}

static struct pl_export **find(struct pl_exports *x, const char *name)
{
	struct pl_export **at = &x->first;

	while (*at && strcmp((*at)->name, name) != 0)
		at = &(*at)->next;
	return at;
}

/* ---- what the last worker served ---- */

static bool restore(void *arg, const char *key, const char *text,
		    const int fds[PL_VAULT_FDS])
{
	struct pl_exports *x = arg;
	json_t *about = json_loads(text, 0, NULL);
	struct pl_err err = { .code = PL_E_INTERNAL };

	if (!about || !text_of(about, "name")) {
		pl_log("export %s is not served any more: nothing is known of "
		       "it",
		       key);
		json_decref(about);
		return false;
	}
	if (add_export(x, about, fds, NULL, &err) < 0)
		pl_log("export %s is not served for now: %s", key, err.msg);
	json_decref(about);
	return true;
}

int pl_exports_new(struct pl_worker *w, struct pl_err *err)
{
	struct pl_exports *x = calloc(1, sizeof(*x));
	int rc = x ? pl_nbd_share_new(&x->share, DATA_MAX) : -ENOMEM;

	if (rc < 0) {
		free(x);
		return pl_err_sys(err, rc, "exports");
	}
	x->worker = w;
	pl_exports_changed(w, &x->changed);
	w->exports = x;
	rc = pl_vault_walk(PL_FD_VAULT_IN, PL_FD_VAULT_OUT, restore, x);
	if (rc < 0)
		pl_log("exports of the last worker: %s", strerrorname_np(-rc));
	return 0;
}

unsigned pl_exports_clients(const struct pl_worker *w)
{
	unsigned n = 0;

	for (struct pl_export *e = w->exports->first; e; e = e->next)
		n += pl_nbd_clients(e->nbd);
	return n;
}

void pl_exports_stop(struct pl_worker *w)
{
	for (struct pl_export *e = w->exports->first; e; e = e->next)
		pl_nbd_stop(e->nbd);
}

/* ---- operations ---- */

static json_t *describe(const struct pl_export *e)
{
	json_t *j = json_copy(e->about);

	json_object_set_new(j, "clients", json_integer(pl_nbd_clients(e->nbd)));
	return j;
}

static int check_listening(int fd, struct pl_err *err)
{
	socklen_t len = sizeof(int);
	int listening = 0, flags = fd < 0 ? -1 : fcntl(fd, F_GETFL);

	if (flags >= 0 &&
	    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) == 0 &&
	    listening && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0)
		return 0;
	return pl_err_set(err, PL_E_INVALID_ARGUMENT, EINVAL,
			  "export: no listening socket came with the request");
}

/* What is remembered: only what is known here, checked. NULL: err is set. */
static json_t *take_request(struct pl_worker *w, struct pl_call *call,
			    struct pl_err *err)
{
	static const char *const texts[] = { "name",   "description",
					     "socket", "address",
					     "uri",    "tlsDirectory" };
	static const size_t max[] = {
		PL_EXPORT_NAME, 255, 4095, 255, 4095, 1023
	};
	json_t *about = json_object();
	const char *text;
	uint64_t idle_ms;
	int rc = pl_call_get_number(call, "idleMs", 0, &idle_ms, err);
	bool read_only = flag_of(call->request, "readOnly") ||
			 w->att.read_only || pl_front_in_use(&w->front);

	for (size_t i = 0; rc == 0 && i < sizeof(texts) / sizeof(texts[0]);
	     i++) {
		rc = pl_call_get_text(call, texts[i], max[i], &text, err);
		if (rc == 0)
			pl_call_set_text(about, texts[i], text ? text : "");
	}
	if (rc == 0 && !text_of(about, "name"))
		rc = pl_err_set(err, PL_E_INVALID_ARGUMENT, EINVAL,
				"export: name: must be given");
	if (rc == 0 && idle_ms > INT32_MAX)
		rc = pl_err_set(err, PL_E_INVALID_ARGUMENT, EINVAL,
				"export: idleMs: at most %d", INT32_MAX);
	if (rc < 0) {
		json_decref(about);
		return NULL;
	}
	json_object_set_new(about, "readOnly", json_boolean(read_only));
	json_object_set_new(about, "tls",
			    json_boolean(flag_of(call->request, "tls")));
	json_object_set_new(about, "verifyPeer",
			    json_boolean(flag_of(call->request, "verifyPeer")));
	pl_call_set_number(about, "idleMs", idle_ms);
	return about;
}

static int forget(struct pl_exports *x, const char *name);

static int keep(struct pl_exports *x, struct pl_export *e, struct pl_err *err)
{
	char *text = json_dumps(e->about, JSON_COMPACT);
	int rc = text ? pl_vault_put(PL_FD_VAULT_IN, e->name, text, e->fd) :
			-ENOMEM;

	free(text);
	if (rc == 0)
		return 0;
	forget(x, e->name);
	return pl_err_sys(err, rc, "export: it can't be kept");
}

int pl_op_export(struct pl_worker *w, struct pl_call *call, json_t **ret,
		 struct pl_err *err)
{
	struct pl_exports *x = w->exports;
	json_t *about = take_request(w, call, err);
	struct pl_export *e;
	int rc = about ? check_listening(call->fd[0], err) : -EINVAL;

	if (rc == 0 && *find(x, text_of(about, "name")))
		rc = pl_err_set(err, PL_E_EXISTS, EEXIST,
				"export: there is an export \"%s\" of this "
				"image already",
				text_of(about, "name"));
	if (rc == 0 && x->n == PL_EXPORTS_MAX)
		rc = pl_err_set(err, PL_E_BUSY, EBUSY,
				"export: this image has %u exports, which is "
				"the most",
				x->n);
	if (rc == 0) {
		rc = add_export(x, about, call->fd, &e, err);
		for (unsigned i = 0; i < PL_VAULT_FDS; i++)
			call->fd[i] = -1;
	}
	if (rc == 0)
		rc = keep(x, e, err);
	if (rc == 0)
		*ret = describe(e);
	json_decref(about);
	return rc;
}

int pl_op_exports(struct pl_worker *w, struct pl_call *call, json_t **ret,
		  struct pl_err *err)
{
	json_t *list = json_array();

	(void)call, (void)err;
	for (struct pl_export *e = w->exports->first; e; e = e->next)
		json_array_append_new(list, describe(e));
	*ret = json_object();
	json_object_set_new(*ret, "exports", list);
	pl_call_set_number(*ret, "clients", pl_exports_clients(w));
	json_object_set_new(*ret, "device", json_boolean(w->front.via != NULL));
	json_object_set_new(*ret, "tls", json_boolean(pl_nbd_tls_loaded()));
	return 0;
}

/* ---- the end of one ---- */

struct forgetting {
	const char *name;
};

static bool is_another(void *arg, const char *key, const char *text,
		       const int fds[PL_VAULT_FDS])
{
	struct forgetting *f = arg;

	(void)text;
	for (unsigned i = 0; i < PL_VAULT_FDS; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	return strcmp(key, f->name) != 0;
}

/* Its clients are gone, or are cut off. */
static int forget(struct pl_exports *x, const char *name)
{
	struct pl_export **at = find(x, name), *e = *at;
	struct forgetting f = { name };
	int rc;

	*at = e->next;
	x->n--;
	rc = pl_vault_walk(PL_FD_VAULT_IN, PL_FD_VAULT_OUT, is_another, &f);
	pl_nbd_stop(e->nbd);
	pl_nbd_drain(e->nbd);
	free_export(e);
	return rc;
}

int pl_op_unexport(struct pl_worker *w, struct pl_call *call, json_t **ret,
		   struct pl_err *err)
{
	struct pl_export *e;
	const char *name;
	unsigned clients;
	int rc;

	if (pl_call_get_text(call, "name", PL_EXPORT_NAME, &name, err) < 0)
		return -EINVAL;
	e = name ? *find(w->exports, name) : NULL;
	if (!e)
		return pl_err_set(err, PL_E_NOT_FOUND, ENOENT,
				  "unexport: this image has no export \"%s\"",
				  name ? name : "");
	clients = pl_nbd_clients(e->nbd);
	if (clients && !flag_of(call->request, "force"))
		return pl_err_set(err, PL_E_BUSY, EBUSY,
				  "unexport: %u client%s of \"%s\" %s "
				  "connected",
				  clients, clients == 1 ? "" : "s", name,
				  clients == 1 ? "is" : "are");
	*ret = describe(e);
	rc = forget(w->exports, name);
	return rc < 0 ? pl_err_sys(err, rc, "unexport") : 0;
}
