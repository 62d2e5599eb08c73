/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The descriptor: the input is image.json of an image without layer files.
 * What is read is written and read again, and must be the same.
 */
#include <errno.h>

#include "fuzz.h"
#include "image/image_int.h"

static bool same(const struct pl_image_desc *a, const struct pl_image_desc *b)
{
	bool good = !strcmp(a->id, b->id) && !strcmp(a->label, b->label) &&
		    !strcmp(a->fs, b->fs) && !strcmp(a->created, b->created) &&
		    !strcmp(a->top, b->top) && a->size == b->size &&
		    a->block_size == b->block_size &&
		    a->n_layers == b->n_layers &&
		    a->n_snapshots == b->n_snapshots;

	for (unsigned i = 0; good && i < a->n_layers; i++)
		good = !strcmp(a->layers[i].id, b->layers[i].id) &&
		       !strcmp(a->layers[i].parent, b->layers[i].parent) &&
		       a->layers[i].size == b->layers[i].size;
	for (unsigned i = 0; good && i < a->n_snapshots; i++) {
		const struct pl_image_snapshot *s = &a->snapshots[i];
		const struct pl_image_snapshot *t = &b->snapshots[i];

		good = !strcmp(s->id, t->id) && !strcmp(s->layer, t->layer) &&
		       !strcmp(s->name, t->name) &&
		       !strcmp(s->description, t->description) &&
		       !strcmp(s->created, t->created) &&
		       !strcmp(s->holder, t->holder) && s->hidden == t->hidden;
	}
	return good;
}

static struct pl_dir *directory(const uint8_t *text, size_t size)
{
	struct pl_dir *dir;
	struct pl_store *st;
	struct pl_err err;

	fuzz_require(pl_dir_memory(&dir, 0) == 0);
	fuzz_require(dir->ops->open(dir, DESCRIPTOR,
				    PL_OPEN_WRITE | PL_OPEN_CREATE, &st,
				    &err) == 0);
	fuzz_require(pl_store_write(st, text, size, 0, PL_IO_META) == 0);
	pl_store_close(st);
	return dir;
}

static bool any_finding(void *arg, const struct pl_finding *f)
{
	(void)arg;
	fuzz_require(f->text[0]);
	return true;
}

/* Every snapshot is found by its id; a chain without files is refused. */
static void look(struct pl_image *img)
{
	const struct pl_image_desc *d = pl_image_desc(img);
	const struct pl_image_snapshot *found;
	struct pl_chain *ch;
	struct pl_err err;
	uint64_t codes = FUZZ_CODE(AMBIGUOUS_ID) |
			 FUZZ_CODE(SNAPSHOT_NOT_FOUND);
	int rc;

	for (unsigned i = 0; i < d->n_snapshots && i < 8; i++) {
		rc = pl_image_find(img, d->snapshots[i].id, &found, &err);
		fuzz_require(rc < 0 || !strcmp(found->id, d->snapshots[i].id) ||
			     !strcmp(found->name, d->snapshots[i].id));
		fuzz_require(rc == 0 || err.code < 64);
		fuzz_require(rc == 0 || codes >> err.code & 1);
	}
	rc = pl_image_open_chain(img, NULL, true, NULL, &ch, &err);
	fuzz_require(rc < 0);
	fuzz_require_err(&err, FUZZ_DAMAGE);
}

static void again(struct pl_dir *dir, struct pl_image *img)
{
	const struct pl_image_desc *d = pl_image_desc(img);
	struct pl_image_desc back;
	struct pl_err err;

	fuzz_require(descriptor_store(dir, d, &err) == 0);
	fuzz_require_say(descriptor_load(dir, &back, &err) == 0, err.msg);
	fuzz_require(same(d, &back));
	descriptor_free(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pl_dir *dir = directory(data, size);
	struct pl_check_result res;
	struct pl_image *img;
	struct pl_err err = { 0 };

	if (pl_image_open(&img, dir, PL_IMAGE_WRITE, "fuzz", &err) < 0) {
		fuzz_require_err(&err, FUZZ_DAMAGE);
	} else {
		look(img);
		again(dir, img);
		pl_image_close(img);
	}
	if (pl_image_check(dir, any_finding, NULL, &res, &err) < 0)
		fuzz_require_err(&err, FUZZ_DAMAGE);
	pl_dir_close(dir);
	return 0;
}
