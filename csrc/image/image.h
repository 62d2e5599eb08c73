/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An image: a directory with a descriptor (image.json) and its layers. This
 * module owns the descriptor: nobody else writes it, and its rename is the
 * commit point of every operation on the tree.
 *
 * Every function here works on a detached image. Those that take a chain also
 * work on an attached one, inside a coroutine while the engine is paused (only
 * as long as said).
 *
 * All of them are safe to interrupt: a crash leaves the old or the new state,
 * and leftover files are collected by the next pl_image_open() for writing.
 */
#ifndef PLOOP_IMAGE_IMAGE_H
#define PLOOP_IMAGE_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "chain/chain.h"
#include "layer/damage.h"

struct pl_dir;
struct pl_image;
struct pl_chain;
struct pl_pending;

#define PL_ID_LEN 36 /* textual UUID without the NUL */

struct pl_image_params {
	uint64_t size; /* bytes; rounded up to a multiple of block_size */
	uint32_t block_size; /* bytes; 0 = 4096 */
	const char *label; /* NULL = none; at most 63 bytes */
	const char *fs; /* "ext4", "xfs", "none": noted, not made here */
	bool checksums; /* layers get block checksums when they are sealed */
};

/* dir must be empty (apart from the lock). EXISTS when it holds an image. */
int pl_image_create(struct pl_dir *dir, const struct pl_image_params *params,
		    struct pl_err *err);

/*
 * In `to`, which must be empty: a new image that shows what the snapshot of
 * `from` does and shares its layers' files; `from` may be attached. label:
 * NULL = that of `from`. copy: where files can't be shared they are copied,
 * sharing extents if possible; else UNSUPPORTED.
 */
int pl_image_clone(struct pl_dir *from, const char *snapshot, struct pl_dir *to,
		   const char *label, bool copy, struct pl_err *err);

#define PL_IMAGE_WRITE 1u /* exclusive lock, collects leftovers */
#define PL_IMAGE_NO_LOCK 2u /* only looks; may see a change half-way */
/*
 * The top's data go through the page cache, too, as long as the image is open:
 * for one that no block device of this host is made of, which would keep every
 * page twice and need memory to give memory back.
 */
#define PL_IMAGE_CACHED 4u

/* Takes the lock unless told not to; `who` is what others read in it. */
int pl_image_open(struct pl_image **ret, struct pl_dir *dir, unsigned flags,
		  const char *who, struct pl_err *err);
/*
 * For who has not taken the lock itself: waits for the last writes to the top
 * of a process that was killed. Opening it for writing waits, too. TIMEOUT
 * after ten seconds.
 */
int pl_image_settle(struct pl_image *img, struct pl_err *err);
void pl_image_close(struct pl_image *img); /* accepts NULL; releases the lock */

/* ---- what the descriptor says ---- */

struct pl_image_layer {
	char id[PL_ID_LEN + 1];
	char parent[PL_ID_LEN + 1]; /* "" = none */
	uint64_t size; /* bytes */
};

struct pl_image_snapshot {
	char id[PL_ID_LEN + 1];
	char layer[PL_ID_LEN + 1]; /* the sealed layer it shows */
	char name[128]; /* "" = none */
	char description[256];
	char created[32]; /* ISO 8601, UTC */
	bool hidden; /* deleted, kept because other branches need its layer */
	char holder[128]; /* the process it is kept for (FMT-118), "" = none */
};

struct pl_image_desc {
	char id[PL_ID_LEN + 1];
	char label[64];
	char fs[16];
	char created[32];
	char top[PL_ID_LEN + 1];
	uint64_t size; /* of the top, bytes */
	uint32_t block_size;
	bool checksums; /* of blocks, for layers that are sealed */
	enum pl_discard discard; /* what the top gives back */
	struct pl_image_layer *layers;
	unsigned n_layers;
	struct pl_image_snapshot *snapshots; /* in order of creation */
	unsigned n_snapshots;
};

const struct pl_image_desc *pl_image_desc(const struct pl_image *img);

/*
 * Finds a snapshot by id, unique id prefix (>= 4 characters) or name.
 * SNAPSHOT_NOT_FOUND, AMBIGUOUS_ID.
 */
int pl_image_find(const struct pl_image *img, const char *key,
		  const struct pl_image_snapshot **ret, struct pl_err *err);

/* ---- its bytes ---- */

/*
 * Opens the chain of the top (key NULL), or of a snapshot (read-only always).
 * pending: where unflushed map changes are kept so that they outlive this
 * process (see layer.h); NULL = private memory.
 */
int pl_image_open_chain(struct pl_image *img, const char *key, bool read_only,
			struct pl_pending *pending, struct pl_chain **ret,
			struct pl_err *err);

/* ---- operations on the tree ---- */

/*
 * Seals the top under a new, empty one. holder: for whom a temporary one is
 * kept, NULL = nobody: it stays until it is deleted. `live` is an open chain
 * that nobody sends requests to meanwhile, NULL when there is none. ret_id:
 * PL_ID_LEN + 1, "" = nothing has happened; otherwise the snapshot is taken even when this
 * fails. -ESTALE: its durability is in doubt; a process with a live chain must
 * end, so that another opens what was committed.
 */
int pl_image_snapshot(struct pl_image *img, struct pl_chain *live,
		      const char *name, const char *description,
		      const char *holder, char *ret_id, struct pl_err *err);

/*
 * The same in steps, beside the requests of a live chain (snapshot.c):
 *   prepare  what can be done ahead of time; another change of the image, or
 *            one for another name, makes it void
 *   commit   right before the switch; -EBUSY: somebody looks at the top
 *   switch   while the engine holds changes back: waits for nothing
 *   undo     after a failure of commit or switch, or instead of a switch.
 *            -ESTALE: the snapshot may be taken all the same; end the process
 *   settle   the snapshot is durable; until then flushes wait
 *   finish   the layer is sealed. Does nothing when there is nothing to finish
 * What fails behind the switch is tried again by the next flush (settle), the
 * next snapshot or tidy, closing the chain, and the next open.
 */
int pl_image_snapshot_prepare(struct pl_image *img, struct pl_chain *live,
			      const char *name, const char *description,
			      const char *holder, struct pl_err *err);
int pl_image_snapshot_commit(struct pl_image *img, struct pl_chain *live,
			     struct pl_err *err);
int pl_image_snapshot_switch(struct pl_image *img, struct pl_chain *live,
			     char *ret_id, struct pl_err *err);
int pl_image_snapshot_undo(struct pl_image *img, struct pl_chain *live,
			   struct pl_err *err);
int pl_image_snapshot_settle(struct pl_image *img, struct pl_chain *live,
			     struct pl_err *err);
int pl_image_snapshot_finish(struct pl_image *img, struct pl_chain *live,
			     struct pl_err *err);

/* Detached: a new, empty top over the snapshot; the old top is discarded. */
int pl_image_switch(struct pl_image *img, const char *key, struct pl_err *err);

/*
 * The same after a snapshot of the old top, ret_id: PL_ID_LEN + 1. None is
 * taken, and ret_id is "", when a snapshot holds the same. Two commits: a crash
 * between them leaves the disk as it was, with one snapshot more.
 */
int pl_image_switch_keeping(struct pl_image *img, const char *key,
			    const char *name, const char *description,
			    char *ret_id, struct pl_err *err);

/* Called now and then with bytes done and to do; false = stop (INTERRUPTED). */
typedef bool pl_progress_fn(void *arg, uint64_t done, uint64_t total);

/*
 * What a process with a live chain lends to work on its layers: requests held
 * back (0 or -errno) and let go, and a wait until nobody looks at a layer any
 * more that has left the chain (all suspend).
 */
struct pl_image_live {
	struct pl_chain *chain;
	int (*pause)(void *arg);
	void (*resume)(void *arg);
	void (*settle)(void *arg);
	void *arg;
};

/* pace: waits as long as that many bytes may take; NULL = no limit. */
struct pl_image_work {
	pl_progress_fn *progress; /* NULL = not wanted */
	void (*pace)(void *arg, uint64_t bytes);
	/* compact: see struct pl_maint_progress; NULL = flushes itself. */
	bool (*await_flush)(void *arg, unsigned turn);
	bool (*others)(void *arg);
	/* Is this hidden snapshot to go now? NULL = all of them. */
	bool (*wanted)(void *arg, const char *snapshot_id);
	void *arg;
};

/*
 * A snapshot is deleted in two steps. hide: it is not listed any more; its full
 * id (ret_id) is what the rest goes by. tidy: the layers that nobody needs are
 * merged and dropped, those of every hidden snapshot; safe to interrupt and run
 * again. BUSY from tidy: somebody looks at a layer, or a clone shares it; the
 * others are done. -ESTALE as for pl_image_snapshot(). live: NULL = detached.
 */
int pl_image_hide(struct pl_image *img, const char *key, char *ret_id,
		  struct pl_err *err);
int pl_image_tidy(struct pl_image *img, const struct pl_image_live *live,
		  const struct pl_image_work *work, struct pl_err *err);
/* Is there a hidden snapshot whose layer could go, but for those who use it? */
bool pl_image_untidy(const struct pl_image *img, const char *snapshot_id);

/*
 * Detached: both steps. When the second was interrupted the snapshot is hidden
 * and its full id goes on with it.
 */
int pl_image_delete(struct pl_image *img, const char *key,
		    pl_progress_fn *progress, void *arg, struct pl_err *err);

/* Grows to size bytes (rounded up to the block size). Smaller: INVALID_ARGUMENT. */
int pl_image_resize(struct pl_image *img, struct pl_chain *live, uint64_t size,
		    struct pl_err *err);
/*
 * Detached: cuts the disk off at size bytes (rounded up to the block size),
 * whatever is beyond. Snapshots stay as they are, and growing again gives zeros.
 * Larger: INVALID_ARGUMENT.
 */
int pl_image_shrink(struct pl_image *img, uint64_t size, struct pl_err *err);

/* "block", "cluster", "off"; false: none of them. */
bool pl_discard_parse(const char *word, enum pl_discard *ret);
const char *pl_discard_name(enum pl_discard discard);
/* From now on, for `live` at once. -ESTALE: set, but perhaps not durable. */
int pl_image_set_discard(struct pl_image *img, struct pl_chain *live,
			 enum pl_discard discard, struct pl_err *err);

struct pl_compact_result {
	uint64_t host_before, host_after; /* host bytes of the top layer */
	uint64_t length_before, length_after; /* file length, bytes */
	uint64_t clusters_freed, clusters_moved;
};
/* Frees empty clusters, moves tail clusters down, truncates the top's file. */
int pl_image_compact(struct pl_image *img, struct pl_chain *live,
		     struct pl_compact_result *ret,
		     const struct pl_image_work *work, struct pl_err *err);

struct pl_reclaim_result {
	unsigned layers; /* that no snapshot shows, and branches need */
	unsigned in_use; /* of them: somebody reads them, or clones share them */
	uint64_t punched_bytes;
};
/*
 * Punches what such hidden layers hold and nobody sees, because every branch
 * has something else there. live: as for pl_image_compact().
 */
int pl_image_reclaim_hidden(struct pl_image *img, struct pl_chain *live,
			    struct pl_reclaim_result *ret,
			    const struct pl_image_work *work,
			    struct pl_err *err);

/* Detached: another id, for a copy that was made file by file. */
int pl_image_new_id(struct pl_image *img, char *ret_id, struct pl_err *err);

/* ---- looking ---- */

enum pl_outcome {
	PL_FOUND, /* by a check, which changes nothing */
	PL_FIXED, /* with nothing lost */
	PL_SALVAGED, /* what could be proven is kept; see the report */
	PL_LEFT, /* a repair can't do anything about it */
};

/* One finding of a check; return false to stop. */
struct pl_finding {
	enum pl_code code;
	enum pl_damage kind;
	enum pl_outcome outcome;
	const char *layer; /* id, "" = the descriptor */
	uint64_t offset; /* in the layer file, bytes */
	char text[400];
};
typedef bool pl_finding_fn(void *arg, const struct pl_finding *finding);

struct pl_check_result {
	unsigned layers, findings, leftovers;
	unsigned unclean; /* layers that a crash left open or not sealed */
	unsigned fixed, salvaged, left; /* of the findings, by a repair */
	uint64_t map_pages, clusters, journal_records;
	unsigned layers_with_sums; /* that have block checksums */
	uint64_t verified, uncovered; /* blocks with data, with PL_CHECK_DATA */
	char report[48]; /* the repair's directory in the image, "" = none */
};

#define PL_CHECK_DATA 1u /* also the blocks that have checksums */

/*
 * Reads all metadata of a detached image without changing anything. Returns 0
 * when the check could be made, whatever it found (result->findings).
 */
int pl_image_check(struct pl_dir *dir, pl_finding_fn *each, void *arg,
		   struct pl_check_result *ret, struct pl_err *err);
int pl_image_check_deep(struct pl_dir *dir, unsigned flags, pl_finding_fn *each,
			void *arg, struct pl_check_result *ret,
			struct pl_err *err);

/*
 * The same under the exclusive lock, and repairs what can be: see
 * enum pl_fix. Layers that a crash left open are replayed and closed,
 * leftovers removed. Before anything is salvaged, a copy of the layer's file
 * and report.json are in result->report. Safe to interrupt and run again.
 */
int pl_image_repair(struct pl_dir *dir, unsigned flags, pl_finding_fn *each,
		    void *arg, struct pl_check_result *ret, struct pl_err *err);

/*
 * Gives sealed layers the block checksums that they lack: one (by id), or all
 * (NULL; detached). For one, also while the image is attached, inside a
 * coroutine.
 */
int pl_image_add_checksums(struct pl_image *img, const char *layer_id,
			   pl_progress_fn *progress, void *arg,
			   unsigned *ret_added, struct pl_err *err);

/*
 * All that lack them and that nobody else uses, when the image wants them:
 * beside the requests of its chain, and no other work on the layers, inside a
 * coroutine.
 */
int pl_image_sum_beside(struct pl_image *img, const struct pl_image_work *work,
			unsigned *ret_added, struct pl_err *err);

/* One run of blocks with one owner. layer NULL: no layer owns it. */
struct pl_map_extent {
	uint64_t off, len; /* virtual bytes */
	const char *layer;
	bool zero; /* owned, but no host space: reads as zeros */
	uint64_t host_off; /* in the layer file; valid when !zero && layer */
};
typedef bool pl_map_fn(void *arg, const struct pl_map_extent *extent);
int pl_image_map(struct pl_image *img, struct pl_chain *chain, uint64_t off,
		 uint64_t len, pl_map_fn *each, void *arg, struct pl_err *err);

/* What a layer costs. */
struct pl_layer_usage {
	uint64_t host_bytes, length; /* st_blocks * 512; file length */
	uint64_t clusters, owned_bytes; /* allocated clusters; owned blocks */
	uint64_t data_bytes; /* owned blocks in allocated clusters */
	/* Allocated clusters by their data: [0] up to 1/8, [7] over 7/8. */
	uint64_t fullness[8];
};
/* live: the chain of an attached image (suspends), or NULL. */
int pl_image_layer_usage(struct pl_image *img, const struct pl_chain *live,
			 const char *layer_id, struct pl_layer_usage *ret,
			 struct pl_err *err);

/*
 * Which blocks cost host space, a page (256) of clusters at a time: in `top`
 * those that the chain's top holds data for, in `below` those whose data a
 * layer below it shows; bit i of [c] is block i of cluster c of the page.
 * chain: as for pl_image_map().
 */
struct pl_space_page {
	uint64_t page_no;
	uint64_t top[256], below[256];
};
/* Called for pages that have such blocks, in order; false stops. */
typedef bool pl_space_fn(void *arg, const struct pl_space_page *page);
int pl_image_space(struct pl_image *img, struct pl_chain *chain,
		   uint64_t first_page, uint64_t pages, pl_space_fn *each,
		   void *arg, struct pl_err *err);

#endif
