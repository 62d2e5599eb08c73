/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a resize frees is used again at once. A power failure may lose any hole
 * that is not durable by then, and keep the record that names the cluster:
 * nothing of what was there before may come to light (FMT-074, FMT-088).
 */
#include "disk.h"
#include "store/recording.h"

#define CLUSTER (256 * KIB)
#define PER 64u /* blocks of a cluster */

static struct stack s;
static struct pl_recorder *rec;
static struct pl_chain *ch;
static uint64_t states;

/* One cluster of the disk: a block of it was written, the rest never. */
static uint64_t watched; /* cluster */
static bool written; /* flushed, too */

static bool all_are(const char *p, uint64_t len, char value)
{
	return p[0] == value && memcmp(p, p + 1, len - 1) == 0;
}

/* Every block is zeros or, the one that is being written, 'n'. */
static bool sound(struct pl_chain *state)
{
	/* Not disk_buf, from which a write may be under way. */
	static char buf[CLUSTER] __attribute__((aligned(4096)));

	return ok(pl_chain_read(state, buf, CLUSTER, watched * CLUSTER) == 0) &&
	       ok(all_are(buf, 4096, 'n') ||
		  (!written && all_are(buf, 4096, 0))) &&
	       ok(all_are(buf + 4096, CLUSTER - 4096, 0));
}

static void look(enum pl_crash how, uint64_t *seed)
{
	struct stack left = { .n = s.n, .block_size = s.block_size };
	struct pl_chain *state;
	uint64_t hash;

	require(pl_recorder_crash(rec, how, seed, &left.dir, &hash) == 0);
	state = stack_chain(&left);
	if (!ok(state != NULL) || !sound(state))
		printf("# a power failure of kind %d\n", (int)how);
	pl_chain_abandon(state);
	stack_fini(&left);
	states++;
}

/* Before every change: what a power failure may leave. */
static void power_fails(void *arg)
{
	static uint64_t seed = 88172645463325252ull;

	(void)arg;
	look(PL_CRASH_NONE, &seed);
	look(PL_CRASH_ALL, &seed);
	look(PL_CRASH_ALL_BUT_LAST, &seed);
	look(PL_CRASH_ONLY_LAST, &seed);
	for (unsigned i = 0; i < 4; i++)
		look(PL_CRASH_RANDOM, &seed);
}

static bool begin(void)
{
	memset(&s, 0, sizeof(s));
	s.block_size = 4096;
	states = 0;
	written = false;
	return pl_dir_recording(&s.dir, &rec) == 0;
}

/* A layer of that many clusters on top, open with those below. */
static bool add(uint64_t clusters)
{
	if (!stack_add(&s, clusters * CLUSTER) || s.dir->ops->sync(s.dir, ""))
		return false;
	ch = stack_chain(&s);
	return ch != NULL;
}

/* The first block of the watched cluster takes `want`, which was just freed. */
static void write_there(uint64_t want)
{
	struct pl_entry e = { 0 };

	pl_recorder_hook(rec, power_fails, NULL);
	is_int(put(ch, watched * PER, 1, 'n'), 0);
	is_int(pl_layer_entry(pl_chain_top(ch), watched, &e), 0);
	is_int(e.where, want);
	is_int(pl_chain_flush(ch), 0);
	written = true;
	power_fails(NULL);
	pl_recorder_hook(rec, NULL, NULL);
	ok(states > 16);
}

static void finish(void)
{
	pl_chain_abandon(ch);
	ch = NULL;
	stack_fini(&s);
	pl_recorder_free(rec);
}

static uint64_t place_of(uint64_t cno)
{
	struct pl_entry e = { 0 };

	is_int(pl_layer_entry(pl_chain_top(ch), cno, &e), 0);
	return e.where;
}

/* In the lowest host clusters, and so used first: what will be cut off. */
static bool write_old(void)
{
	for (uint64_t c = 16; c-- > 0;)
		if (put(ch, c * PER, PER, 'o') < 0)
			return false;
	return pl_chain_discard(ch, CLUSTER, watched * CLUSTER) == 0 &&
	       pl_chain_flush(ch) == 0;
}

pl_test("data cut off by a shrink never shows where it lay (FMT-088)")
{
	uint64_t freed;

	watched = 3;
	require(begin() && add(16) && write_old());
	freed = place_of(15);
	require(stack_says(&s, pl_chain_shrink(ch, 8 * CLUSTER, &s.err)));
	write_there(freed);
	finish();
}

/* A disk cut off over a larger layer; its map page is in a host cluster. */
static bool cut_over_larger(void)
{
	if (!begin() || !add(16) || put(ch, 0, 16 * PER, 'b') < 0 ||
	    pl_chain_discard(ch, CLUSTER, watched * CLUSTER) < 0)
		return false;
	ch = disk_snapshot(&s, ch, 8 * CLUSTER);
	return ch && s.dir->ops->sync(s.dir, "") == 0 &&
	       put(ch, PER, 1, 'o') == 0 &&
	       pl_layer_checkpoint(pl_chain_top(ch)) == 0;
}

pl_test("a map page that a grow wrote anew never shows (FMT-089)")
{
	uint64_t at;

	watched = 3;
	require(cut_over_larger());
	at = pl_layer_page_location(pl_chain_top(ch), 0);
	ok(at != 0 && at % CLUSTER == 0);
	require(stack_says(&s, pl_chain_grow(ch, 16 * CLUSTER, &s.err)));
	write_there(at / CLUSTER);
	finish();
}

int main(void)
{
	return pl_tap_main();
}
