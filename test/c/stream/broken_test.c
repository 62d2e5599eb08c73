/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams that were changed or cut off on their way: noticed always, and what
 * was cut off goes on where it was.
 */
#include "pair.h"

pl_test("every changed bit is noticed (STR-012)")
{
	struct pair p;
	unsigned taken = 0;

	ok(pair_sent(&p, PL_STREAM_LEVEL));
	for (size_t at = 0; at < p.stream.len; at += 1 + at / 40) {
		p.stream.p[at] ^= (char)(1 << at % 8);
		taken += do_receive(&p, false) == 0 || has_image(&p);
		p.stream.p[at] ^= (char)(1 << at % 8);
		fresh_target(&p);
	}
	is_int((int)taken, 0);
	ok(said(&p, do_receive(&p, false)));
	pair_fini(&p);
}

static bool cut_and_go_on(struct pair *p, size_t len, unsigned *went_on)
{
	struct bytes whole = p->stream;
	char token[PL_TOKEN_TEXT];
	bool fine;

	p->stream.len = len;
	fine = refused(p, PL_E_BAD_STREAM, "ends after");
	p->stream = whole;
	if (!fine)
		return false;
	if (pl_receive_token(p->dst.dir, token, &p->err) < 0)
		return p->err.code == PL_E_NOT_FOUND &&
		       said(p, do_receive(p, false));
	memset(&p->stream, 0, sizeof(p->stream));
	p->token = token;
	fine = said(p, do_send(p, NULL, NULL)) &&
	       said(p, do_receive(p, false)) &&
	       p->received.data_bytes == p->sent.data_bytes;
	*went_on += p->received.resumed;
	p->token = NULL;
	bytes_free(&p->stream);
	p->stream = whole;
	return fine;
}

pl_test("wherever a stream is cut off, it can be gone on with (STR-042, "
	"STR-053)")
{
	struct pair p;
	unsigned went_on = 0;

	ok(pair_sent(&p, PL_STREAM_LEVEL));
	for (size_t at = 0; at < p.stream.len; at += 1 + p.stream.len / 40) {
		if (!ok(cut_and_go_on(&p, at, &went_on)))
			printf("# at %zu of %zu\n", at, p.stream.len);
		for (unsigned i = 0; i < 3; i++)
			ok(same(&p, p.id[i]));
		fresh_target(&p);
	}
	ok(went_on > 5);
	pair_fini(&p);
}

pl_test("changes that were cut off leave the image as it was, and go on")
{
	struct pair p;
	char token[PL_TOKEN_TEXT];

	ok(pair_init(&p) && three_snapshots(&p) && moves(&p, NULL, "one"));
	ok(said(&p, do_send(&p, "one", "three")));
	p.stream.len = p.stream.len * 2 / 3;
	ok(do_receive(&p, false) < 0);
	ok(same(&p, p.id[0]));
	ok(scene_open(&p.dst, true) && scene_holds(p.dst.ch, 300, 2, 'a') &&
	   scene_close(&p.dst));
	ok(said(&p, pl_receive_token(p.dst.dir, token, &p.err)));
	p.token = token;
	ok(said(&p, do_send(&p, NULL, NULL)));
	p.token = NULL;
	ok(said(&p, do_receive(&p, false)));
	ok(same(&p, p.id[1]) && same(&p, p.id[2]));
	pair_fini(&p);
}

int main(void)
{
	return pl_tap_main();
}
