/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this module share. */
#ifndef PLOOP_IMAGE_IMAGE_INT_H
#define PLOOP_IMAGE_IMAGE_INT_H

#include "base/co.h"
#include "chain/chain.h"
#include "image/image.h"
#include "maint/maint.h"
#include "store/store.h"

#define DESCRIPTOR "image.json"
#define DESCRIPTOR_NEW "image.json.new"
#define LAYERS "layers"
#define LAYER_NAME_MAX 64

/* For the next snapshot; any other change of the descriptor forgets it. */
struct prepared {
	char id[PL_ID_LEN + 1]; /* the new top's file, "" = none */
	struct pl_layer *top;
	struct pl_image_desc next; /* is in image.json.new */
	bool described; /* next is valid */
	bool committed; /* image.json says so, and the chain does not yet */
};

/* The live chain's top until the last snapshot, until it is sealed. */
struct sealing {
	struct pl_layer *layer; /* the chain's; NULL = none */
	bool durable; /* the descriptor that made it one below the top */
	bool doubtful; /* that can't be told any more */
	bool running; /* being settled and sealed now */
};

struct pl_image {
	struct pl_dir *dir; /* the caller's */
	struct pl_image_desc desc;
	bool writable, locked, cached;
	struct prepared prepared;
	struct sealing sealing;
	struct pl_waitq sealed; /* its work has ended, or failed */
	struct pl_pending *pending; /* of the live chain */
};

/* ---- descriptor.c ---- */
int descriptor_load(struct pl_dir *dir, struct pl_image_desc *ret,
		    struct pl_err *err);
/*
 * Replaces the descriptor atomically and durably: the commit point. -ESTALE: it
 * is replaced, but a crash may bring the old one back; so no file that either
 * of them names may be removed.
 */
int descriptor_store(struct pl_dir *dir, const struct pl_image_desc *desc,
		     struct pl_err *err);
/* The two halves of it, without the directory's sync at the end. */
int descriptor_prepare(struct pl_dir *dir, const struct pl_image_desc *desc,
		       struct pl_err *err);
int descriptor_publish(struct pl_dir *dir, struct pl_err *err);
/* descriptor_tree.c: ids are unique, parents exist, following them ends. */
int descriptor_check_tree(const struct pl_image_desc *desc, struct pl_err *err);
void descriptor_free(struct pl_image_desc *desc);
int descriptor_copy(const struct pl_image_desc *from, struct pl_image_desc *to);
int descriptor_add_layer(struct pl_image_desc *desc,
			 const struct pl_image_layer *layer);
int descriptor_add_snapshot(struct pl_image_desc *desc,
			    const struct pl_image_snapshot *snap);
void descriptor_drop_layer(struct pl_image_desc *desc, const char *id);
void descriptor_drop_snapshot(struct pl_image_desc *desc, const char *id);
struct pl_image_layer *descriptor_layer(const struct pl_image_desc *desc,
					const char *id);
struct pl_image_snapshot *descriptor_snapshot_of(const struct pl_image_desc *d,
						 const char *layer_id);
/* Commits a changed copy: when replaced (0, -ESTALE) it becomes the image's,
 * otherwise it is freed. */
int descriptor_commit(struct pl_image *img, struct pl_image_desc *next,
		      struct pl_err *err);
void iso_now(char *ret, size_t size);

/* ---- image.c ---- */
void layer_file_name(char name[LAYER_NAME_MAX], const char *id);
/* Creates, syncs and closes an empty layer file; ret_id: its new id. */
int layer_file_create(struct pl_image *img, const char *parent, uint64_t size,
		      char *ret_id, struct pl_err *err);
/* A flag beside PL_LAYER_*: nobody merges or removes it meanwhile (FMT-086). */
#define LAYER_FILE_LOOK 0x100u
/* flags: PL_LAYER_*; direct: data bypasses the page cache, where it may. */
int layer_file_open(struct pl_image *img, const char *id, unsigned flags,
		    bool direct, struct pl_pending *pending,
		    struct pl_layer **ret, struct pl_err *err);
/* The same with PL_OPEN_* for the file itself. */
int layer_file_open_how(struct pl_image *img, const char *id, unsigned flags,
			unsigned open_flags, struct pl_pending *pending,
			struct pl_layer **ret, struct pl_err *err);
/* PL_OPEN_DIRECT, or 0 with PL_IMAGE_CACHED. */
unsigned layer_file_direct(const struct pl_image *img);
/* Its file alone. */
int layer_file_store(struct pl_image *img, const char *id, unsigned open_flags,
		     struct pl_store **ret, struct pl_err *err);
/* A new file with what `from` holds, durable but for its name. */
int layer_file_copy(struct pl_image *img, struct pl_store *from,
		    const char *name, struct pl_err *err);
/*
 * The layer's file is the image's own afterwards: a copy, durable, under its
 * name. Others keep `shared`, which is open for reading.
 */
int layer_file_unshare(struct pl_image *img, const char *id,
		       struct pl_store *shared, struct pl_err *err);
void layer_file_unlink(struct pl_image *img, const char *id);
/*
 * A new image in an empty, locked directory: fills img->desc (without layers),
 * makes the directory of layers. Its files go again when the rest fails.
 */
int image_begin(struct pl_image *img, const struct pl_image_params *params,
		struct pl_err *err);
void image_drop_layer_files(struct pl_image *img);
/* Removes what a crash left and the descriptor does not name. */
void collect_leftovers(struct pl_image *img);
int need_writable(const struct pl_image *img, struct pl_err *err);

/* ---- snapshot.c ---- */
void snapshot_forget_prepared(struct pl_image *img);
/* Waits for the layer that is being sealed. BUSY: it can't be at the moment. */
int snapshot_wait_sealed(struct pl_image *img, struct pl_err *err);

/* ---- bytes.c ---- */
/*
 * The chain that ends in the layer `top`, base first; free(*ret). What it
 * points to lasts until the descriptor changes.
 */
int chain_ids(const struct pl_image *img, const char *top,
	      const struct pl_image_layer ***ret, unsigned *ret_n,
	      struct pl_err *err);

/* The work of maintenance on a chain, which fills what ret points to. */
typedef int chain_work_fn(struct pl_image *img, struct pl_chain *ch,
			  const struct pl_maint_progress *progress, void *ret,
			  struct pl_err *err);
/* Does it on `live`, or (NULL) on the top's chain, opened and closed for it. */
int chain_maintain(struct pl_image *img, struct pl_chain *live,
		   const struct pl_image_work *work, chain_work_fn *fn,
		   void *ret, struct pl_err *err);

/*
 * Seals what a crash in a snapshot left unsealed below the top, as opening its
 * chain for writing does: for those who leave the branch without that. One that
 * is damaged stays as it is: leaving it must be possible.
 */
int seal_below_top(struct pl_image *img, struct pl_err *err);

/* ---- check.c ---- */

struct checkup {
	struct pl_image img;
	unsigned flags; /* PL_CHECK_* */
	pl_finding_fn *each; /* gets PL_FOUND */
	void *arg;
	struct pl_check_result *ret;
	const char *layer; /* the one being checked, "" = descriptor */
	bool stopped;
};

struct check_layer_state {
	bool opened, clean, sealed;
};

/* Fails with NOT_AN_IMAGE when there is no descriptor at all. */
int checkup_start(struct checkup *c, struct pl_err *err);
/* One layer with all that is wrong with it. */
int checkup_layer(struct checkup *c, const struct pl_image_layer *l,
		  struct check_layer_state *ret, struct pl_err *err);
int checkup_all(struct checkup *c, struct pl_err *err);

#endif
