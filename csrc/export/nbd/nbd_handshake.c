/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fixed newstyle handshake: from the greeting to the transmission.
 *
 * STATES
 *   greeting --client flags--> options --EXPORT_NAME, GO--> transmission
 *   options --STARTTLS--> options, encrypted; what was agreed on is forgotten
 *   any --ABORT, malformed, ten seconds, too many options--> end
 *
 * With TLS configured nothing is told before STARTTLS.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "export/nbd/nbd_int.h"

#define OPTION_MAX (32u << 10) /* bytes of an option's data */
#define OPTION_SKIP (1u << 20) /* more than this is not even thrown away */
#define OPTIONS_MAX 64u
#define GO 1 /* on to the transmission */

/* ---- answers ---- */

int nbd_opt_reply(struct nbd_conn *c, uint32_t opt, uint32_t type,
		  const void *data, size_t len)
{
	uint8_t head[20], *p = head;
	struct iovec iov[2];

	p = nbd_put64(p, NBD_REP_MAGIC);
	p = nbd_put32(p, opt);
	p = nbd_put32(p, type);
	nbd_put32(p, (uint32_t)len);
	iov[0] = (struct iovec){ head, sizeof(head) };
	iov[1] = (struct iovec){ (void *)(uintptr_t)data, len };
	return nbd_send(c, iov, len ? 2 : 1);
}

int nbd_opt_refuse(struct nbd_conn *c, uint32_t opt, uint32_t type,
		   const char *why)
{
	return nbd_opt_reply(c, opt, type, why, strlen(why));
}

static int ack(struct nbd_conn *c, uint32_t opt)
{
	return nbd_opt_reply(c, opt, NBD_REP_ACK, NULL, 0);
}

/* ---- the export ---- */

bool nbd_name_matches(const struct nbd_conn *c, const uint8_t *name,
		      uint32_t len)
{
	return len == 0 || (len == strlen(c->nbd->name) &&
			    memcmp(name, c->nbd->name, len) == 0);
}

static unsigned transmission_flags(const struct nbd_conn *c)
{
	unsigned flags = NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH |
			 NBD_FLAG_SEND_FUA | NBD_FLAG_SEND_CACHE |
			 NBD_FLAG_CAN_MULTI_CONN;

	if (c->nbd->p.read_only)
		flags |= NBD_FLAG_READ_ONLY;
	else
		flags |= NBD_FLAG_SEND_TRIM | NBD_FLAG_SEND_WRITE_ZEROES |
			 NBD_FLAG_SEND_FAST_ZERO;
	if (c->structured)
		flags |= NBD_FLAG_SEND_DF;
	if (c->extended && c->n_contexts)
		flags |= NBD_FLAG_BLOCK_STATUS_PAYLOAD;
	return flags;
}

static int export_name(struct nbd_conn *c, const uint8_t *name, uint32_t len)
{
	uint8_t reply[134] = { 0 }, *p = reply;

	/* This option has no answer but the end; GO has. */
	if (!nbd_name_matches(c, name, len) || c->extended)
		return -ENOENT;
	p = nbd_put64(p, pl_engine_size(c->nbd->p.engine));
	p = nbd_put16(p, transmission_flags(c));
	if (!c->no_zeroes)
		p += 124;
	if (nbd_send_buf(c, reply, (size_t)(p - reply)) < 0)
		return -EPIPE;
	return GO;
}

static int list(struct nbd_conn *c, uint32_t len)
{
	size_t name = strlen(c->nbd->name);
	size_t description = strlen(c->nbd->description);
	uint8_t data[4 + 2 * NBD_NAME_MAX], *p = data;
	int rc;

	if (len)
		return nbd_opt_refuse(c, NBD_OPT_LIST, NBD_REP_ERR_INVALID,
				      "this option takes no data");
	p = nbd_put32(p, (uint32_t)name);
	memcpy(p, c->nbd->name, name);
	memcpy(p + name, c->nbd->description, description);
	rc = nbd_opt_reply(c, NBD_OPT_LIST, NBD_REP_SERVER, data,
			   4 + name + description);
	return rc < 0 ? rc : ack(c, NBD_OPT_LIST);
}

/* ---- INFO and GO ---- */

static int tell_export(struct nbd_conn *c, uint32_t opt)
{
	uint8_t data[12], *p = nbd_put16(data, NBD_INFO_EXPORT);

	p = nbd_put64(p, pl_engine_size(c->nbd->p.engine));
	nbd_put16(p, transmission_flags(c));
	return nbd_opt_reply(c, opt, NBD_REP_INFO, data, sizeof(data));
}

/*
 * Any request is carried out, at any byte; but it pays to know the block size.
 */
static int tell_block_size(struct nbd_conn *c, uint32_t opt)
{
	uint8_t data[14], *p = nbd_put16(data, NBD_INFO_BLOCK_SIZE);

	p = nbd_put32(p, 512);
	p = nbd_put32(p, pl_engine_block_size(c->nbd->p.engine));
	nbd_put32(p, PL_NBD_REQUEST_MAX);
	return nbd_opt_reply(c, opt, NBD_REP_INFO, data, sizeof(data));
}

static int tell_text(struct nbd_conn *c, uint32_t opt, unsigned info,
		     const char *text)
{
	uint8_t data[2 + NBD_NAME_MAX], *p = nbd_put16(data, info);
	size_t len = strlen(text);

	memcpy(p, text, len);
	return nbd_opt_reply(c, opt, NBD_REP_INFO, data, 2 + len);
}

static int tell(struct nbd_conn *c, uint32_t opt, unsigned info)
{
	if (info == NBD_INFO_NAME)
		return tell_text(c, opt, info, c->nbd->name);
	if (info == NBD_INFO_DESCRIPTION)
		return tell_text(c, opt, info, c->nbd->description);
	if (info == NBD_INFO_BLOCK_SIZE)
		return tell_block_size(c, opt);
	return 0; /* what we do not know is not told */
}

static int info_or_go(struct nbd_conn *c, uint32_t opt, const uint8_t *data,
		      uint32_t len)
{
	uint32_t name_len = len >= 6 ? nbd_get32(data) : 0;
	const uint8_t *at = data + 4 + name_len;
	unsigned n, told = 0, info;
	int rc;

	if (len < 6 || name_len > NBD_NAME_MAX || name_len > len - 6 ||
	    (n = nbd_get16(at), len != 6 + name_len + 2 * n))
		return nbd_opt_refuse(c, opt, NBD_REP_ERR_INVALID,
				      "the lengths of this option do not fit");
	if (!nbd_name_matches(c, data + 4, name_len))
		return nbd_opt_refuse(c, opt, NBD_REP_ERR_UNKNOWN,
				      "there is no export of this name");
	rc = tell_export(c, opt);
	for (unsigned i = 0; rc == 0 && i < n; i++) {
		info = nbd_get16(at + 2 + 2 * i);
		/* Each once, however often it is asked for. */
		if (info < 32 && !(told & (1u << info)))
			rc = tell(c, opt, info);
		told |= info < 32 ? 1u << info : 0;
	}
	if (rc == 0)
		rc = ack(c, opt);
	return rc < 0 ? rc : opt == NBD_OPT_GO ? GO : 0;
}

/* ---- the other options ---- */

static int start_tls(struct nbd_conn *c, uint32_t len)
{
	int rc;

	if (len)
		return nbd_opt_refuse(c, NBD_OPT_STARTTLS, NBD_REP_ERR_INVALID,
				      "this option takes no data");
	if (!c->nbd->p.tls)
		return nbd_opt_refuse(c, NBD_OPT_STARTTLS, NBD_REP_ERR_POLICY,
				      "this server has no TLS configured");
	if (c->tls)
		return nbd_opt_refuse(c, NBD_OPT_STARTTLS, NBD_REP_ERR_INVALID,
				      "TLS is on already");
	rc = ack(c, NBD_OPT_STARTTLS);
	/* What came before the encryption is nobody's word. */
	if (rc == 0 && c->rx_len > 0)
		rc = -EPROTO;
	if (rc == 0)
		rc = nbd_tls_start(c);
	c->structured = c->extended = false;
	c->n_contexts = 0;
	return rc;
}

static int structured(struct nbd_conn *c, uint32_t len)
{
	if (len)
		return nbd_opt_refuse(c, NBD_OPT_STRUCTURED_REPLY,
				      NBD_REP_ERR_INVALID,
				      "this option takes no data");
	if (c->extended)
		return nbd_opt_refuse(c, NBD_OPT_STRUCTURED_REPLY,
				      NBD_REP_ERR_EXT_HEADER_REQD,
				      "extended headers are agreed on already");
	c->structured = true;
	return ack(c, NBD_OPT_STRUCTURED_REPLY);
}

static int extended(struct nbd_conn *c, uint32_t len)
{
	if (len)
		return nbd_opt_refuse(c, NBD_OPT_EXTENDED_HEADERS,
				      NBD_REP_ERR_INVALID,
				      "this option takes no data");
	c->structured = c->extended = true;
	return ack(c, NBD_OPT_EXTENDED_HEADERS);
}

static bool lacks_tls(const struct nbd_conn *c)
{
	return c->nbd->p.tls && !c->tls;
}

static int require_tls(struct nbd_conn *c, uint32_t opt)
{
	if (opt == NBD_OPT_EXPORT_NAME)
		return -EACCES;
	return nbd_opt_refuse(c, opt, NBD_REP_ERR_TLS_REQD,
			      "this server requires TLS");
}

static int carry_out(struct nbd_conn *c, uint32_t opt, const uint8_t *data,
		     uint32_t len)
{
	if (opt == NBD_OPT_ABORT) {
		ack(c, opt);
		return -ESHUTDOWN;
	}
	if (c->nbd->stopping && opt != NBD_OPT_EXPORT_NAME)
		return nbd_opt_refuse(c, opt, NBD_REP_ERR_SHUTDOWN,
				      "this export is being ended");
	if (lacks_tls(c) && opt != NBD_OPT_STARTTLS)
		return require_tls(c, opt);
	switch (opt) {
	case NBD_OPT_EXPORT_NAME:
		return export_name(c, data, len);
	case NBD_OPT_LIST:
		return list(c, len);
	case NBD_OPT_STARTTLS:
		return start_tls(c, len);
	case NBD_OPT_INFO:
	case NBD_OPT_GO:
		return info_or_go(c, opt, data, len);
	case NBD_OPT_STRUCTURED_REPLY:
		return structured(c, len);
	case NBD_OPT_EXTENDED_HEADERS:
		return extended(c, len);
	case NBD_OPT_LIST_META_CONTEXT:
	case NBD_OPT_SET_META_CONTEXT:
		return nbd_meta_context(c, opt, data, len);
	default:
		return nbd_opt_refuse(c, opt, NBD_REP_ERR_UNSUP,
				      "this option is not supported");
	}
}

/* ---- one after the other ---- */

static int one_option(struct nbd_conn *c)
{
	uint8_t head[16], *data = NULL;
	uint32_t opt, len;
	int rc = nbd_recv(c, head, sizeof(head));

	if (rc < 0)
		return rc;
	opt = nbd_get32(head + 8);
	len = nbd_get32(head + 12);
	if (nbd_get64(head) != NBD_OPTS_MAGIC || len > OPTION_SKIP)
		return -EPROTO;
	if (len > OPTION_MAX) {
		rc = nbd_skip(c, len);
		if (rc < 0 || opt == NBD_OPT_EXPORT_NAME)
			return rc < 0 ? rc : -EPROTO;
		if (lacks_tls(c))
			return require_tls(c, opt);
		return nbd_opt_refuse(c, opt, NBD_REP_ERR_TOO_BIG,
				      "the option's data are too long");
	}
	data = malloc(len + 1);
	if (!data)
		return -ENOMEM;
	rc = nbd_recv(c, data, len);
	if (rc == 0)
		rc = carry_out(c, opt, data, len);
	free(data);
	return rc;
}

int nbd_handshake(struct nbd_conn *c)
{
	uint8_t hello[18], answer[4], *p = hello;
	uint32_t flags;
	int rc;

	nbd_recv_within(c, c->nbd->p.handshake_ms);
	p = nbd_put64(p, NBD_MAGIC);
	p = nbd_put64(p, NBD_OPTS_MAGIC);
	nbd_put16(p, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
	rc = nbd_send_buf(c, hello, sizeof(hello));
	if (rc == 0)
		rc = nbd_recv(c, answer, sizeof(answer));
	if (rc < 0)
		return rc;
	flags = nbd_get32(answer);
	if (flags & ~(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES))
		return -EPROTO;
	/* Such a client knows no option that could ask for TLS. */
	if (c->nbd->p.tls && !(flags & NBD_FLAG_FIXED_NEWSTYLE))
		return -EACCES;
	c->no_zeroes = flags & NBD_FLAG_NO_ZEROES;
	for (unsigned i = 0; i < OPTIONS_MAX && rc == 0; i++)
		rc = one_option(c);
	nbd_recv_within(c, 0);
	return rc == GO ? 0 : rc < 0 ? rc : -EPROTO;
}
