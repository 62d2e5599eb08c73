/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Creating, opening, closing, sealing a layer.
 *
 * STATES on disk
 *   top, clean --first change: mark_dirty()--> top, not clean
 *   top, not clean --pl_layer_close()--> top, clean
 *   top --pl_layer_seal()--> sealed, clean
 *   not clean --crash, pl_layer_open()--> replayed in memory
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/plant.h"
#include "layer/layer_int.h"

#define JOURNAL_LEN (1u << 20)

int pl_layer_create(struct pl_store *st, const struct pl_layer_params *params,
		    struct pl_err *err)
{
	struct pl_header hdr = {
		.sequence = 1,
		.uuid = params->uuid,
		.parent = params->parent,
		.virtual_size = params->virtual_size,
		.block_size = params->block_size,
		.sector_size = 512,
		.state = PL_LAYER_TOP,
		.flags = PL_HEADER_CLEAN,
		.created = (uint64_t)time(NULL),
	};
	char page[PL_PAGE];
	int rc;

	if (params->label)
		strncpy(hdr.label, params->label, PL_LABEL_MAX);
	pl_header_layout(&hdr, JOURNAL_LEN);
	pl_header_encode(&hdr, page);
	rc = pl_header_decode(page, &hdr,
			      err); /* the same rules as for reading */
	if (rc < 0)
		return rc;
	rc = pl_store_write(st, page, PL_PAGE, 0, PL_IO_META);
	if (rc == 0)
		rc = pl_store_write(st, page, PL_PAGE, PL_PAGE, PL_IO_META);
	if (rc == 0)
		rc = pl_store_truncate(st, hdr.first_cluster *
						   pl_cluster_size(&hdr));
	if (rc == 0 && !pl_plant(PL_PLANT_UNSYNCED_LAYER))
		rc = pl_store_sync(st);
	return rc < 0 ? pl_err_sys(err, rc, "cannot write a new layer") : 0;
}

int layer_read_header(struct pl_layer *ly, struct pl_err *err)
{
	char pages[2 * PL_PAGE];
	int rc = pl_store_read(ly->st, pages, sizeof(pages), 0, PL_IO_META);

	if (rc < 0)
		return pl_err_sys(err, rc, "cannot read the layer's header");
	rc = pl_header_choose(pages, pages + PL_PAGE, &ly->hdr, &ly->slot, err);
	if (rc < 0)
		return rc;
	pl_uuid_format(&ly->hdr.uuid, ly->id);
	/* A header may count pages that this disk does not need. */
	if (ly->hdr.dir_used > pl_dir_page_count(&ly->hdr))
		ly->hdr.dir_used = pl_dir_page_count(&ly->hdr);
	return 0;
}

int layer_alloc_tables(struct pl_layer *ly)
{
	ly->page_count = pl_page_count(&ly->hdr);
	ly->dir = calloc(ly->page_count, sizeof(*ly->dir));
	ly->pages = calloc(ly->page_count, sizeof(struct mpage *));
	return ly->dir && ly->pages ? 0 : -ENOMEM;
}

/* What a dead worker had not got into the journal yet. */
static int redo_pending(struct pl_layer *ly, struct pl_err *err)
{
	struct pending *p = ly->pending;
	struct mpage *mp;
	int rc = 0;

	for (uint64_t i = p->head->tail; i < p->head->head && rc == 0; i++) {
		const struct pending_entry *e = pending_at(p, i);

		if (e->cno / PL_PAGE_ENTRIES >= ly->page_count ||
		    pl_entry_validate(&ly->hdr, e->cno, &e->entry, NULL) < 0)
			return pl_err_set(err, PL_E_INTERNAL, EINVAL,
					  "layer %s: a pending change is not "
					  "valid",
					  ly->id);
		rc = mpage_load(ly, e->cno / PL_PAGE_ENTRIES, &mp);
		if (rc < 0)
			return pl_err_sys(
				err, rc, "layer %s: map page %llu", ly->id,
				(unsigned long long)(e->cno / PL_PAGE_ENTRIES));
		mp->entry[e->cno % PL_PAGE_ENTRIES] = e->entry;
		mpage_mark_dirty(ly, mp);
	}
	ly->batch_start = p->head->head;
	return rc;
}

static int adopt_pending(struct pl_layer *ly, struct pl_pending *pending,
			 struct pl_err *err)
{
	int rc = 0;

	if (!pending)
		rc = pl_pending_new(&ly->own_pending, -1, err);
	if (rc < 0)
		return rc;
	ly->pending = pending_take(pending ? pending : ly->own_pending,
				   &ly->hdr.uuid);
	if (!ly->pending)
		return pl_err_set(err, PL_E_INTERNAL, EINVAL,
				  "layer %s: pending changes belong to other "
				  "layers",
				  ly->id);
	return redo_pending(ly, err);
}

int layer_open_writable(struct pl_layer *ly, unsigned flags,
			struct pl_pending *pending, struct pl_err *err)
{
	bool clean = ly->hdr.flags & PL_HEADER_CLEAN, drop, foreign;
	int rc;

	if (ly->hdr.state == PL_LAYER_SEALED && !(flags & PL_LAYER_MAINTAIN))
		return pl_err_set(err, PL_E_READ_ONLY, EROFS,
				  "layer %s is sealed", ly->id);
	if (layer_counted_out(&ly->hdr))
		return pl_err_set(err, PL_E_CORRUPT, EUCLEAN,
				  "layer %s: the header's sequence or journal "
				  "position is near its end",
				  ly->id);
	/*
	 * Changes would make the block checksums untrue (FMT-122), and whatever
	 * a newer program has written (FMT-017).
	 */
	drop = ly->hdr.auto_clear != 0;
	foreign = ly->hdr.auto_clear & ~PL_AUTO_CLEAR_SUMS;
	ly->hdr.auto_clear = ly->hdr.sums_off = ly->hdr.sums_pages = 0;
	clean = clean && !foreign;
	ly->writable = true;
	ly->marked_dirty = !(ly->hdr.flags & PL_HEADER_CLEAN) && !drop;
	rc = adopt_pending(ly, pending, err);
	if (rc == 0)
		rc = alloc_scan(ly, err);
	if (rc < 0)
		return rc;
	ly->trusted = clean && ly->pending->head->head == 0 &&
		      !(ly->hdr.flags & PL_HEADER_STALE);
	if (!clean || ly->pending->head->head)
		ly->hdr.flags |= PL_HEADER_STALE;
	if (!clean || drop || ly->pending->head->head) {
		rc = mark_dirty(ly);
		if (rc == 0)
			rc = alloc_sanitize(ly);
	} else if (pl_layer_stale(ly)) {
		/* What failed may have left something in free ones, too. */
		rc = alloc_sanitize(ly);
	}
	ly->data_dirty = ly->marked_dirty;
	ly->unsynced = true;
	return rc < 0 ? pl_err_sys(err, rc, "layer %s: recovery", ly->id) : 0;
}

static int open_parts(struct pl_layer *ly, unsigned flags,
		      struct pl_pending *pending, struct pl_err *err)
{
	int rc = layer_read_header(ly, err);

	if (rc < 0)
		return rc;
	rc = layer_alloc_tables(ly);
	if (rc < 0)
		return pl_err_sys(err, rc, "layer %s", ly->id);
	ly->journal_head = ly->hdr.checkpoint_lsn;
	ly->journal_crc = ly->hdr.checkpoint_crc;
	if (ly->hdr.flags & PL_HEADER_CLEAN)
		rc = load_directory(ly, flags & PL_LAYER_LAZY, err);
	else
		rc = replay(ly, err);
	if (rc == 0 && flags & PL_LAYER_WRITE)
		rc = layer_open_writable(ly, flags, pending, err);
	return rc;
}

void layer_free_parts(struct pl_layer *ly)
{
	mpage_free_all(ly);
	alloc_fini(ly);
	free(ly->dir);
	free(ly->unread);
	free(ly->pages);
	pending_give_back(ly->pending);
	pl_pending_free(ly->own_pending);
	free(ly);
}

int pl_layer_open(struct pl_layer **ret, struct pl_store *st, unsigned flags,
		  struct pl_pending *pending, struct pl_err *err)
{
	struct pl_layer *ly = calloc(1, sizeof(*ly));
	int rc;

	if (!ly)
		return pl_err_sys(err, -ENOMEM, "layer");
	assert(!(flags & PL_LAYER_LAZY) || !(flags & PL_LAYER_WRITE));
	ly->st = st;
	rc = open_parts(ly, flags, pending, err);
	if (rc < 0) {
		layer_free_parts(ly);
		return rc;
	}
	/* The journal has healed what was met until now. */
	memset(&ly->trouble, 0, sizeof(ly->trouble));
	*ret = ly;
	return 0;
}

void pl_layer_abandon(struct pl_layer *ly)
{
	struct pl_store *st;

	if (!ly)
		return;
	st = ly->st;
	layer_free_parts(ly);
	pl_store_close(st);
}

/* Everything in place, the journal empty, the file no longer than needed. */
static int finish(struct pl_layer *ly)
{
	uint64_t len;
	int rc;

	pl_comutex_lock(&ly->flush_lock);
	rc = ly->failed ? -EIO : commit_place_pages(ly);
	if (rc == 0 && (ly->marked_dirty || ly->data_dirty ||
			ly->alloc.file_clusters > alloc_end(ly)))
		rc = pl_layer_trim_tail(ly, &len);
	if (rc == 0)
		rc = commit_checkpoint(ly, true);
	pl_comutex_unlock(&ly->flush_lock);
	assert(rc < 0 || ly->pending->head->head == ly->pending->head->tail);
	return rc;
}

int pl_layer_close(struct pl_layer *ly, struct pl_err *err)
{
	char id[PL_UUID_TEXT];
	uint64_t before;
	int rc = 0;

	if (!ly)
		return 0;
	before = ly->hdr.sequence;
	memcpy(id, ly->id, sizeof(id));
	if (ly->writable)
		rc = finish(ly);
	/* Both header copies of a closed layer are good, and say so. */
	if (rc == 0 && ly->writable && ly->hdr.sequence != before)
		rc = pl_layer_renew_header(ly);
	pl_layer_abandon(ly);
	return rc < 0 ? pl_err_sys(err, rc, "layer %s: closing", id) : 0;
}

int pl_layer_seal(struct pl_layer *ly, struct pl_err *err)
{
	int rc = finish(ly);

	if (rc == 0)
		rc = pl_store_punch(ly->st, ly->hdr.journal_off,
				    ly->hdr.journal_len);
	if (rc == 0) {
		ly->hdr.state = PL_LAYER_SEALED;
		ly->hdr.flags |= PL_HEADER_CLEAN;
		rc = commit_header(ly);
	}
	if (rc < 0)
		return pl_err_sys(err, rc, "layer %s: sealing", ly->id);
	ly->writable = false;
	mpage_free_all(ly);
	alloc_fini(ly);
	pending_give_back(ly->pending);
	ly->pending = NULL;
	return 0;
}

int pl_layer_begin(struct pl_layer *ly)
{
	return mark_dirty(ly);
}

int pl_layer_unseal(struct pl_layer *ly, struct pl_err *err)
{
	int rc = finish(ly);

	ly->hdr.state = PL_LAYER_TOP;
	if (rc == 0)
		rc = pl_layer_renew_header(ly);
	if (rc == 0)
		rc = pl_layer_renew_header(ly); /* both copies */
	return rc < 0 ? pl_err_sys(err, rc, "layer %s: unsealing", ly->id) : 0;
}

int pl_layer_set_parent(struct pl_layer *ly, const struct pl_uuid *parent)
{
	struct pl_uuid old = ly->hdr.parent;
	int rc;

	pl_comutex_lock(&ly->flush_lock);
	ly->hdr.parent = *parent;
	rc = commit_header(ly);
	if (rc < 0)
		ly->hdr.parent = old;
	pl_comutex_unlock(&ly->flush_lock);
	return rc;
}

void pl_layer_note_parent(struct pl_layer *ly, const struct pl_uuid *parent)
{
	ly->hdr.parent = *parent;
}
