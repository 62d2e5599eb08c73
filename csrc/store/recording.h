/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A directory in memory that remembers what has not been synced, and can show
 * what a power failure at this moment might leave: everything synced, and any
 * subset of the rest.
 *
 * THE DISK IT MODELS
 *  - fdatasync of a file makes its writes, punches and length durable, in the
 *    order they were issued; before that any subset may have reached the disk,
 *    and a write in part: by 512-byte sectors for metadata, by 4 KiB for data.
 *  - Creation, renaming and removal become durable with a sync of their
 *    directory; before that some first part of them may be.
 *  - A file whose creation is not durable is gone, whatever was synced.
 */
#ifndef PLOOP_STORE_RECORDING_H
#define PLOOP_STORE_RECORDING_H

#include "store/store.h"

struct pl_recorder;

/* *ret_dir is used like any directory and closed by its user first. */
int pl_dir_recording(struct pl_dir **ret_dir, struct pl_recorder **ret);
void pl_recorder_free(struct pl_recorder *rec);

/* Called before every change and every sync: each is a place to crash. */
void pl_recorder_hook(struct pl_recorder *rec, void (*fn)(void *arg),
		      void *arg);

enum pl_crash {
	PL_CRASH_NONE, /* nothing that was not synced */
	PL_CRASH_ALL,
	PL_CRASH_ALL_BUT_LAST,
	PL_CRASH_ONLY_LAST,
	PL_CRASH_RANDOM,
	PL_CRASH_RANDOM_TORN, /* one of the writes in part */
};

/*
 * A crash at this moment, as a directory of its own. *ret_hash tells states
 * apart. -ENOMEM.
 */
int pl_recorder_crash(struct pl_recorder *rec, enum pl_crash how,
		      uint64_t *seed, struct pl_dir **ret, uint64_t *ret_hash);

#endif
