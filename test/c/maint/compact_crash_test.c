/* SPDX-License-Identifier: Apache-2.0 */
/* Power failures at every moment of a compaction. */
#include "disk.h"
#include "maint/maint.h"
#include "store/recording.h"

#define CLUSTERS 24
#define STEP 512ull

static struct stack s;
static struct pl_chain *ch;
static struct pl_recorder *rec;
static unsigned moments, bad;
static uint64_t seed = 77;

static bool shows(struct pl_chain *chain)
{
	for (uint64_t i = 0; i < CLUSTERS; i++)
		if (!holds(chain, i * STEP * 64, 2,
			   i % 3 ? 0 : 'a' + (int)(i % 20)))
			return false;
	return true;
}

/* What a power failure now would leave: does it open and show all? */
static void look(enum pl_crash how)
{
	struct stack after = { .n = 1, .block_size = 4096 };
	struct pl_chain *chain;
	uint64_t hash;

	if (pl_recorder_crash(rec, how, &seed, &after.dir, &hash) < 0) {
		bad++;
		return;
	}
	chain = stack_chain(&after);
	if (!chain || !shows(chain)) {
		printf("# moment %u, kind %d\n", moments, (int)how);
		bad++;
	}
	pl_chain_abandon(chain);
	pl_dir_close(after.dir);
}

static void moment(void *arg)
{
	(void)arg;
	moments++;
	if (bad)
		return;
	look(PL_CRASH_NONE);
	look(PL_CRASH_ALL);
	look(PL_CRASH_ONLY_LAST);
	look(PL_CRASH_RANDOM);
	look(PL_CRASH_RANDOM_TORN);
}

static bool somebody(void *arg)
{
	(void)arg;
	return true;
}

static void power_fails(const struct pl_maint_progress *progress)
{
	struct pl_compact_stats stats;

	moments = bad = 0;
	memset(&s, 0, sizeof(s));
	s.block_size = 4096;
	require(pl_dir_recording(&s.dir, &rec) == 0 && stack_add(&s, 4 * GIB));
	is_int(s.dir->ops->sync(s.dir, ""), 0);
	ch = stack_chain(&s);
	require(ch);
	for (uint64_t i = 0; i < CLUSTERS; i++)
		is_int(put(ch, i * STEP * 64, 2, 'a' + (int)(i % 20)), 0);
	is_int(pl_layer_checkpoint(pl_chain_top(ch)), 0);
	for (uint64_t i = 0; i < CLUSTERS; i++)
		if (i % 3)
			is_int(pl_chain_discard(ch, 64 * 4096,
						i * STEP * 64 * 4096),
			       0);
	is_int(pl_chain_flush(ch), 0);
	pl_recorder_hook(rec, moment, NULL);
	is_int(pl_compact(ch, progress, &stats), 0);
	pl_recorder_hook(rec, NULL, NULL);
	ok(stats.moved > 3);
	ok(moments > 60);
	is_int(bad, 0);
	ok(shows(ch));
	pl_chain_abandon(ch);
	stack_fini(&s);
	pl_recorder_free(rec);
}

pl_test("what is moved is durable before its old place goes (FMT-083)")
{
	power_fails(NULL);
}

pl_test("beside others it is durable before the map says so")
{
	struct pl_maint_progress p = { .others = somebody };

	power_fails(&p);
}

int main(void)
{
	return pl_tap_main();
}
