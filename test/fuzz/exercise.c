/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every image has to stand, whatever is in its files:
 *
 *   check    is always made, and changes nothing
 *   read     gives the documented errors only, and changes nothing
 *   write    whole blocks, flush, then close in order or crash, then an
 *            operation (snapshot, delete, grow, compact): documented errors
 *
 * When check finds nothing, opening and reading work, what is written and
 * flushed is there and all else as it was, and check finds nothing afterwards.
 *
 * Only whole blocks are written: the rest of a block that nobody owns would
 * show what a file lies about (FMT-053).
 */
#include <errno.h>

#include "chain/chain.h"
#include "image/image.h"
#include "sandbox.h"

#define KIB 1024ull
#define MIB (1024 * KIB)
#define WINDOWS 3u
#define WINDOW (256 * KIB)

/* Blocks that are looked at: each with its content, or not known. */
struct view {
	uint64_t off[WINDOWS], len[WINDOWS]; /* bytes; in the disk */
	bool known[WINDOWS][WINDOW / 4096];
	char data[WINDOWS][WINDOW] __attribute__((aligned(4096)));
};

static struct view before;
static bool sound; /* check found nothing */
static char buf[WINDOW] __attribute__((aligned(4096)));

/* ---- check ---- */

struct findings {
	unsigned n;
	char first[400];
};

static bool count_finding(void *arg, const struct pl_finding *f)
{
	struct findings *fs = arg;

	fuzz_require(f->text[0]);
	if (fs->n++ == 0)
		snprintf(fs->first, sizeof(fs->first), "%s", f->text);
	return true;
}

static struct findings check(struct sandbox *s)
{
	struct findings fs = { 0 };
	struct pl_check_result res;
	struct pl_err err;

	fuzz_require_say(pl_image_check(s->dir, count_finding, &fs, &res,
					&err) == 0,
			 err.msg);
	fuzz_require(res.findings == fs.n);
	return fs;
}

/* ---- read ---- */

static void place_windows(struct view *v, uint64_t size, uint64_t bs)
{
	const uint64_t want[WINDOWS] = { 192 * KIB, 64 * MIB - 128 * KIB,
					 size > WINDOW ? size - WINDOW : 0 };

	for (unsigned i = 0; i < WINDOWS; i++) {
		v->off[i] = want[i] / bs * bs;
		v->len[i] = v->off[i] >= size	      ? 0 :
			    size - v->off[i] < WINDOW ? size - v->off[i] :
							WINDOW;
	}
}

static void look(struct pl_chain *ch, struct view *v)
{
	place_windows(v, pl_chain_size(ch), pl_chain_block_size(ch));
	for (unsigned w = 0; w < WINDOWS; w++) {
		int rc = v->len[w] ? pl_chain_read(ch, v->data[w], v->len[w],
						   v->off[w]) :
				     0;

		fuzz_require(rc == 0 || rc == -EUCLEAN);
		fuzz_require(rc == 0 || !sound);
		memset(v->known[w], rc == 0, sizeof(v->known[w]));
	}
}

struct extents {
	uint64_t next, end;
	uint32_t block_size;
};

static bool each_extent(void *arg, const struct pl_chain_extent *e)
{
	struct extents *x = arg;

	fuzz_require(e->off == x->next && e->len && e->len <= x->end - e->off);
	fuzz_require(e->layer || e->host_off == UINT64_MAX);
	x->next += e->len;
	return true;
}

static void walk_extents(struct pl_chain *ch)
{
	struct extents x = { .end = pl_chain_size(ch) };
	int rc = pl_chain_extents(ch, 0, x.end, each_extent, &x);

	fuzz_require(rc == 0 || rc == -EUCLEAN);
	fuzz_require(rc == 0 || !sound);
	if (rc == 0)
		fuzz_require(x.next == x.end);
}

/* False when the image can't be opened. */
static bool read_image(struct sandbox *s)
{
	struct pl_image *img;
	struct pl_chain *ch;
	struct pl_err err = { 0 };
	int rc = pl_image_open(&img, s->dir, PL_IMAGE_NO_LOCK, "fuzz", &err);

	fuzz_require_say(rc == 0, err.msg); /* the descriptor is good */
	rc = pl_image_open_chain(img, NULL, true, NULL, &ch, &err);
	if (rc == 0) {
		look(ch, &before);
		walk_extents(ch);
		pl_chain_abandon(ch);
	} else {
		fuzz_require_err(&err, FUZZ_DAMAGE);
	}
	pl_image_close(img);
	return rc == 0;
}

/* ---- write ---- */

/* Everything that was known is there still, if check can be believed. */
static void compare(struct pl_chain *ch)
{
	for (unsigned w = 0; w < WINDOWS; w++) {
		uint64_t len = before.len[w];
		int rc;

		if (!len || before.off[w] + len > pl_chain_size(ch))
			continue;
		rc = pl_chain_read(ch, buf, len, before.off[w]);
		fuzz_require(rc == 0 || rc == -EUCLEAN);
		for (uint64_t b = 0; b < len; b += 4096)
			if (sound && before.known[w][b / 4096])
				fuzz_require(rc == 0 &&
					     !memcmp(buf + b,
						     before.data[w] + b, 4096));
	}
}

static void note(unsigned w, uint64_t at, uint64_t len, int rc, int value)
{
	memset(before.data[w] + at, value, len);
	memset(before.known[w] + at / 4096, rc == 0, len / 4096);
}

/* Windows may overlap on a small disk. */
static void note_all(uint64_t off, uint64_t len, int rc, int value)
{
	for (unsigned w = 0; w < WINDOWS; w++) {
		uint64_t from = off > before.off[w] ? off : before.off[w];
		uint64_t to = off + len < before.off[w] + before.len[w] ?
				      off + len :
				      before.off[w] + before.len[w];

		if (from < to)
			note(w, from - before.off[w], to - from, rc, value);
	}
}

/* One write or discard of whole blocks in a window. */
static int change(struct pl_chain *ch, unsigned how)
{
	uint64_t bs = pl_chain_block_size(ch), off, len, blocks;
	unsigned w = how / 4 % WINDOWS;
	int rc, value = (int)(how % 4 ? 0x80 | how % 64 : 0);

	blocks = before.len[w] / bs;
	if (blocks == 0)
		return 0;
	off = before.off[w] + how / 16 % blocks * bs;
	len = before.off[w] + blocks * bs - off;
	len = len > (how % 7 + 1) * bs ? (how % 7 + 1) * bs : len;
	memset(buf, value, len);
	rc = value ? pl_chain_write(ch, buf, len, off) :
		     pl_chain_zero(ch, len, off);
	fuzz_require(rc == 0 || rc == -ENOSPC || rc == -EUCLEAN || rc == -EIO);
	note_all(off, len, rc, value);
	return rc;
}

static struct pl_image *open_for_writing(struct sandbox *s,
					 struct pl_chain **ret)
{
	uint64_t codes = FUZZ_DAMAGE | FUZZ_CODE(READ_ONLY) |
			 FUZZ_CODE(NO_SPACE);
	struct pl_image *img;
	struct pl_err err = { 0 };
	int rc = pl_image_open(&img, s->dir, PL_IMAGE_WRITE, "fuzz", &err);

	if (rc == 0)
		rc = pl_image_open_chain(img, NULL, false, NULL, ret, &err);
	else
		img = NULL;
	if (rc == 0)
		return img;
	pl_image_close(img);
	fuzz_require_say(!sound || err.code == PL_E_READ_ONLY ||
				 err.code == PL_E_NO_SPACE,
			 err.msg);
	fuzz_require_err(&err, codes);
	return NULL;
}

/* What the descriptor or a sealed top forbids is no defect. */
static void operate(struct sandbox *s, unsigned which)
{
	uint64_t codes = FUZZ_DAMAGE | FUZZ_CODE(READ_ONLY) |
			 FUZZ_CODE(NO_SPACE) | FUZZ_CODE(INVALID_ARGUMENT) |
			 FUZZ_CODE(SNAPSHOT_NOT_FOUND) | FUZZ_CODE(IO);
	struct pl_compact_result compacted;
	char id[PL_ID_LEN + 1];
	struct pl_image *img;
	struct pl_err err = { 0 };
	uint64_t size;
	int rc = pl_image_open(&img, s->dir, PL_IMAGE_WRITE, "fuzz", &err);

	fuzz_require_say(rc == 0, err.msg);
	size = pl_image_desc(img)->size;
	switch (which % 5) {
	case 1:
		rc = pl_image_snapshot(img, NULL, NULL, "", NULL, id, &err);
		break;
	case 2:
		if (pl_image_desc(img)->n_snapshots)
			rc = pl_image_delete(
				img, pl_image_desc(img)->snapshots[0].id, NULL,
				NULL, &err);
		break;
	case 3:
		size += which / 5 % 2 ? 300 * MIB : 40960 * MIB;
		if (size < 1ull << 40)
			rc = pl_image_resize(img, NULL, size, &err);
		break;
	case 4:
		rc = pl_image_compact(img, NULL, &compacted, NULL, &err);
		break;
	default:
		break;
	}
	if (rc < 0)
		fuzz_require_err(&err, codes);
	pl_image_close(img);
}

static void reopen(struct sandbox *s)
{
	struct pl_chain *ch;
	struct pl_image *img = open_for_writing(s, &ch);

	if (!img)
		return;
	compare(ch);
	pl_chain_abandon(ch);
	pl_image_close(img);
}

/* Returns true when it was closed in order. */
static bool write_image(struct sandbox *s, struct fuzz_in *in)
{
	unsigned n = (unsigned)fuzz_take(in, 1), how = n / 16;
	struct pl_chain *ch;
	struct pl_err err;
	struct pl_image *img = open_for_writing(s, &ch);
	bool flushed, closed = false;

	if (!img)
		return false;
	compare(ch);
	for (unsigned i = 0; i < n % 16; i++)
		change(ch, (unsigned)fuzz_take(in, 2));
	compare(ch);
	flushed = pl_chain_flush(ch) == 0;
	if (how & 1)
		pl_chain_abandon(ch); /* a crash */
	else
		closed = pl_chain_close(ch, &err) == 0;
	pl_image_close(img);
	if (!flushed && !closed)
		memset(before.known, 0, sizeof(before.known));
	reopen(s);
	return closed;
}

void sandbox_exercise(struct sandbox *s, struct fuzz_in *in)
{
	unsigned which = (unsigned)fuzz_take(in, 1);
	struct sandbox copy;
	struct findings fs, after;
	bool opened, closed;

	sandbox_copy(&copy, s);
	fs = check(s);
	sound = fs.n == 0;
	opened = read_image(s);
	fuzz_require_say(opened || !sound, "check finds nothing");
	fuzz_require(sandbox_equal(s, &copy));
	sandbox_close(&copy);
	if (!opened)
		return;
	closed = write_image(s, in);
	if (closed && sound) {
		after = check(s);
		fuzz_require_say(after.n == 0, after.first);
	}
	if (!closed)
		return;
	operate(s, which);
	reopen(s);
}
