/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vault: descriptors and a text about each, kept in the queue of a socket
 * pair that keeper and worker both hold. What a worker puts in there survives
 * it, and the keeper has nothing to do for it.
 *
 * A kill in the middle of a walk leaves an item twice in the queue, never out
 * of it; the next walk drops the second one.
 */
#ifndef PLOOP_PLOOPD_VAULT_H
#define PLOOP_PLOOPD_VAULT_H

#include <stdbool.h>
#include <stddef.h>

#include "ploopd/keeper/fds.h"

#define PL_VAULT_TEXT 8192u /* bytes, with the NUL */
#define PL_VAULT_FDS PL_FDS_SENT /* of one item; -1 = none */

/* in, out: close-on-exec, non-blocking. 0 or -errno. */
int pl_vault_new(int *ret_in, int *ret_out);

/* key: of the item, unique, at most 255 bytes. The descriptors are duplicated
 * into the vault. */
int pl_vault_put(int in, const char *key, const char *text,
		 const int fds[PL_VAULT_FDS]);

/*
 * Walks over all items. each() owns the descriptors it gets; what it returns
 * true for is kept in the vault, the rest is forgotten.
 */
int pl_vault_walk(int in, int out,
		  bool (*each)(void *arg, const char *key, const char *text,
			       const int fds[PL_VAULT_FDS]),
		  void *arg);

#endif
