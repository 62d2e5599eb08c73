/* SPDX-License-Identifier: Apache-2.0 */
/* Loads GnuTLS: see nbd_gnutls.h. */
#include "export/nbd/nbd_gnutls.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

#include "export/nbd/nbd_server.h"

#define LIBRARY "libgnutls.so.30" /* of GnuTLS 3.4 and all since */

struct nbd_gnutls nbd_gnutls;

static const char *const names[] = {
#define X(name) "gnutls_" #name,
	NBD_GNUTLS_FUNCTIONS(X)
#undef X
};

#define COUNT (sizeof(names) / sizeof(names[0]))

_Static_assert(sizeof(nbd_gnutls) == COUNT * sizeof(void *),
	       "one pointer for each name, in their order");

static int missing(struct pl_err *err)
{
	const char *why = dlerror();

	return pl_err_set(err, PL_E_TOOL_MISSING, ENOENT,
			  "TLS needs " LIBRARY ", which cannot be loaded: %s",
			  why ? why : "no reason given");
}

bool pl_nbd_tls_loaded(void)
{
	return nbd_gnutls.init != NULL;
}

int pl_nbd_tls_load(struct pl_err *err)
{
	void *found[COUNT], *lib;

	if (pl_nbd_tls_loaded())
		return 0;
	lib = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
	if (!lib)
		return missing(err);
	for (size_t i = 0; i < COUNT; i++) {
		found[i] = dlsym(lib, names[i]);
		if (!found[i])
			return missing(err);
	}
	memcpy(&nbd_gnutls, found, sizeof(nbd_gnutls));
	return 0;
}
