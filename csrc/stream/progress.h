/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How far a receiver is: a file beside the layers, "receiving.json", that is
 * replaced each time more of the stream is durable. It lets a broken transfer
 * go on, in another process or after a crash.
 */
#ifndef PLOOP_STREAM_PROGRESS_H
#define PLOOP_STREAM_PROGRESS_H

#include "stream/manifest.h"

#define PROGRESS_FILE "receiving.json"
#define PROGRESS_NEW "receiving.json.new"

/* A layer that is being filled: not one of the image yet (FMT-112). */
#define PART_NAME_MAX 64
void part_name(const char *layer_id, char name[PART_NAME_MAX]);

struct received {
	char snapshot[PL_ID_LEN + 1];
	char layer[PL_ID_LEN + 1]; /* the id of the layer's file */
};

struct progress {
	struct stream_token token;
	/* Layers so far, the last one still open unless off is the end. */
	struct received *list;
	unsigned n;
};

int progress_save(struct pl_dir *dir, const struct progress *p,
		  struct pl_err *err);
/* NOT_FOUND when there is none. */
int progress_load(struct pl_dir *dir, struct progress *ret, struct pl_err *err);
int progress_add(struct progress *p, const char *snapshot, const char *layer);
void progress_free(struct progress *p);

/* Removes the file and all parts of layers. */
void progress_discard(struct pl_dir *dir);

#endif
