/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS of a connection, by GnuTLS.
 *
 * GnuTLS never touches the socket and never waits: it takes ciphertext from
 * rx and leaves it in tx, and the coroutine around it receives and sends. The
 * handshake with its big numbers needs more stack than a coroutine has, so its
 * steps run on the loop's own (on_main).
 */
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>

#include "export/nbd/nbd_gnutls.h"
#include "export/nbd/nbd_int.h"

#define PRIORITY "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"
#define PRIORITY_PSK PRIORITY ":+ECDHE-PSK:+DHE-PSK:+PSK"
#define TX_MAX (NBD_TX + (64u << 10)) /* a record more than where it is sent */

struct pl_nbd_tls {
	gnutls_certificate_credentials_t cert;
	gnutls_psk_server_credentials_t psk;
	gnutls_priority_t priority;
	char *keys; /* "user:hex" lines */
	bool verify_peer;
};

struct nbd_tls_session {
	struct pl_ev step_ev; /* first: the loop hands this back */
	struct nbd_conn *conn;
	struct pl_co *co; /* waits for the step */
	bool stepped;
	int step_rc;
	gnutls_session_t session;
	uint8_t *tx;
	size_t tx_len;
};

/* ---- credentials ---- */

static int gnutls_failed(struct pl_err *err, int rc, const char *what)
{
	return pl_err_set(err, PL_E_INVALID_ARGUMENT, EINVAL, "TLS: %s: %s",
			  what, nbd_gnutls.strerror(rc));
}

static gnutls_datum_t datum(const char *text)
{
	return (gnutls_datum_t){ (unsigned char *)(uintptr_t)text,
				 (unsigned)strlen(text) };
}

static int load_certificates(struct pl_nbd_tls *tls,
			     const struct pl_nbd_tls_params *p,
			     struct pl_err *err)
{
	gnutls_datum_t ca = datum(p->ca), cert = datum(p->cert);
	gnutls_datum_t key = datum(p->key), crl = datum(p->crl ? p->crl : "");
	int rc = nbd_gnutls.certificate_allocate_credentials(&tls->cert);

	if (rc < 0)
		return gnutls_failed(err, rc, "credentials");
	rc = nbd_gnutls.certificate_set_x509_trust_mem(tls->cert, &ca,
						       GNUTLS_X509_FMT_PEM);
	if (rc <= 0)
		return gnutls_failed(err, rc, "ca-cert.pem");
	rc = nbd_gnutls.certificate_set_x509_key_mem(tls->cert, &cert, &key,
						     GNUTLS_X509_FMT_PEM);
	if (rc < 0)
		return gnutls_failed(err, rc,
				     "server-cert.pem and server-key.pem");
	if (p->crl)
		rc = nbd_gnutls.certificate_set_x509_crl_mem(
			tls->cert, &crl, GNUTLS_X509_FMT_PEM);
	return rc < 0 ? gnutls_failed(err, rc, "ca-crl.pem") : 0;
}

/* The key of a user, from the lines of keys.psk. */
static int find_key(gnutls_session_t session, const char *user,
		    gnutls_datum_t *ret)
{
	struct nbd_tls_session *s = nbd_gnutls.session_get_ptr(session);
	const char *line = s->conn->nbd->p.tls->keys, *end;
	size_t len = strlen(user);
	gnutls_datum_t hex;

	for (; *line; line = *end ? end + 1 : end) {
		end = strchrnul(line, '\n');
		if ((size_t)(end - line) <= len || line[len] != ':' ||
		    memcmp(line, user, len) != 0)
			continue;
		line += len + 1;
		hex.data = (unsigned char *)(uintptr_t)line;
		hex.size = (unsigned)strcspn(line, "\r\n");
		return nbd_gnutls.hex_decode2(&hex, ret) < 0 ? -1 : 0;
	}
	return -1;
}

static int load_keys(struct pl_nbd_tls *tls, const struct pl_nbd_tls_params *p,
		     struct pl_err *err)
{
	int rc = nbd_gnutls.psk_allocate_server_credentials(&tls->psk);

	if (rc < 0)
		return gnutls_failed(err, rc, "keys.psk");
	tls->keys = strdup(p->psk);
	if (!tls->keys)
		return pl_err_sys(err, -ENOMEM, "keys.psk");
	if (!strchr(tls->keys, ':'))
		return pl_err_set(err, PL_E_INVALID_ARGUMENT, EINVAL,
				  "TLS: keys.psk: a line is a user, a colon "
				  "and a key in hexadecimal digits");
	nbd_gnutls.psk_set_server_credentials_function(tls->psk, find_key);
	return 0;
}

int pl_nbd_tls_new(struct pl_nbd_tls **ret, const struct pl_nbd_tls_params *p,
		   struct pl_err *err)
{
	struct pl_nbd_tls *tls;
	int rc;

	if (!pl_nbd_tls_loaded())
		return pl_err_set(err, PL_E_UNSUPPORTED, ENOSYS,
				  "TLS: GnuTLS is not loaded");
	tls = calloc(1, sizeof(*tls));
	if (!tls)
		return pl_err_sys(err, -ENOMEM, "TLS");
	tls->verify_peer = p->verify_peer;
	rc = p->psk ? load_keys(tls, p, err) : load_certificates(tls, p, err);
	if (rc == 0) {
		rc = nbd_gnutls.priority_init(
			&tls->priority, p->psk ? PRIORITY_PSK : PRIORITY, NULL);
		if (rc < 0)
			rc = gnutls_failed(err, rc, "priorities");
	}
	if (rc < 0) {
		pl_nbd_tls_free(tls);
		return rc;
	}
	*ret = tls;
	return 0;
}

void pl_nbd_tls_free(struct pl_nbd_tls *tls)
{
	if (!tls)
		return;
	if (tls->cert)
		nbd_gnutls.certificate_free_credentials(tls->cert);
	if (tls->psk)
		nbd_gnutls.psk_free_server_credentials(tls->psk);
	if (tls->priority)
		nbd_gnutls.priority_deinit(tls->priority);
	if (tls->keys)
		explicit_bzero(tls->keys, strlen(tls->keys));
	free(tls->keys);
	free(tls);
}

/* ---- what GnuTLS takes and leaves ---- */

static ssize_t pull(gnutls_transport_ptr_t arg, void *buf, size_t len)
{
	struct nbd_tls_session *s = arg;
	struct nbd_conn *c = s->conn;
	size_t n = c->rx_len < len ? c->rx_len : len;

	if (n == 0) {
		nbd_gnutls.transport_set_errno(s->session, EAGAIN);
		return -1;
	}
	memcpy(buf, c->rx + c->rx_at, n);
	c->rx_at += n;
	c->rx_len -= n;
	return (ssize_t)n;
}

static ssize_t push(gnutls_transport_ptr_t arg, const void *buf, size_t len)
{
	struct nbd_tls_session *s = arg;

	if (len > TX_MAX - s->tx_len) {
		nbd_gnutls.transport_set_errno(s->session, EAGAIN);
		return -1;
	}
	memcpy(s->tx + s->tx_len, buf, len);
	s->tx_len += len;
	return (ssize_t)len;
}

/* There is always something to pull, as far as GnuTLS is concerned. */
static int pull_timeout(gnutls_transport_ptr_t arg, unsigned ms)
{
	(void)arg, (void)ms;
	return 1;
}

static int flush(struct nbd_tls_session *s)
{
	size_t done = 0;
	int n;

	while (done < s->tx_len) {
		n = nbd_raw_send(s->conn, s->tx + done, s->tx_len - done);
		if (n < 0)
			return n;
		done += (size_t)n;
	}
	s->tx_len = 0;
	return 0;
}

static int fill(struct nbd_conn *c)
{
	int n = nbd_raw_recv(c, c->rx, NBD_RX);

	c->rx_at = 0;
	c->rx_len = n > 0 ? (size_t)n : 0;
	return n < 0 ? n : 0;
}

/* ---- handshake ---- */

static void on_main(struct pl_ev *ev, int res, bool more)
{
	struct nbd_tls_session *s = (struct nbd_tls_session *)ev;

	(void)res, (void)more;
	s->step_rc = nbd_gnutls.handshake(s->session);
	s->stepped = true;
	pl_co_wake(s->co);
}

static int step(struct nbd_tls_session *s)
{
	s->co = pl_co_self();
	s->stepped = false;
	io_uring_prep_nop(pl_loop_sqe(s->conn->nbd->p.loop, &s->step_ev));
	while (!s->stepped)
		pl_co_yield();
	return s->step_rc;
}

static int shake(struct nbd_tls_session *s)
{
	int rc, io;

	do {
		rc = step(s);
		io = flush(s);
		if (io == 0 && rc == GNUTLS_E_AGAIN)
			io = fill(s->conn);
	} while (io == 0 && rc < 0 && !nbd_gnutls.error_is_fatal(rc));
	if (rc < 0 && rc != GNUTLS_E_AGAIN)
		nbd_note(s->conn, "TLS handshake", nbd_gnutls.strerror(rc));
	return rc < 0 ? -EACCES : io;
}

static int make_session(struct nbd_tls_session *s, const struct pl_nbd_tls *tls)
{
	int rc = nbd_gnutls.init(&s->session, GNUTLS_SERVER | GNUTLS_NONBLOCK |
						      GNUTLS_NO_SIGNAL);

	if (rc < 0)
		return rc;
	nbd_gnutls.session_set_ptr(s->session, s);
	nbd_gnutls.transport_set_ptr(s->session, s);
	nbd_gnutls.transport_set_pull_function(s->session, pull);
	nbd_gnutls.transport_set_pull_timeout_function(s->session,
						       pull_timeout);
	nbd_gnutls.transport_set_push_function(s->session, push);
	/* The connection has deadlines of its own. */
	nbd_gnutls.handshake_set_timeout(s->session, 0);
	rc = nbd_gnutls.priority_set(s->session, tls->priority);
	if (rc == 0 && tls->cert)
		rc = nbd_gnutls.credentials_set(
			s->session, GNUTLS_CRD_CERTIFICATE, tls->cert);
	if (rc == 0 && tls->psk)
		rc = nbd_gnutls.credentials_set(s->session, GNUTLS_CRD_PSK,
						tls->psk);
	if (rc == 0 && tls->verify_peer && tls->cert) {
		nbd_gnutls.certificate_server_set_request(s->session,
							  GNUTLS_CERT_REQUIRE);
		nbd_gnutls.session_set_verify_cert(s->session, NULL, 0);
	}
	return rc;
}

int nbd_tls_start(struct nbd_conn *c)
{
	struct nbd_tls_session *s = calloc(1, sizeof(*s));
	int rc = -ENOMEM;

	if (!s)
		return rc;
	s->step_ev.fn = on_main;
	s->conn = c;
	s->tx = malloc(TX_MAX);
	if (s->tx && make_session(s, c->nbd->p.tls) == 0)
		rc = shake(s);
	c->tls = s;
	if (rc < 0)
		c->broken = true; /* nothing more to say to this client */
	return rc;
}

/* ---- data ---- */

int nbd_tls_recv(struct nbd_conn *c, void *buf, size_t len)
{
	ssize_t n;
	int rc;

	for (;;) {
		n = nbd_gnutls.record_recv(c->tls->session, buf, len);
		if (n > 0)
			return (int)n;
		if (n == 0)
			return -ECONNRESET;
		if (n != GNUTLS_E_AGAIN && n != GNUTLS_E_INTERRUPTED)
			return -EPROTO; /* rehandshake is not offered */
		rc = fill(c);
		if (rc < 0)
			return rc;
	}
}

static int send_piece(struct nbd_tls_session *s, const uint8_t *at, size_t len)
{
	ssize_t n;
	int rc = 0;

	while (rc == 0 && len > 0) {
		n = nbd_gnutls.record_send(s->session, at,
					   len < NBD_RX ? len : NBD_RX);
		if (n < 0)
			return -EPIPE;
		at += n;
		len -= (size_t)n;
		if (s->tx_len >= NBD_TX)
			rc = flush(s);
	}
	return rc;
}

int nbd_tls_send(struct nbd_conn *c, const struct iovec *iov, unsigned n)
{
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < n; i++)
		rc = send_piece(c->tls, iov[i].iov_base, iov[i].iov_len);
	return rc < 0 ? rc : flush(c->tls);
}

void nbd_tls_bye(struct nbd_conn *c)
{
	/* Its answer is not waited for. */
	nbd_gnutls.bye(c->tls->session, GNUTLS_SHUT_WR);
	nbd_send_within(c, NBD_CUT_MS);
	flush(c->tls);
	nbd_send_within(c, 0);
}

void nbd_tls_end(struct nbd_conn *c)
{
	struct nbd_tls_session *s = c->tls;

	if (!s)
		return;
	if (s->session)
		nbd_gnutls.deinit(s->session);
	free(s->tx);
	free(s);
	c->tls = NULL;
}
