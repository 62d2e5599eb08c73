/* SPDX-License-Identifier: Apache-2.0 */
/* Sending and receiving, whole images and changes; what is refused. */
#include "tap.h"

#include "../image/scene.h"
#include "bytes.h"

#define SIZE (64 * MIB)

struct pair {
	struct scene src, dst;
	struct bytes stream;
	struct pl_stream_result sent, received;
	struct pl_err err;
	char id[8][PL_ID_LEN + 1];
};

static bool pair_init(struct pair *p)
{
	memset(p, 0, sizeof(*p));
	return scene_create(&p->src, SIZE, 4096) && scene_open(&p->src, true) &&
	       pl_dir_memory(&p->dst.dir, 0) == 0;
}

static void pair_fini(struct pair *p)
{
	scene_fini(&p->src);
	scene_fini(&p->dst);
	bytes_free(&p->stream);
}

static int do_send(struct pair *p, const char *since, const char *snapshot)
{
	struct pl_send_options o = { .since = since,
				     .snapshot = snapshot,
				     .level = PL_STREAM_LEVEL };
	struct pl_stream_io io = bytes_io(&p->stream);

	bytes_free(&p->stream);
	return pl_send(p->src.img, &o, &io, &p->sent, &p->err);
}

static int do_receive(struct pair *p, bool force)
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
	}
	pl_receive_close(r);
	return rc;
}

static bool said(struct pair *p, int rc)
{
	if (rc < 0)
		printf("# %s\n", p->err.msg);
	return rc == 0;
}

static bool moves(struct pair *p, const char *since, const char *snapshot)
{
	return said(p, do_send(p, since, snapshot)) &&
	       said(p, do_receive(p, false));
}

static bool same_state(struct pl_chain *a, struct pl_chain *b)
{
	static char x[1 << 20], y[1 << 20];

	for (uint64_t off = 0; off < pl_chain_size(a); off += sizeof(x))
		if (pl_chain_read(a, x, sizeof(x), off) < 0 ||
		    pl_chain_read(b, y, sizeof(y), off) < 0 ||
		    memcmp(x, y, sizeof(x)) != 0)
			return false;
	return pl_chain_size(a) == pl_chain_size(b);
}

/* Do both images show the same under this snapshot? */
static bool same(struct pair *p, const char *id)
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
	return fine && scene_check(&p->dst) == 0;
}

static bool three_snapshots(struct pair *p)
{
	return scene_fill(p->src.ch, 0, 700, 'a') == 0 &&
	       scene_fill(p->src.ch, 9000, 10, 'b') == 0 &&
	       scene_snapshot(&p->src, "one", p->id[0]) &&
	       scene_fill(p->src.ch, 100, 1, 'c') == 0 &&
	       pl_chain_discard(p->src.ch, 200 * 4096, 300 * 4096) == 0 &&
	       scene_snapshot(&p->src, "two", p->id[1]) &&
	       scene_fill(p->src.ch, 300, 2, 'd') == 0 &&
	       scene_fill(p->src.ch, 16000, 300, 'e') == 0 &&
	       scene_snapshot(&p->src, "three", p->id[2]);
}

pl_test("a whole image arrives with all its snapshots")
{
	struct pair p;

	ok(pair_init(&p) && three_snapshots(&p));
	ok(moves(&p, NULL, NULL));
	is_int((int)p.sent.snapshots, 3);
	ok(p.sent.data_bytes == p.received.data_bytes);
	ok(p.sent.stream_bytes == p.received.stream_bytes);
	for (unsigned i = 0; i < 3; i++)
		ok(same(&p, p.id[i]));
	ok(scene_open(&p.dst, true));
	ok(scene_holds(p.dst.ch, 300, 2, 'd'));
	ok(strcmp(pl_image_desc(p.dst.img)->id, pl_image_desc(p.src.img)->id) !=
	   0);
	pair_fini(&p);
}

pl_test("changes arrive on their base, and only they are sent")
{
	struct pair p;

	ok(pair_init(&p) && three_snapshots(&p));
	ok(moves(&p, NULL, "one") && moves(&p, "one", "two"));
	ok(p.sent.data_bytes == 4096);
	ok(p.sent.zero_bytes == 200 * 4096);
	ok(same(&p, p.id[1]));
	ok(moves(&p, "two", NULL));
	ok(p.sent.data_bytes == 302 * 4096);
	ok(same(&p, p.id[2]) && same(&p, p.id[0]));
	pair_fini(&p);
}

pl_test("changes between branches arrive as changes to the base")
{
	struct pair p;

	ok(pair_init(&p) && three_snapshots(&p));
	ok(moves(&p, NULL, "three"));
	pl_chain_abandon(p.src.ch);
	ok(said(&p, pl_image_switch(p.src.img, "one", &p.err)));
	ok(said(&p, pl_image_open_chain(p.src.img, NULL, false, NULL, &p.src.ch,
					&p.err)));
	ok(scene_fill(p.src.ch, 5, 1, 'z') == 0);
	ok(scene_snapshot(&p.src, "other", p.id[3]));
	ok(moves(&p, "three", "other"));
	ok(same(&p, p.id[3]) && same(&p, p.id[2]));
	pair_fini(&p);
}

pl_test("a snapshot that was deleted in between is part of the next one")
{
	struct pair p;

	ok(pair_init(&p) && three_snapshots(&p));
	ok(moves(&p, NULL, "one"));
	pl_chain_close(p.src.ch, NULL);
	p.src.ch = NULL;
	ok(said(&p, pl_image_delete(p.src.img, "two", NULL, NULL, &p.err)));
	ok(moves(&p, "one", "three"));
	is_int((int)p.sent.snapshots, 1);
	ok(same(&p, p.id[2]));
	pair_fini(&p);
}

pl_test("a wrong base is refused, and named (STR-050)")
{
	struct pair p;

	ok(pair_init(&p) && three_snapshots(&p));
	ok(moves(&p, NULL, "one"));
	ok(said(&p, do_send(&p, "two", "three")));
	ok(do_receive(&p, false) < 0);
	is_int(p.err.code, PL_E_SNAPSHOT_NOT_FOUND);
	ok(strstr(p.err.msg, p.id[1]) != NULL);
	pair_fini(&p);
}

pl_test("what is there already is refused, and named (STR-051)")
{
	struct pair p;

	ok(pair_init(&p) && three_snapshots(&p));
	ok(moves(&p, NULL, "one") && moves(&p, "one", "two"));
	ok(do_receive(&p, false) < 0);
	is_int(p.err.code, PL_E_EXISTS);
	ok(strstr(p.err.msg, p.id[1]) != NULL);
	ok(said(&p, do_send(&p, "one", "three")));
	ok(do_receive(&p, false) < 0);
	ok(strstr(p.err.msg, "--since") != NULL);
	pair_fini(&p);
}

pl_test("what was written at the receiver is discarded only when asked for")
{
	struct pair p;

	ok(pair_init(&p) && three_snapshots(&p));
	ok(moves(&p, NULL, "one"));
	ok(scene_open(&p.dst, true) && scene_fill(p.dst.ch, 0, 1, 'x') == 0 &&
	   scene_close(&p.dst));
	ok(said(&p, do_send(&p, "one", "two")));
	ok(do_receive(&p, false) < 0);
	is_int(p.err.code, PL_E_EXISTS);
	ok(said(&p, do_receive(&p, true)));
	ok(same(&p, p.id[1]));
	ok(scene_open(&p.dst, true) && scene_holds(p.dst.ch, 0, 1, 'a'));
	pair_fini(&p);
}

pl_test("without a snapshot there is nothing to send")
{
	struct pair p;

	ok(pair_init(&p));
	ok(do_send(&p, NULL, NULL) < 0);
	is_int(p.err.code, PL_E_SNAPSHOT_NOT_FOUND);
	pair_fini(&p);
}

int main(void)
{
	return pl_tap_main();
}
