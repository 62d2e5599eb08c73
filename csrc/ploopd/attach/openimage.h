/* SPDX-License-Identifier: Apache-2.0 */
/* What the launcher does with the image itself: find, lock, or say who has it. */
#ifndef PLOOP_PLOOPD_OPENIMAGE_H
#define PLOOP_PLOOPD_OPENIMAGE_H

#include "ploopd/attach/launch.h"

/*
 * Fills att from the options and the image; the lock it needs is held by
 * *ret_lock_fd, shared with other attachments of the same image. Removes
 * leftovers of crashed commands.
 */
int pl_open_for_attach(const struct pl_attach_options *opt,
		       struct pl_attachment *att, int *ret_lock_fd,
		       struct pl_failure *f);

/* ATTACHED, with who and since when, from the folder's state.json. */
int pl_attached_error(const struct pl_attachment *att, struct pl_failure *f);

#endif
