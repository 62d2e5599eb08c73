/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory for the data of FUSE requests that come over io_uring: one place of
 * PL_FUSE_DATA_MAX bytes for each entry, since the kernel is told the place
 * before it has a request for it.
 *
 * The first block of each place always has its page, so that small requests
 * need no memory. The kernel fetches the pages of longer ones when it copies
 * them; what has been fetched stays until it is given back.
 */
#ifndef PLOOP_EXPORT_FUSE_FUSE_PLACES_H
#define PLOOP_EXPORT_FUSE_FUSE_PLACES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct pl_fuse_places;

int pl_fuse_places_new(struct pl_fuse_places **ret, unsigned n,
		       struct pl_err *err);
void pl_fuse_places_free(struct pl_fuse_places *places); /* accepts NULL */

uint8_t *pl_fuse_places_at(const struct pl_fuse_places *places, unsigned i);

/* The first len bytes of the place are used, or are about to be. */
void pl_fuse_places_use(struct pl_fuse_places *places, unsigned i, size_t len);

/*
 * One huge page for it, so that moving long requests does not look up 256 small
 * ones; its content is lost. False: there are enough of them, or it is one.
 */
bool pl_fuse_places_enlarge(struct pl_fuse_places *places, unsigned i);

/* Gives back what an idle place does not need. */
void pl_fuse_places_shrink(struct pl_fuse_places *places, unsigned i);

/* Bytes that may have pages now. */
size_t pl_fuse_places_resident(const struct pl_fuse_places *places);

#endif
