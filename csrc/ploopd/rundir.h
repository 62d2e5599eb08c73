/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The run directory: one folder per attachment (docs/control.md). Who holds
 * the lock on a folder's keeper.pid owns the folder, and only the owner makes
 * or removes anything in it.
 */
#ifndef PLOOP_PLOOPD_RUNDIR_H
#define PLOOP_PLOOPD_RUNDIR_H

#include "ploopd/attachment.h"

/* The run directory: option (may be NULL), $PLOOP_RUN_DIR, /run/ploop. */
int pl_rundir_path(const char *option, char ret[PATH_MAX],
		   struct pl_failure *f);

/*
 * Makes the folder where needed and takes it over: *ret_lock_fd holds its
 * keeper.pid. -EBUSY (without an error set): it is alive. What a dead
 * attachment left is still in it.
 */
int pl_rundir_claim(const char *folder, int *ret_lock_fd, struct pl_failure *f);

/* The same for a folder that exists; -ENOENT: there is none. */
int pl_rundir_take_over(const char *folder, int *ret_lock_fd);

/* Somebody holds its keeper.pid. */
bool pl_rundir_live(const char *folder);

/* Removes what an attachment has there, and the folder. Owner only. */
void pl_rundir_remove(const char *folder);

/* "<folder>/<name>"; -ENAMETOOLONG. */
int pl_rundir_file(char ret[PATH_MAX], const char *folder, const char *name);

/* Fills id, its parts and the folder, for a command on an attachment. */
int pl_attachment_place(struct pl_attachment *att, const char *id,
			const char *run_dir, struct pl_failure *f);

#endif
