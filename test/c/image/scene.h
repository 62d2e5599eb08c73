/* SPDX-License-Identifier: Apache-2.0 */
/* An image in a directory in memory, for tests of what is done to images. */
#ifndef PL_TEST_SCENE_H
#define PL_TEST_SCENE_H

#include "chain/chain.h"
#include "image/image.h"
#include "store/store.h"
#include "tap.h"

#define MIB (1024ull * 1024)

struct scene {
	struct pl_dir *dir;
	struct pl_image *img;
	struct pl_chain *ch;
	struct pl_err err;
};

static inline bool scene_says(struct scene *sc, int rc)
{
	if (rc < 0)
		printf("# %s\n", sc->err.msg);
	return rc == 0;
}

static inline bool scene_create(struct scene *sc, uint64_t size,
				uint32_t block_size)
{
	struct pl_image_params p = { .size = size, .block_size = block_size };

	memset(sc, 0, sizeof(*sc));
	return pl_dir_memory(&sc->dir, 0) == 0 &&
	       scene_says(sc, pl_image_create(sc->dir, &p, &sc->err));
}

/* Opens the image for writing; with its chain when `chain`. */
static inline bool scene_open(struct scene *sc, bool chain)
{
	return scene_says(sc, pl_image_open(&sc->img, sc->dir, PL_IMAGE_WRITE,
					    "test", &sc->err)) &&
	       (!chain ||
		scene_says(sc, pl_image_open_chain(sc->img, NULL, false, NULL,
						   &sc->ch, &sc->err)));
}

static inline bool scene_close(struct scene *sc)
{
	int rc = pl_chain_close(sc->ch, &sc->err);

	pl_image_close(sc->img);
	sc->ch = NULL;
	sc->img = NULL;
	return scene_says(sc, rc);
}

static inline void scene_crash(struct scene *sc)
{
	pl_chain_abandon(sc->ch);
	pl_image_close(sc->img);
	sc->ch = NULL;
	sc->img = NULL;
}

static inline void scene_fini(struct scene *sc)
{
	scene_crash(sc);
	pl_dir_close(sc->dir);
	sc->dir = NULL;
}

static inline int scene_fill(struct pl_chain *ch, uint64_t block, uint64_t n,
			     int value)
{
	char *buf = malloc(n * 4096);
	int rc;

	memset(buf, value, n * 4096);
	rc = pl_chain_write(ch, buf, n * 4096, block * 4096);
	free(buf);
	return rc;
}

static inline bool scene_holds(struct pl_chain *ch, uint64_t block, uint64_t n,
			       int value)
{
	char *buf = malloc(n * 4096);
	bool same = pl_chain_read(ch, buf, n * 4096, block * 4096) == 0;

	for (uint64_t i = 0; same && i < n * 4096; i++)
		same = buf[i] == (char)value;
	free(buf);
	return same;
}

/* A snapshot of the image as it is open now. */
static inline bool scene_snapshot(struct scene *sc, const char *name,
				  char id[PL_ID_LEN + 1])
{
	return scene_says(sc, pl_image_snapshot(sc->img, sc->ch, name, NULL,
						NULL, id, &sc->err));
}

static inline bool scene_note(void *arg, const struct pl_finding *f)
{
	printf("# finding: %s\n", f->text);
	return arg == NULL;
}

/* Findings of a check of the closed image; -1 when none could be made. */
static inline int scene_check(struct scene *sc)
{
	struct pl_check_result res;

	if (!scene_says(sc, pl_image_check(sc->dir, scene_note, NULL, &res,
					   &sc->err)))
		return -1;
	return (int)res.findings;
}

static inline int scene_count_one(void *arg, const char *name)
{
	(void)name;
	++*(unsigned *)arg;
	return 0;
}

static inline unsigned scene_layer_files(struct scene *sc)
{
	unsigned n = 0;

	sc->dir->ops->list(sc->dir, "layers", scene_count_one, &n);
	return n;
}

/* Writes a whole file of the directory. */
static inline void scene_put_file(struct scene *sc, const char *name,
				  const char *text, size_t len)
{
	struct pl_store *st;

	sc->dir->ops->unlink(sc->dir, name);
	if (ok(sc->dir->ops->open(sc->dir, name, PL_OPEN_WRITE | PL_OPEN_CREATE,
				  &st, &sc->err) == 0)) {
		ok(pl_store_write(st, text, len, 0, PL_IO_META) == 0);
		pl_store_close(st);
	}
}

/* Its content, NUL-terminated; free() it. */
static inline char *scene_get_file(struct scene *sc, const char *name)
{
	struct pl_store *st;
	uint64_t size = 0;
	char *text;

	if (!ok(sc->dir->ops->open(sc->dir, name, 0, &st, &sc->err) == 0))
		return calloc(1, 1);
	pl_store_size(st, &size);
	text = calloc(1, size + 1);
	ok(pl_store_read(st, text, size, 0, PL_IO_META) == 0);
	pl_store_close(st);
	return text;
}

#endif
