/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking finished layers into an image, with the snapshots that show them: how
 * what was received becomes visible, all at once.
 */
#ifndef PLOOP_IMAGE_ADOPT_H
#define PLOOP_IMAGE_ADOPT_H

#include "image/image.h"

/*
 * An image that has nothing yet, in a directory without a descriptor: what is
 * adopted first makes it one. The id is a new one. `like` gives block size,
 * label, fs, checksums.
 */
int pl_image_found(struct pl_image **ret, struct pl_dir *dir,
		   const struct pl_image_desc *like, struct pl_err *err);

/*
 * Adds n sealed layers, each above the one before it (the first above its
 * `parent`, which the image has, or on nothing), with their snapshots, and a new
 * empty top over the last one. The old top is discarded. The files are in
 * place and durable. One commit; a crash before it leaves files that the next
 * open for writing collects.
 */
int pl_image_adopt(struct pl_image *img, const struct pl_image_layer *layers,
		   const struct pl_image_snapshot *snapshots, unsigned n,
		   struct pl_err *err);

/*
 * The top of `from`, a clone made of the layer that the image's top lies on,
 * becomes the image's top, as large as it is; `from` is no image afterwards.
 * BUSY when the image was written to since. One commit; before it nothing has
 * changed.
 */
int pl_image_adopt_top(struct pl_image *img, struct pl_dir *from,
		       struct pl_err *err);

/* Has anything been written to the top since it is there? */
int pl_image_top_is_empty(struct pl_image *img, bool *ret, struct pl_err *err);

/* Does the image have a layer, or a snapshot even if hidden, with this id? */
bool pl_image_has_id(const struct pl_image *img, const char *id);

/* "layers/<id>.plp": the name of a layer's file in the image's directory. */
#define PL_LAYER_NAME_MAX 64
void pl_image_layer_name(const char *id, char name[PL_LAYER_NAME_MAX]);
struct pl_dir *pl_image_dir(const struct pl_image *img);

#endif
