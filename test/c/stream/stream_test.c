/* SPDX-License-Identifier: Apache-2.0 */
/* Sending and receiving, whole images and changes; what is refused. */
#include "pair.h"

pl_test("a whole image arrives with all its snapshots (STR-030)")
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

pl_test("changes arrive on their base, and only they are sent (STR-023, "
	"STR-032)")
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
