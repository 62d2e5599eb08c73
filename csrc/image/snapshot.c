/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking snapshots. Requests are held back only for the switch, which is one in
 * memory:
 *
 *   prepare  the new top's file, open and marked; image.json.new     (syncs)
 *   commit   rename of image.json
 *   switch   the new top on the chain                          (while paused)
 *   settle   the old top flushed, the directory synced               (syncs)
 *   seal     the old top's map in place, its state               (many syncs)
 *
 * What is written between commit and switch is the old top's still: a crash
 * there opens an empty new top over it, which shows the same disk.
 *
 * GUARANTEES
 *  - Until it is settled no flush succeeds (pl_chain_set_settle), so what a
 *    flush promises does not depend on which side of a switch a write was.
 *  - What was acknowledged and not flushed before the switch stays in the old
 *    top's pending changes (layer/pending.c), beside the new top's.
 *  - Sealing comes after the directory is durable: else an old descriptor could
 *    name a sealed layer as top.
 *  - From before the rename until it is sealed the layer's file is locked, so
 *    that nobody else takes it for one that does not change.
 *  - Where the switch can't follow the commit the descriptor is put back.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/uuid.h"
#include "image/tree_int.h"

/* ---- prepare ---- */

void snapshot_forget_prepared(struct pl_image *img)
{
	struct prepared *p = &img->prepared;

	if (p->described) {
		descriptor_free(&p->next);
		img->dir->ops->unlink(img->dir, DESCRIPTOR_NEW);
	}
	pl_layer_abandon(p->top);
	if (p->id[0] && !p->committed)
		layer_file_unlink(img, p->id);
	memset(p, 0, sizeof(*p));
}

/* What the caller says of a snapshot; each may be NULL = none. */
struct wanted {
	const char *name, *description, *holder;
};

static int check_text(const char *what, const char *text, size_t room,
		      struct pl_err *err)
{
	if (text && strlen(text) >= room)
		return pl_err_set(err, PL_E_INVALID_ARGUMENT, EINVAL,
				  "%s: at most %zu bytes", what, room - 1);
	return 0;
}

static int name_is_free(const struct pl_image *img, const char *name,
			struct pl_err *err)
{
	for (unsigned i = 0; name && *name && i < img->desc.n_snapshots; i++)
		if (!img->desc.snapshots[i].hidden &&
		    strcmp(img->desc.snapshots[i].name, name) == 0)
			return pl_err_set(err, PL_E_EXISTS, EEXIST,
					  "%s: a snapshot \"%s\" exists "
					  "already",
					  img->dir->path, name);
	return 0;
}

static int check_request(const struct pl_image *img, struct pl_chain *live,
			 const struct wanted *want, struct pl_err *err)
{
	const struct pl_image_snapshot *s = NULL;
	int rc = need_writable(img, err);

	if (rc == 0)
		rc = check_text("name", want->name, sizeof(s->name), err);
	if (rc == 0)
		rc = check_text("description", want->description,
				sizeof(s->description), err);
	if (rc == 0)
		rc = check_text("holder", want->holder, sizeof(s->holder), err);
	if (rc == 0)
		rc = name_is_free(img, want->name, err);
	if (rc < 0)
		return rc;
	if (pl_chain_depth(live) >= PL_CHAIN_MAX)
		return pl_err_set(err, PL_E_UNSUPPORTED, E2BIG,
				  "%s: a chain has at most %u layers; delete "
				  "snapshots first",
				  img->dir->path, PL_CHAIN_MAX);
	/* A resize whose commit failed; opening it again settles that. */
	if (pl_chain_size(live) !=
	    descriptor_layer(&img->desc, img->desc.top)->size)
		return pl_err_set(err, PL_E_BUSY, EBUSY,
				  "%s: its last resize did not finish; "
				  "detach it, or resize it again",
				  img->dir->path);
	return 0;
}

static void put_text(char *ret, size_t room, const char *text)
{
	snprintf(ret, room, "%s", text ? text : "");
}

static int fill_snapshot(const struct pl_image *img, const struct wanted *want,
			 struct pl_image_snapshot *s, struct pl_err *err)
{
	struct pl_uuid uuid;
	int rc = pl_uuid_random(&uuid);

	if (rc < 0)
		return pl_err_sys(err, rc, "no random numbers");
	memset(s, 0, sizeof(*s));
	pl_uuid_format(&uuid, s->id);
	memcpy(s->layer, img->desc.top, sizeof(s->layer));
	put_text(s->name, sizeof(s->name), want->name);
	put_text(s->description, sizeof(s->description), want->description);
	put_text(s->holder, sizeof(s->holder), want->holder);
	iso_now(s->created, sizeof(s->created));
	return 0;
}

/* A file for the new top, open as one. */
static int make_top(struct pl_image *img, bool begin, struct pl_err *err)
{
	struct prepared *p = &img->prepared;
	const struct pl_image_layer *top =
		descriptor_layer(&img->desc, img->desc.top);
	int rc = layer_file_create(img, top->id, top->size, p->id, err);

	if (rc < 0) {
		p->id[0] = '\0';
		return rc;
	}
	rc = layer_file_open(img, p->id, PL_LAYER_WRITE, true, img->pending,
			     &p->top, err);
	if (rc < 0 || !begin)
		return rc;
	rc = pl_layer_begin(p->top);
	return rc < 0 ? pl_err_sys(err, rc, "layer %s: header", p->id) : 0;
}

/* The descriptor after the snapshot: the prepared layer on top. */
static int describe(struct pl_image *img, const struct pl_image_snapshot *snap,
		    struct pl_err *err)
{
	struct pl_image_desc *next = &img->prepared.next;
	struct pl_image_layer layer;
	int rc = descriptor_copy(&img->desc, next);

	if (rc < 0)
		return pl_err_sys(err, rc, "snapshot");
	img->prepared.described = true;
	layer = *descriptor_layer(&img->desc, img->desc.top);
	memcpy(layer.parent, layer.id, sizeof(layer.id));
	memcpy(layer.id, img->prepared.id, sizeof(layer.id));
	memcpy(next->top, layer.id, sizeof(layer.id));
	rc = descriptor_add_layer(next, &layer);
	if (rc == 0)
		rc = descriptor_add_snapshot(next, snap);
	return rc < 0 ? pl_err_sys(err, rc, "snapshot") :
			descriptor_prepare(img->dir, next, err);
}

static bool same_text(const char *text, const char *want)
{
	return strcmp(text, want ? want : "") == 0;
}

static bool is_prepared(const struct pl_image *img, const struct wanted *want)
{
	const struct prepared *p = &img->prepared;
	const struct pl_image_snapshot *s;

	if (!p->described)
		return false;
	s = &p->next.snapshots[p->next.n_snapshots - 1];
	return same_text(s->name, want->name) &&
	       same_text(s->description, want->description) &&
	       same_text(s->holder, want->holder);
}

/* begin: the new top's first change must not have to wait. */
static int prepare(struct pl_image *img, struct pl_chain *live,
		   const struct wanted *want, bool begin, struct pl_err *err)
{
	struct pl_image_snapshot snap;
	int rc = check_request(img, live, want, err);

	/* One that failed behind its switch comes first. */
	if (rc == 0)
		rc = pl_image_snapshot_finish(img, live, err);
	if (rc < 0 || is_prepared(img, want))
		return rc;
	snapshot_forget_prepared(img);
	rc = fill_snapshot(img, want, &snap, err);
	if (rc == 0)
		rc = make_top(img, begin, err);
	if (rc == 0)
		rc = describe(img, &snap, err);
	if (rc < 0)
		snapshot_forget_prepared(img);
	return rc;
}

int pl_image_snapshot_prepare(struct pl_image *img, struct pl_chain *live,
			      const char *name, const char *description,
			      const char *holder, struct pl_err *err)
{
	return prepare(img, live, &(struct wanted){ name, description, holder },
		       true, err);
}

/* ---- commit ---- */

static int claim(struct pl_image *img, struct pl_chain *live,
		 struct pl_err *err)
{
	int rc = pl_store_lock(pl_layer_store(pl_chain_top(live)),
			       PL_STORE_EXCLUSIVE);

	if (rc == -EBUSY)
		return pl_err_set(err, PL_E_BUSY, EBUSY,
				  "%s: layer %s is being read by somebody else",
				  img->dir->path, img->desc.top);
	return rc < 0 ? pl_err_sys(err, rc, "layer %s: lock", img->desc.top) :
			0;
}

int pl_image_snapshot_commit(struct pl_image *img, struct pl_chain *live,
			     struct pl_err *err)
{
	int rc = claim(img, live, err);

	if (rc == 0)
		rc = descriptor_publish(img->dir, err);
	img->prepared.committed = rc == 0;
	return rc;
}

int pl_image_snapshot_undo(struct pl_image *img, struct pl_chain *live,
			   struct pl_err *err)
{
	/* Either descriptor may be the one that counts: both files stay. */
	if (img->prepared.committed &&
	    descriptor_store(img->dir, &img->desc, err) < 0)
		return -ESTALE;
	img->prepared.committed = false;
	snapshot_forget_prepared(img);
	pl_store_lock(pl_layer_store(pl_chain_top(live)), PL_STORE_UNLOCKED);
	return 0;
}

/* ---- switch ---- */

/* What a flush has to wait for. */
static int settle(void *arg)
{
	struct pl_image *img = arg;
	struct sealing *s = &img->sealing;
	int rc = pl_layer_flush(s->layer);

	if (rc < 0 || s->durable)
		return rc;
	/* A sync that failed once says nothing when it succeeds later. */
	if (!s->doubtful) {
		rc = img->dir->ops->sync(img->dir, "");
		s->doubtful = rc < 0;
		s->durable = rc == 0;
	}
	return s->doubtful ? -EIO : 0;
}

int pl_image_snapshot_switch(struct pl_image *img, struct pl_chain *live,
			     char *ret_id, struct pl_err *err)
{
	struct prepared *p = &img->prepared;
	struct pl_layer *old = pl_chain_top(live);
	const struct pl_image_snapshot *snap;
	int rc = pl_chain_push(live, p->top, err);

	if (rc < 0)
		return rc;
	snap = &p->next.snapshots[p->next.n_snapshots - 1];
	memcpy(ret_id, snap->id, sizeof(snap->id));
	descriptor_free(&img->desc);
	img->desc = p->next;
	memset(p, 0, sizeof(*p));
	img->sealing = (struct sealing){ .layer = old };
	pl_chain_set_settle(live, settle, img);
	return 0;
}

/* ---- settle, seal ---- */

int pl_image_snapshot_settle(struct pl_image *img, struct pl_chain *live,
			     struct pl_err *err)
{
	int rc = img->sealing.layer ? pl_chain_settle(live) : 0;

	if (rc == 0)
		return 0;
	pl_err_sys(err, rc,
		   "%s: the last snapshot is taken, but the host can't make it "
		   "durable",
		   img->dir->path);
	return img->sealing.doubtful ? -ESTALE : rc;
}

int pl_image_snapshot_finish(struct pl_image *img, struct pl_chain *live,
			     struct pl_err *err)
{
	struct pl_layer *ly = img->sealing.layer;
	int rc;

	if (!ly)
		return 0;
	img->sealing.running = true;
	rc = pl_image_snapshot_settle(img, live, err);
	if (rc == 0)
		rc = pl_layer_seal(ly, err);
	img->sealing.running = false;
	if (rc == 0) {
		img->sealing = (struct sealing){ .layer = NULL };
		pl_store_lock(pl_layer_store(ly), PL_STORE_UNLOCKED);
	}
	pl_waitq_wake_all(&img->sealed);
	return rc;
}

int snapshot_wait_sealed(struct pl_image *img, struct pl_err *err)
{
	while (img->sealing.running)
		pl_waitq_wait(&img->sealed);
	return img->sealing.layer ?
		       pl_err_set(err, PL_E_BUSY, EBUSY,
				  "%s: its last snapshot is not finished, for "
				  "want of room on the host or because of an "
				  "error; make room and try again",
				  img->dir->path) :
		       0;
}

/* ---- all of it ---- */

static int snapshot(struct pl_image *img, struct pl_chain *ch,
		    const struct wanted *want, bool live, char *ret_id,
		    struct pl_err *err)
{
	int rc = prepare(img, ch, want, live, err);

	if (rc < 0)
		return rc;
	rc = pl_image_snapshot_commit(img, ch, err);
	if (rc == 0)
		rc = pl_image_snapshot_switch(img, ch, ret_id, err);
	if (rc < 0)
		return pl_image_snapshot_undo(img, ch, NULL) < 0 ? -ESTALE : rc;
	return pl_image_snapshot_finish(img, ch, err);
}

int pl_image_snapshot(struct pl_image *img, struct pl_chain *live,
		      const char *name, const char *description,
		      const char *holder, char *ret_id, struct pl_err *err)
{
	const struct wanted want = { name, description, holder };
	struct pl_chain *ch = live;
	int rc = 0, rc2;

	ret_id[0] = '\0';
	if (!ch)
		rc = pl_image_open_chain(img, NULL, false, NULL, &ch, err);
	if (rc < 0)
		return rc;
	rc = snapshot(img, ch, &want, live != NULL, ret_id, err);
	if (!live) {
		rc2 = pl_chain_close(ch, rc < 0 ? NULL : err);
		rc = rc < 0 ? rc : rc2;
	}
	if (rc == 0 && !live)
		tree_sum_sealed(img);
	return rc;
}
