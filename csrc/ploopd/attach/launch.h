/* SPDX-License-Identifier: Apache-2.0 */
/* ploopd attach and ploopd detach (docs/control.md). */
#ifndef PLOOP_PLOOPD_LAUNCH_H
#define PLOOP_PLOOPD_LAUNCH_H

#include "ploopd/attachment.h"

struct pl_attach_options {
	const char *directory;
	const char *snapshot; /* id, prefix or name; NULL = the top */
	const char *run_dir; /* NULL = the default */
	bool read_only, loop;
	bool bare; /* neither a device nor a file: for exports */
	const char *via; /* of --via; NULL = auto */
	uint32_t sector_size;
	enum pl_on_full on_full;
	struct pl_limits limits;
};

/* Prints the result; the exit status. */
int pl_attach_main(const struct pl_attach_options *opt);
int pl_detach_main(const char *id, const char *run_dir, unsigned timeout_ms);
int pl_capacity_main(const char *id, const char *run_dir, uint64_t size);

/* Detaches whatever is left of the attachment. */
int pl_detach(const char *id, const char *folder, unsigned timeout_ms,
	      struct pl_failure *f);

#endif
