/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of ways to make a block device: see via.h. Its order is what
 * "auto" prefers (docs/decisions.md has the figures).
 */
#include "ploopd/device/via.h"

#include <errno.h>
#include <string.h>

static const struct pl_via *const vias[] = { &pl_via_fuse, &pl_via_ublk,
					     &pl_via_nbd };
#define VIAS (sizeof(vias) / sizeof(vias[0]))

const char pl_via_names[] = "auto, fuse, nbd or ublk";

const struct pl_via *pl_via_by_name(const char *name)
{
	for (size_t i = 0; i < VIAS; i++)
		if (!strcmp(vias[i]->name, name))
			return vias[i];
	return NULL;
}

static const struct pl_via *automatic(void)
{
	struct pl_failure ignored = { 0 };
	const struct pl_via *there = NULL;

	for (size_t i = 0; i < VIAS; i++) {
		if (vias[i]->probe(&ignored) < 0)
			continue;
		if (vias[i]->survives())
			return vias[i];
		if (!there)
			there = vias[i];
	}
	/* None: the first one says what is missing. */
	return there ? there : vias[0];
}

int pl_via_choose(const char *name, const struct pl_via **ret,
		  struct pl_failure *f)
{
	*ret = !name || !strcmp(name, "auto") ? automatic() :
						pl_via_by_name(name);
	if (*ret)
		return (*ret)->probe(f);
	return pl_err_set(&f->err, PL_E_INVALID_ARGUMENT, EINVAL,
			  "--via: '%.40s' is not %s", name, pl_via_names);
}

const struct pl_via *pl_via_find(const char *id, struct pl_blockdev *ret)
{
	for (size_t i = 0; i < VIAS; i++)
		if (vias[i]->find(id, ret))
			return vias[i];
	return NULL;
}
