/* SPDX-License-Identifier: Apache-2.0 */
/* What recording.c and crash.c share. */
#ifndef PLOOP_STORE_RECORDING_INT_H
#define PLOOP_STORE_RECORDING_INT_H

#include "store/memfile.h"
#include "store/recording.h"

enum kind { WRITE, PUNCH, TRUNCATE, CREATE, RENAME, UNLINK };

struct event {
	enum kind kind;
	uint64_t seq, off, len;
	struct mem_file *file; /* durable */
	uint8_t *data;
	uint32_t unit; /* a torn write falls apart into these */
	char from[96], to[96], dir[32];
	struct event *next;
};

struct pl_recorder {
	struct pl_dir dir;
	struct pl_dir *live, *durable;
	struct event *first, **last;
	struct mem_file **all; /* every durable file ever made */
	size_t n_all;
	uint64_t seq, version;
	void (*hook)(void *arg);
	void *hook_arg;
};

static inline bool is_dir_event(const struct event *e)
{
	return e->kind == CREATE || e->kind == RENAME || e->kind == UNLINK;
}

/* One event's effect on a file, or on a directory (file: what CREATE links). */
int recording_apply_data(struct mem_file *f, const struct event *e);
int recording_apply_dir(struct pl_dir *dir, const struct event *e,
			struct mem_file *file);

#endif
