/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The functions of GnuTLS that nbd_tls.c calls. The library is loaded when it
 * is wanted first (pl_nbd_tls_load()) and stays: with the eight that it brings
 * it costs memory and start-up time of every process that has it, and few of
 * them serve anybody by TLS.
 */
#ifndef PLOOP_EXPORT_NBD_NBD_GNUTLS_H
#define PLOOP_EXPORT_NBD_NBD_GNUTLS_H

#include <gnutls/gnutls.h>

#define NBD_GNUTLS_FUNCTIONS(X)                \
	X(bye)                                 \
	X(certificate_allocate_credentials)    \
	X(certificate_free_credentials)        \
	X(certificate_server_set_request)      \
	X(certificate_set_x509_crl_mem)        \
	X(certificate_set_x509_key_mem)        \
	X(certificate_set_x509_trust_mem)      \
	X(credentials_set)                     \
	X(deinit)                              \
	X(error_is_fatal)                      \
	X(handshake)                           \
	X(handshake_set_timeout)               \
	X(hex_decode2)                         \
	X(init)                                \
	X(priority_deinit)                     \
	X(priority_init)                       \
	X(priority_set)                        \
	X(psk_allocate_server_credentials)     \
	X(psk_free_server_credentials)         \
	X(psk_set_server_credentials_function) \
	X(record_recv)                         \
	X(record_send)                         \
	X(session_get_ptr)                     \
	X(session_set_ptr)                     \
	X(session_set_verify_cert)             \
	X(strerror)                            \
	X(transport_set_errno)                 \
	X(transport_set_ptr)                   \
	X(transport_set_pull_function)         \
	X(transport_set_pull_timeout_function) \
	X(transport_set_push_function)

/* gnutls_init() is nbd_gnutls.init(). */
struct nbd_gnutls {
#define X(name) __typeof__(gnutls_##name) *name;
	NBD_GNUTLS_FUNCTIONS(X)
#undef X
};

/* All NULL until the library is loaded. */
extern struct nbd_gnutls nbd_gnutls;

#endif
