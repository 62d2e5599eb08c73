/* SPDX-License-Identifier: Apache-2.0 */
/* Compacting beside those who use the disk: what they see, and what they pay. */
#include "spread.h"

#define BS 65536ull
#define CLUSTERS 12u
#define BLOCKS (CLUSTERS * 64)

static unsigned char model[BLOCKS];
static unsigned seed, busy;

static unsigned below(unsigned n)
{
	seed = seed * 1103515245 + 12345;
	return (seed >> 16) % n;
}

/* Clusters of 4 MiB with a value each; the lower half is given back. */
static bool upper_half(void)
{
	if (!stack_init(&s, BS) || !stack_add(&s, GIB) ||
	    !(ch = stack_chain(&s)))
		return false;
	for (unsigned b = 0; b < BLOCKS; b++)
		model[b] = b < BLOCKS / 2 ? 0 : (unsigned char)(b / 64 + 1);
	for (unsigned c = 0; c < CLUSTERS; c++)
		if (disk_write(ch, c * 64 * BS, 64 * BS, (int)c + 1) < 0)
			return false;
	return pl_chain_flush(ch) == 0 &&
	       pl_chain_discard(ch, BLOCKS / 2 * BS, 0) == 0 &&
	       pl_chain_flush(ch) == 0;
}

static bool as_modelled(void)
{
	for (unsigned b = 0; b < BLOCKS; b++)
		if (!disk_is(ch, b * BS, BS, model[b]))
			return false;
	return true;
}

/* In every pause the disk is used, more often than not where it is moving. */
static void use(void *arg, uint64_t bytes)
{
	unsigned b = below(BLOCKS), n = 1, value = 100 + below(100);
	int rc = 0;

	(void)arg, (void)bytes;
	busy++;
	switch (below(8)) {
	case 0:
		rc = pl_chain_flush(ch);
		n = 0;
		break;
	case 1:
		b = b / 64 * 64, n = 64;
		__attribute__((fallthrough));
	case 2:
		value = 0;
		rc = pl_chain_discard(ch, n * BS, b * BS);
		break;
	case 3: /* a part of a block */
		rc = disk_write(ch, b * BS + 4096, BS - 4096, (int)value);
		rc = rc < 0 ? rc : disk_write(ch, b * BS, 4096, (int)value);
		break;
	default:
		rc = disk_write(ch, b * BS, BS, (int)value);
		break;
	case 7:
		n = 0; /* nobody just now */
	}
	is_int(rc, 0);
	for (unsigned i = 0; i < n; i++)
		model[b + i] = (unsigned char)value;
}

pl_test("a cluster that changes while it is copied is moved with the changes")
{
	struct pl_maint_progress p = { .pace = use };

	for (unsigned turn = 1; turn <= 6; turn++) {
		seed = turn;
		require(upper_half());
		busy = 0;
		is_int(pl_compact(ch, &p, &stats), 0);
		ok(busy > 16 && as_modelled());
		is_int(pl_chain_flush(ch), 0);
		ch = disk_reopen(&s, ch, true);
		require(ch && as_modelled());
		/* Nobody uses it now: all of it is where it should be. */
		is_int(pl_compact(ch, NULL, &stats), 0);
		ok(stats.length <=
		   (pl_layer_clusters(pl_chain_top(ch)) + 1) * 64 * BS +
			   pl_layer_header(pl_chain_top(ch))->first_cluster *
				   64 * BS);
		ok(as_modelled());
		finish();
	}
}

static bool others_flush(void *arg, unsigned turn)
{
	(void)arg;
	/* The disk is written as well, or a flush would have nothing to do. */
	return turn < 3 &&
	       (turn < 1 || (disk_write(ch, BLOCKS * BS, BS, 9) == 0 &&
			     pl_chain_flush(ch) == 0));
}

static bool nobody_flushes(void *arg, unsigned turn)
{
	*(unsigned *)arg += 1;
	return turn < 3;
}

pl_test("the disk's own flushes make the new places durable, none of ours")
{
	struct pl_maint_progress p = { .await_flush = others_flush };
	struct spy_counts before;

	require(upper_half());
	is_int(disk_write(ch, BLOCKS * BS, BS, 9), 0);
	is_int(pl_chain_flush(ch), 0);
	before = s.spy[0].n;
	is_int(pl_compact(ch, &p, &stats), 0);
	printf("# %llu syncs for %llu clusters\n",
	       (unsigned long long)(s.spy[0].n.syncs - before.syncs),
	       (unsigned long long)stats.moved);
	is_int(stats.moved, 5); /* 20 MiB: two batches */
	/* Two flushes order the new places after their data, three do not. */
	is_int(s.spy[0].n.syncs - before.syncs, 2 * 2 + 3);
	ok(as_modelled());
	finish();
}

static bool somebody(void *arg)
{
	(void)arg;
	return true;
}

static unsigned flushes;

static bool others_flush_counted(void *arg, unsigned turn)
{
	uint64_t before = s.spy[0].n.syncs;
	bool ret = others_flush(arg, turn);

	if (s.spy[0].n.syncs != before)
		flushes += (unsigned)(s.spy[0].n.syncs - before);
	return ret;
}

pl_test("beside others it pays for what it copied, not the disk's next flush")
{
	struct pl_maint_progress p = { .await_flush = others_flush_counted,
				       .others = somebody };
	struct spy_counts before;

	require(upper_half());
	is_int(disk_write(ch, BLOCKS * BS, BS, 9), 0);
	is_int(pl_chain_flush(ch), 0);
	before = s.spy[0].n;
	flushes = 0;
	is_int(pl_compact(ch, &p, &stats), 0);
	is_int(stats.moved, 5); /* 16 steps each */
	is_int(s.spy[0].n.syncs - before.syncs - flushes, 5 * 16);
	/* Without it, two of them take two syncs (the test above). */
	is_int(flushes, 5);
	ok(as_modelled());
	finish();
}

pl_test("gives back clusters next to each other together")
{
	struct spy_counts before;

	/* 5 of 4 MiB: one hole each, larger than what is punched at a time. */
	require(upper_half());
	before = s.spy[0].n;
	is_int(pl_compact(ch, NULL, &stats), 0);
	is_int(s.spy[0].n.punches - before.punches, stats.moved);
	finish();
	/* 20 of 256 KiB: four at a time. */
	require(stack_init(&s, 4096) && stack_add(&s, GIB) &&
		(ch = stack_chain(&s)));
	for (unsigned c = 0; c < 40; c++)
		is_int(put(ch, c * 64, 64, 'x'), 0);
	is_int(pl_chain_flush(ch), 0);
	is_int(pl_chain_discard(ch, 20 * 64 * 4096, 0), 0);
	is_int(pl_chain_flush(ch), 0);
	before = s.spy[0].n;
	is_int(pl_compact(ch, NULL, &stats), 0);
	is_int(stats.moved, 20);
	is_int(s.spy[0].n.punches - before.punches, 5);
	ok(holds(ch, 20 * 64, 64, 'x') && holds(ch, 39 * 64, 64, 'x'));
	finish();
}

pl_test("when nobody flushes, it does so itself after a while")
{
	unsigned asked = 0;
	struct pl_maint_progress p = { .await_flush = nobody_flushes,
				       .arg = &asked };

	require(upper_half());
	is_int(pl_compact(ch, &p, &stats), 0);
	ok(asked > 0 && asked % 4 == 0);
	ch = disk_reopen(&s, ch, true);
	require(ch && as_modelled());
	finish();
}

pl_test("no hole is punched where there is one already")
{
	struct spy_counts before;

	/* Every second block of a cluster, as an old file system leaves it. */
	require(stack_init(&s, 4096) && stack_add(&s, GIB) &&
		(ch = stack_chain(&s)));
	for (unsigned b = 0; b < 20 * 64; b += 2)
		is_int(put(ch, b, 1, 'x'), 0);
	is_int(pl_chain_flush(ch), 0);
	before = s.spy[0].n;
	is_int(pl_compact(ch, NULL, &stats), 0);
	is_int(s.spy[0].n.punches - before.punches, 0);
	ok(holds(ch, 38, 1, 'x') && holds(ch, 39, 1, 0));
	finish();
}

int main(void)
{
	return pl_tap_main();
}
