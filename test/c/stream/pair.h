/* SPDX-License-Identifier: Apache-2.0 */
/* A sender's image, a receiver's directory, and the stream between them. */
#ifndef PL_TEST_STREAM_PAIR_H
#define PL_TEST_STREAM_PAIR_H

#include "tap.h"

#include "../image/scene.h"
#include "bytes.h"

#define PAIR_SIZE (64 * MIB)

struct pair {
	struct scene src, dst;
	struct bytes stream;
	struct pl_stream_result sent, received;
	struct pl_err err;
	int level;
	const char *token; /* of the next send */
	char id[8][PL_ID_LEN + 1];
};

static inline bool pair_init(struct pair *p)
{
	memset(p, 0, sizeof(*p));
	p->level = PL_STREAM_LEVEL;
	return scene_create(&p->src, PAIR_SIZE, 4096) &&
	       scene_open(&p->src, true) && pl_dir_memory(&p->dst.dir, 0) == 0;
}

static inline void pair_fini(struct pair *p)
{
	scene_fini(&p->src);
	scene_fini(&p->dst);
	bytes_free(&p->stream);
}

static inline int do_send(struct pair *p, const char *since,
			  const char *snapshot)
{
	struct pl_send_options o = { .since = since,
				     .snapshot = snapshot,
				     .token = p->token,
				     .level = p->level };
	struct pl_stream_io io = bytes_io(&p->stream);

	bytes_free(&p->stream);
	return pl_send(p->src.img, &o, &io, &p->sent, &p->err);
}

static inline int do_receive(struct pair *p, bool force)
{
	struct pl_receive_options o = { .force = force };
	struct pl_stream_io io = bytes_io(&p->stream);
	struct pl_receive *r;
	int rc;

	p->stream.at = 0;
	rc = pl_receive_open(&r, &io, &p->err);
	if (rc < 0)
		return rc;
	if (pl_receive_is_whole(r)) {
		rc = pl_receive_whole(r, p->dst.dir, &o, &p->received, &p->err);
	} else if (scene_open(&p->dst, false)) {
		rc = pl_receive_changes(r, p->dst.img, &o, &p->received,
					&p->err);
		pl_image_close(p->dst.img);
		p->dst.img = NULL;
	} else {
		rc = -EIO;
	}
	pl_receive_close(r);
	return rc;
}

static inline bool said(struct pair *p, int rc)
{
	if (rc < 0)
		printf("# %s\n", p->err.msg);
	return rc == 0;
}

static inline bool moves(struct pair *p, const char *since,
			 const char *snapshot)
{
	return said(p, do_send(p, since, snapshot)) &&
	       said(p, do_receive(p, false));
}

static inline bool same_state(struct pl_chain *a, struct pl_chain *b)
{
	static char x[1 << 20], y[1 << 20];
	uint64_t size = pl_chain_size(a), n;

	for (uint64_t off = 0; off < size; off += n) {
		n = size - off < sizeof(x) ? size - off : sizeof(x);
		if (pl_chain_read(a, x, n, off) < 0 ||
		    pl_chain_read(b, y, n, off) < 0 || memcmp(x, y, n) != 0)
			return false;
	}
	return size == pl_chain_size(b);
}

/* Do both images show the same under this snapshot? */
static inline bool same_snapshot(struct pair *p, const char *id)
{
	struct pl_chain *a = NULL, *b = NULL;
	bool fine = scene_open(&p->dst, false) &&
		    said(p, pl_image_open_chain(p->src.img, id, true, NULL, &a,
						&p->err)) &&
		    said(p, pl_image_open_chain(p->dst.img, id, true, NULL, &b,
						&p->err)) &&
		    same_state(a, b);

	pl_chain_abandon(a);
	pl_chain_abandon(b);
	pl_image_close(p->dst.img);
	p->dst.img = NULL;
	return fine;
}

/* And is all well with the receiver's? */
static inline bool same(struct pair *p, const char *id)
{
	return same_snapshot(p, id) && scene_check(&p->dst) == 0;
}

static inline bool three_snapshots(struct pair *p)
{
	return scene_fill(p->src.ch, 0, 3000, 'a') == 0 &&
	       scene_fill(p->src.ch, 9000, 10, 'b') == 0 &&
	       scene_snapshot(&p->src, "one", p->id[0]) &&
	       scene_fill(p->src.ch, 100, 1, 'c') == 0 &&
	       pl_chain_discard(p->src.ch, 200 * 4096, 300 * 4096) == 0 &&
	       scene_snapshot(&p->src, "two", p->id[1]) &&
	       scene_fill(p->src.ch, 300, 2, 'd') == 0 &&
	       scene_fill(p->src.ch, 16000, 300, 'e') == 0 &&
	       scene_snapshot(&p->src, "three", p->id[2]);
}

static inline bool pair_sent(struct pair *p, int level)
{
	if (!pair_init(p) || !three_snapshots(p))
		return false;
	p->level = level;
	return said(p, do_send(p, NULL, NULL));
}

static inline void fresh_target(struct pair *p)
{
	pl_dir_close(p->dst.dir);
	pl_dir_memory(&p->dst.dir, 0);
}

static inline bool has_image(struct pair *p)
{
	struct pl_image *img;
	int rc = pl_image_open(&img, p->dst.dir, 0, "test", NULL);

	if (rc == 0)
		pl_image_close(img);
	return rc == 0;
}

/* Opens the receiver's image with these flags; 0 = there is none. */
static inline unsigned received_snapshots(struct pair *p, unsigned flags)
{
	struct pl_image *img;
	unsigned n;

	if (pl_image_open(&img, p->dst.dir, flags, "test", NULL) < 0)
		return 0;
	n = pl_image_desc(img)->n_snapshots;
	pl_image_close(img);
	return n;
}

/*
 * What was interrupted is received to its end: with the token that it left, or
 * anew. changes: the receiver has "one".
 */
static inline bool goes_on(struct pair *p, bool changes)
{
	char token[PL_TOKEN_TEXT];
	bool fine;

	if (pl_receive_token(p->dst.dir, token, NULL) == 0) {
		p->token = token;
		fine = said(p, do_send(p, NULL, NULL));
		p->token = NULL;
		/* What was kept may be lost between the last frame and the commit. */
		if (fine && do_receive(p, false) == 0)
			return true;
		if (!fine || p->err.code != PL_E_NOT_FOUND)
			return said(p, -1);
	}
	return moves(p, changes ? "one" : NULL, "three");
}

/* Refused with this code and nothing left; the message has `word`. */
static inline bool refused(struct pair *p, enum pl_code code, const char *word)
{
	memset(&p->err, 0, sizeof(p->err));
	if (do_receive(p, false) == 0 || has_image(p)) {
		printf("# it was taken\n");
		return false;
	}
	if (p->err.code == code && strstr(p->err.msg, word))
		return true;
	printf("# %s: %s\n", pl_code_name(p->err.code), p->err.msg);
	return false;
}

#endif
