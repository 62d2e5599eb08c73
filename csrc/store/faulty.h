/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A directory whose n-th change fails, for fault loops as SQLite does them: arm
 * n = 1, 2, 3 ... until a run ends without the fault having fired.
 *
 * Counted: writes, syncs, punches, truncations, creations, renames, directory
 * syncs. Not counted: reads, and removals, which are never part of success
 * (what stays behind is collected at the next open).
 */
#ifndef PLOOP_STORE_FAULTY_H
#define PLOOP_STORE_FAULTY_H

#include "store/store.h"

enum pl_fault {
	PL_FAULT_EIO,
	PL_FAULT_ENOSPC,
	PL_FAULT_SHORT, /* a write is done in half, then fails with EIO */
	PL_FAULT_READ, /* reads are counted instead, and fail with EIO */
};

struct pl_faults;

/* Takes over inner. The faults live as long as the directory. */
int pl_dir_faulty(struct pl_dir **ret, struct pl_dir *inner,
		  struct pl_faults **ret_faults);

/* The n-th operation from now fails, once. */
void pl_faults_arm(struct pl_faults *f, enum pl_fault how, unsigned n);

/* What failed since it was armed ("sync", ...), or NULL. Disarms. */
const char *pl_faults_fired(struct pl_faults *f);

#endif
