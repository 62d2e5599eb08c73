/* SPDX-License-Identifier: Apache-2.0 */
/* Layer files that others use, on a real file system (FMT-086). */
#include "tap.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "chain/chain.h"
#include "image/image.h"
#include "scratch.h"
#include "store/store.h"

#define MIB (1024ull * 1024)

static struct pl_dir *dir;
static struct pl_image *img;
static struct pl_err err;
static char ids[3][PL_ID_LEN + 1];

static bool says(int rc)
{
	if (rc < 0)
		printf("# %s\n", err.msg);
	return rc == 0;
}

static bool fill(struct pl_chain *ch, uint64_t off, int value)
{
	char *buf = aligned_alloc(4096, MIB);
	int rc;

	memset(buf, value, MIB);
	rc = pl_chain_write(ch, buf, MIB, off);
	free(buf);
	return rc == 0;
}

/* Three snapshots with some data each; the image stays open for writing. */
static bool prepared(const char *name)
{
	struct pl_image_params p = { .size = 64 * MIB };
	struct pl_chain *ch;

	if (!says(pl_dir_open(&dir, scratch_file(name), PL_OPEN_CREATE, NULL,
			      &err)) ||
	    !says(pl_image_create(dir, &p, &err)) ||
	    !says(pl_image_open(&img, dir, PL_IMAGE_WRITE, "test", &err)))
		return false;
	for (unsigned i = 0; i < 3; i++)
		if (!says(pl_image_open_chain(img, NULL, false, NULL, &ch,
					      &err)) ||
		    !fill(ch, i * MIB, 'a' + (int)i) ||
		    !says(pl_image_snapshot(img, ch, NULL, NULL, NULL, ids[i],
					    &err)) ||
		    !says(pl_chain_close(ch, &err)))
			return false;
	return true;
}

static void finish(void)
{
	pl_image_close(img);
	pl_dir_close(dir);
}

static unsigned layers(void)
{
	return pl_image_desc(img)->n_layers;
}

/* The file of the layer that the n-th snapshot shows, or showed. */
static const char *file_of(unsigned n)
{
	static char path[400];
	const struct pl_image_desc *d = pl_image_desc(img);

	for (unsigned i = 0; i < d->n_snapshots; i++)
		if (strcmp(d->snapshots[i].id, ids[n]) == 0)
			snprintf(path, sizeof(path), "%s/layers/%s.plp",
				 dir->path, d->snapshots[i].layer);
	return path;
}

pl_test("a layer that has another link is neither merged nor changed (FMT-086)")
{
	char other[300];
	struct stat before, after;

	require(prepared("linked"));
	snprintf(other, sizeof(other), "%s/other", scratch());
	is_int(link(file_of(1), other), 0);
	is_int(stat(other, &before), 0);
	is_int(pl_image_delete(img, ids[1], NULL, NULL, &err), 0);
	is_int(layers(), 4);
	/* Nor is it merged into, by deleting the one below. */
	is_int(pl_image_delete(img, ids[0], NULL, NULL, &err), 0);
	is_int(layers(), 4);
	is_int(stat(other, &after), 0);
	is_int(after.st_mtime, before.st_mtime);
	is_int(after.st_blocks, before.st_blocks);
	is_int(unlink(other), 0);
	is_int(pl_image_tidy(img, NULL, NULL, &err), 0);
	is_int(layers(), 2);
	finish();
}

pl_test("a layer that is being read is neither merged nor removed (FMT-086)")
{
	struct pl_chain *seen;
	struct pl_image *reader;
	struct pl_dir *again;

	require(prepared("read"));
	is_int(pl_dir_open(&again, scratch_file("read"), 0, NULL, &err), 0);
	require(says(pl_image_open(&reader, again, PL_IMAGE_NO_LOCK, "reader",
				   &err)));
	require(says(
		pl_image_open_chain(reader, ids[1], true, NULL, &seen, &err)));
	is_int(pl_image_delete(img, ids[0], NULL, NULL, &err), -EBUSY);
	is_int(err.code, PL_E_BUSY);
	is_int(layers(), 4);
	pl_chain_abandon(seen);
	is_int(pl_image_tidy(img, NULL, NULL, &err), 0);
	is_int(layers(), 3);
	pl_image_close(reader);
	pl_dir_close(again);
	finish();
}

pl_test("a branch that is being read is not dropped either")
{
	struct pl_chain *seen;
	struct pl_image *reader;
	struct pl_dir *again;
	char branch[400];

	require(prepared("leaf"));
	require(says(pl_image_switch(img, ids[1], &err)));
	strcpy(branch, file_of(2));
	is_int(pl_dir_open(&again, scratch_file("leaf"), 0, NULL, &err), 0);
	require(says(pl_image_open(&reader, again, PL_IMAGE_NO_LOCK, "reader",
				   &err)));
	require(says(
		pl_image_open_chain(reader, ids[2], true, NULL, &seen, &err)));
	is_int(pl_image_delete(img, ids[2], NULL, NULL, &err), -EBUSY);
	is_int(access(branch, F_OK), 0);
	pl_chain_abandon(seen);
	is_int(pl_image_tidy(img, NULL, NULL, &err), 0);
	is_int(access(branch, F_OK), -1);
	pl_image_close(reader);
	pl_dir_close(again);
	finish();
}

static const struct pl_dir_ops *plain;
static int deletion = 1; /* not tried yet */

/* The owner of the source deletes the snapshot at just this moment. */
static int delete_and_link(struct pl_dir *to, struct pl_dir *from,
			   const char *name)
{
	if (deletion > 0)
		deletion = pl_image_delete(img, ids[1], NULL, NULL, &err);
	to->ops = plain; /* of the same kind, else nothing is shared */
	return plain->link(to, from, name);
}

static bool holds(struct pl_dir *clone, uint64_t off, char value)
{
	struct pl_image *image;
	struct pl_chain *ch;
	char *buf = aligned_alloc(4096, 4096);
	bool same =
		says(pl_image_open(&image, clone, 0, "reader", &err)) &&
		says(pl_image_open_chain(image, NULL, true, NULL, &ch, &err));

	if (same) {
		same = says(pl_chain_read(ch, buf, 4096, off)) &&
		       buf[0] == value && memcmp(buf, buf + 1, 4095) == 0;
		pl_chain_abandon(ch);
		pl_image_close(image);
	}
	free(buf);
	return same;
}

pl_test("a layer is not merged while a clone is about to share it")
{
	struct pl_dir_ops ops;
	struct pl_dir *from, *to;

	require(prepared("cloned"));
	is_int(pl_dir_open(&from, scratch_file("cloned"), 0, NULL, &err), 0);
	is_int(pl_dir_open(&to, scratch_file("clone"), PL_OPEN_CREATE, NULL,
			   &err),
	       0);
	plain = to->ops;
	ops = *plain;
	ops.link = delete_and_link;
	to->ops = &ops;
	require(says(pl_image_clone(from, ids[1], to, NULL, false, &err)));
	is_int(deletion, -EBUSY);
	is_int(layers(), 4);
	ok(holds(to, 0, 'a'));
	ok(holds(to, MIB, 'b'));
	ok(holds(to, 2 * MIB, 0));
	to->ops = plain;
	pl_dir_close(to);
	pl_dir_close(from);
	finish();
}

int main(void)
{
	return pl_tap_main();
}
