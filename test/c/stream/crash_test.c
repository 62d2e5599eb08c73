/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Power failures while a stream is received: before every change and every
 * sync, states that one could leave are built and looked at. Each holds all of
 * the stream or what was there before, checks clean, and some are gone on with.
 */
#include "pair.h"

#include "store/recording.h"

#define DISK (2 * MIB)
#define GO_ON_EVERY 5u /* states */

struct crash {
	struct pair p; /* p.dst: the receiver that "crashes" */
	struct pl_recorder *rec;
	bool changes, armed;
	uint64_t seed;
	unsigned states, complete, gone_on, bad;
};

static bool small_image(struct pair *p)
{
	memset(p, 0, sizeof(*p));
	p->level = 1;
	return scene_create(&p->src, DISK, 4096) && scene_open(&p->src, true) &&
	       scene_fill(p->src.ch, 0, 100, 'a') == 0 &&
	       scene_snapshot(&p->src, "one", p->id[0]) &&
	       scene_fill(p->src.ch, 50, 100, 'b') == 0 &&
	       pl_chain_discard(p->src.ch, 20 * 4096, 10 * 4096) == 0 &&
	       scene_snapshot(&p->src, "two", p->id[1]) &&
	       scene_fill(p->src.ch, 300, 50, 'c') == 0 &&
	       scene_snapshot(&p->src, "three", p->id[2]);
}

static bool right(struct crash *c, struct pair *p, bool go_on)
{
	unsigned n = received_snapshots(p, PL_IMAGE_WRITE);

	if (n != 3 && n != c->changes) {
		printf("# %u snapshots\n", n);
		return false;
	}
	c->complete += n == 3;
	if (n && (scene_check(&p->dst) != 0 || !same_snapshot(p, p->id[0])))
		return false;
	if (n != 3 && go_on) {
		c->gone_on++;
		if (!goes_on(p, c->changes))
			return false;
		n = 3;
	}
	return n != 3 ||
	       (same_snapshot(p, p->id[1]) && same_snapshot(p, p->id[2]));
}

static void look(struct crash *c, enum pl_crash how)
{
	struct pair q = c->p;
	uint64_t hash;

	memset(&q.dst, 0, sizeof(q.dst));
	memset(&q.stream, 0, sizeof(q.stream));
	if (pl_recorder_crash(c->rec, how, &c->seed, &q.dst.dir, &hash) < 0) {
		c->bad++;
		return;
	}
	c->states++;
	if (!right(c, &q, c->states % GO_ON_EVERY == 0)) {
		c->bad++;
		printf("# state %u, crash %d\n", c->states, how);
	}
	bytes_free(&q.stream);
	pl_dir_close(q.dst.dir);
}

static void at_point(void *arg)
{
	struct crash *c = arg;

	if (!c->armed)
		return;
	c->armed = false;
	for (int how = PL_CRASH_NONE; how <= PL_CRASH_RANDOM_TORN; how++)
		look(c, (enum pl_crash)how);
	c->armed = true;
}

static void explore(bool changes)
{
	struct crash c = { .changes = changes, .seed = 4711 };

	ok(small_image(&c.p));
	ok(pl_dir_recording(&c.p.dst.dir, &c.rec) == 0);
	ok(!changes || moves(&c.p, NULL, "one"));
	ok(said(&c.p, do_send(&c.p, changes ? "one" : NULL, "three")));
	pl_recorder_hook(c.rec, at_point, &c);
	c.armed = true;
	ok(said(&c.p, do_receive(&c.p, false)));
	c.armed = false;
	printf("# %u states, %u of them complete, %u gone on with\n", c.states,
	       c.complete, c.gone_on);
	is_int((int)c.bad, 0);
	ok(c.states > 300 && c.complete > 0 && c.gone_on > 5);
	pair_fini(&c.p);
	pl_recorder_free(c.rec);
}

pl_test("a power failure leaves all of a whole image or none of it (STR-052)")
{
	explore(false);
}

pl_test("a power failure leaves all of the changes or none of them (STR-052)")
{
	explore(true);
}

int main(void)
{
	return pl_tap_main();
}
