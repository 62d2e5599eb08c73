/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ploopd export: makes the listening socket, reads the TLS credentials, and
 * hands both to the attachment's worker. Here is everything that needs to see
 * the host's files and network; the worker needs neither.
 */
#include "ploopd/exports/offer.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ploopd/attach/manage.h"
#include "ploopd/control/client.h"
#include "ploopd/exports/offer_socket.h"
#include "ploopd/keeper/fds.h"
#include "ploopd/rundir.h"

#define ANSWER_MS 30000u
#define SECRET_MAX (256u << 10) /* bytes of one file */

struct offer {
	struct pl_attachment att;
	struct pl_failure f;
	struct pl_offer_socket socket;
	const char *name, *description, *path, *listen, *tls, *run_dir;
	unsigned long idle_ms;
	bool read_only, verify_peer, insecure_plain;
	int fds[PL_FDS_SENT]; /* for the worker */
};

/* ---- TLS ---- */

static json_t *read_file(const char *dir, const char *name)
{
	char path[PATH_MAX], *text;
	json_t *j = NULL;
	ssize_t n = -1;
	int fd;

	if (pl_rundir_file(path, dir, name) < 0)
		return NULL;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	text = malloc(SECRET_MAX);
	if (fd >= 0 && text)
		n = read(fd, text, SECRET_MAX);
	if (n > 0 && (size_t)n < SECRET_MAX)
		j = json_stringn(text, (size_t)n);
	if (fd >= 0)
		close(fd);
	if (text)
		explicit_bzero(text, SECRET_MAX);
	free(text);
	return j;
}

static int not_there(struct offer *o, const char *name)
{
	return pl_hint(&o->f,
		       pl_err_set(&o->f.err, PL_E_NOT_FOUND, ENOENT,
				  "--tls: %s/%s cannot be read, or is empty",
				  o->tls, name),
		       "The directory holds keys.psk, or ca-cert.pem, "
		       "server-cert.pem and server-key.pem");
}

static int load_certificates(struct offer *o, json_t *j)
{
	static const struct {
		const char *member, *file;
	} files[] = {
		{ "ca", "ca-cert.pem" },
		{ "cert", "server-cert.pem" },
		{ "key", "server-key.pem" },
	};
	json_t *text;

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		text = read_file(o->tls, files[i].file);
		if (!text)
			return not_there(o, files[i].file);
		json_object_set_new(j, files[i].member, text);
	}
	text = read_file(o->tls, "ca-crl.pem");
	if (text)
		json_object_set_new(j, "crl", text);
	return 0;
}

static int put_into_memory(struct offer *o, const json_t *j)
{
	char *text = json_dumps(j, JSON_COMPACT);
	size_t len = text ? strlen(text) : 0;
	int fd = pl_fds_memory("ploop-tls", len, &o->f.err), rc = 0;

	if (fd < 0)
		rc = fd;
	else if (!text || pwrite(fd, text, len, 0) != (ssize_t)len)
		rc = pl_err_sys(&o->f.err, -ENOMEM, "--tls");
	if (text)
		explicit_bzero(text, len);
	free(text);
	o->fds[1] = fd;
	return rc;
}

/* The credentials go to the worker as they are, in memory. */
static int load_tls(struct offer *o)
{
	json_t *j = json_object(), *psk = read_file(o->tls, "keys.psk");
	int rc = 0;

	if (psk)
		json_object_set_new(j, "psk", psk);
	else
		rc = load_certificates(o, j);
	if (rc == 0 && psk && o->verify_peer)
		rc = pl_err_set(&o->f.err, PL_E_INVALID_ARGUMENT, EINVAL,
				"--tls-verify-peer: %s has keys.psk, which "
				"proves the client already",
				o->tls);
	if (rc == 0)
		rc = put_into_memory(o, j);
	json_decref(j);
	return rc;
}

/* ---- the request ---- */

static int make_socket(struct offer *o)
{
	int rc;

	if (!o->path == !o->listen)
		return pl_err_set(&o->f.err, PL_E_INVALID_ARGUMENT, EINVAL,
				  "export: give either --socket or --listen");
	rc = o->path ? pl_offer_unix(&o->socket, o->path, &o->f) :
		       pl_offer_tcp(&o->socket, o->listen, &o->f);
	if (rc == 0 && !o->socket.loopback && !o->tls && !o->insecure_plain)
		rc = pl_hint(&o->f,
			     pl_err_set(&o->f.err, PL_E_INVALID_ARGUMENT,
					EINVAL,
					"--listen: without TLS everybody who "
					"reaches %s could read the image",
					o->socket.address),
			     "Give --tls DIR, listen on 127.0.0.1, or say "
			     "--insecure-plain");
	o->fds[0] = o->socket.fd;
	return rc;
}

static void set_text(json_t *j, const char *name, const char *value)
{
	if (value && *value)
		json_object_set_new(j, name, json_string(value));
}

static char *make_request(struct offer *o)
{
	char uri[PATH_MAX];
	json_t *j = json_object();
	char *text = NULL;

	json_object_set_new(j, "id", json_integer(1));
	json_object_set_new(j, "op", json_string("export"));
	set_text(j, "name", o->name);
	set_text(j, "description", o->description);
	set_text(j, "socket", o->socket.path);
	set_text(j, "address", o->socket.address);
	set_text(j, "tlsDirectory", o->tls);
	json_object_set_new(j, "readOnly", json_boolean(o->read_only));
	json_object_set_new(j, "tls", json_boolean(o->tls != NULL));
	json_object_set_new(j, "verifyPeer", json_boolean(o->verify_peer));
	json_object_set_new(j, "idleMs", json_integer((json_int_t)o->idle_ms));
	if (pl_offer_uri(&o->socket, o->name, o->tls != NULL, uri,
			 sizeof(uri)) == 0) {
		set_text(j, "uri", uri);
		text = json_dumps(j, JSON_COMPACT);
	}
	json_decref(j);
	return text;
}

static int refused(struct offer *o, const json_t *answer)
{
	const json_t *error = json_object_get(answer, "error");
	const char *code = json_string_value(json_object_get(error, "code"));
	const char *text = json_string_value(json_object_get(error, "message"));

	for (int i = 1; code && i < 200; i++)
		if (!strcmp(pl_code_name((enum pl_code)i), code))
			return pl_err_set(&o->f.err, (enum pl_code)i, 0, "%s",
					  text ? text : code);
	return pl_hint(&o->f,
		       pl_err_set(&o->f.err, PL_E_DAEMON, 0,
				  "%s: the worker does not answer", o->att.id),
		       "Its log is %s/log", o->att.folder);
}

static int ask(struct offer *o, json_t **ret)
{
	char *request = make_request(o);
	json_t *answer = NULL;
	int fd, rc = 0;

	if (!request)
		return pl_err_set(&o->f.err, PL_E_INVALID_ARGUMENT, EINVAL,
				  "export: the names are too long");
	fd = pl_client_connect(o->att.folder, ANSWER_MS);
	if (fd >= 0) {
		answer = pl_client_ask(fd, request, o->fds);
		close(fd);
	} else if (fd == -ENOENT) {
		rc = pl_err_set(&o->f.err, PL_E_NOT_ATTACHED, 0,
				"nothing is attached as %s", o->att.id);
	}
	*ret = json_incref(json_object_get(answer, "result"));
	if (rc == 0 && !*ret)
		rc = refused(o, answer);
	json_decref(answer);
	free(request);
	return rc;
}

/* A worker that was started without TLS hands over to one that has it. */
static int have_tls(struct offer *o)
{
	json_t *now = pl_client_result(o->att.folder, ANSWER_MS,
				       "{\"id\":1,\"op\":\"exports\"}");
	bool lacks = json_is_false(json_object_get(now, "tls"));
	json_int_t clients =
		json_integer_value(json_object_get(now, "clients"));

	json_decref(now);
	if (!lacks)
		return 0;
	if (clients)
		return pl_hint(&o->f,
			       pl_err_set(&o->f.err, PL_E_BUSY, EBUSY,
					  "export: the worker has to be "
					  "replaced by one with TLS, which "
					  "would end %lld connection%s of "
					  "other exports",
					  clients, clients == 1 ? "" : "s"),
			       "End these clients first; they may connect "
			       "again afterwards");
	return pl_manage_add_tls(&o->att, ANSWER_MS, &o->f);
}

/* ---- command line ---- */

static const struct option options[] = {
	{ "socket", required_argument, NULL, 's' },
	{ "listen", required_argument, NULL, 'l' },
	{ "name", required_argument, NULL, 'n' },
	{ "description", required_argument, NULL, 'e' },
	{ "read-only", no_argument, NULL, 'r' },
	{ "tls", required_argument, NULL, 't' },
	{ "tls-verify-peer", no_argument, NULL, 'v' },
	{ "insecure-plain", no_argument, NULL, 'p' },
	{ "idle-ms", required_argument, NULL, 'i' },
	{ "run-dir", required_argument, NULL, 'd' },
	{ NULL, 0, NULL, 0 },
};

static void take_option(struct offer *o, int c)
{
	switch (c) {
	case 's':
		o->path = optarg;
		break;
	case 'l':
		o->listen = optarg;
		break;
	case 'n':
		o->name = optarg;
		break;
	case 'e':
		o->description = optarg;
		break;
	case 'r':
		o->read_only = true;
		break;
	case 't':
		o->tls = optarg;
		break;
	case 'v':
		o->verify_peer = true;
		break;
	case 'p':
		o->insecure_plain = true;
		break;
	case 'i':
		o->idle_ms = strtoul(optarg, NULL, 10);
		break;
	default:
		o->run_dir = optarg;
	}
}

static int parse(struct offer *o, int argc, char **argv)
{
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == '?')
			return pl_err_set(&o->f.err, PL_E_INVALID_ARGUMENT,
					  EINVAL,
					  "unknown option, or its value is "
					  "missing: %s",
					  argv[optind - 1]);
		take_option(o, c);
	}
	if (optind != argc - 1 || !o->name || !*o->name)
		return pl_err_set(&o->f.err, PL_E_INVALID_ARGUMENT, EINVAL,
				  "export takes one attachment and --name");
	if (o->verify_peer && !o->tls)
		return pl_err_set(&o->f.err, PL_E_INVALID_ARGUMENT, EINVAL,
				  "--tls-verify-peer goes with --tls");
	return pl_attachment_place(&o->att, argv[optind], o->run_dir, &o->f);
}

int pl_offer_main(int argc, char **argv)
{
	static struct offer o = { .fds = { -1, -1 }, .socket.fd = -1 };
	json_t *result = NULL;
	char *text;
	int rc = parse(&o, argc - 1, argv + 1), status;

	if (rc == 0)
		rc = make_socket(&o);
	if (rc == 0 && o.tls)
		rc = load_tls(&o);
	if (rc == 0 && o.tls)
		rc = have_tls(&o);
	if (rc == 0)
		rc = ask(&o, &result);
	if (rc < 0 && o.socket.bound)
		unlink(o.socket.path);
	if (rc < 0)
		return pl_report_failure(&o.f);
	text = json_dumps(result, JSON_COMPACT);
	status = pl_report_result(text ? text : "null");
	free(text);
	json_decref(result);
	return status;
}
