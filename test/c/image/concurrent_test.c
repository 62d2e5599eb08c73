/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many coroutines on one chain over a store whose completions come late.
 * Each worker owns every N-th 4 KiB and checks only what it wrote, so any
 * mix-up between neighbours in one cluster shows. Beside them, one flushes and
 * one compacts.
 */
#include "tap.h"

#include "base/co.h"
#include "chain/chain.h"
#include "image/image.h"
#include "maint/maint.h"
#include "store/store.h"

#define WORKERS 16u
#define UNITS 512u /* of 4 KiB: 2 MiB */
#define STEPS 800u

struct shared {
	struct pl_chain *ch;
	unsigned running, bad;
	uint64_t seed;
};

struct worker {
	struct shared *sh;
	unsigned index;
	uint8_t value[UNITS * 8]; /* by sector */
};

static uint64_t rnd(struct shared *sh, uint64_t below)
{
	sh->seed ^= sh->seed << 13;
	sh->seed ^= sh->seed >> 7;
	sh->seed ^= sh->seed << 17;
	return sh->seed % below;
}

static bool matches(struct worker *w, const uint8_t *buf, uint64_t first,
		    uint64_t n)
{
	for (uint64_t i = 0; i < n * 512; i++)
		if (buf[i] != w->value[first + i / 512])
			return false;
	return true;
}

static int one_step(struct worker *w, uint8_t *buf)
{
	struct shared *sh = w->sh;
	uint64_t unit = rnd(sh, UNITS / WORKERS) * WORKERS + w->index;
	uint64_t in = rnd(sh, 2) ? 0 : rnd(sh, 8),
		 n = in ? 1 + rnd(sh, 8 - in) : 8;
	uint64_t first = unit * 8 + in;
	uint8_t value = (uint8_t)(1 + rnd(sh, 255));
	int rc;

	switch (rnd(sh, 5)) {
	case 0:
	case 1:
		memset(buf, value, n * 512);
		rc = pl_chain_write(sh->ch, buf, n * 512, first * 512);
		memset(w->value + first, value, n);
		return rc;
	case 2:
		rc = pl_chain_zero(sh->ch, n * 512, first * 512);
		memset(w->value + first, 0, n);
		return rc;
	case 3:
		rc = pl_chain_discard(sh->ch, 4096, unit * 4096);
		memset(w->value + unit * 8, 0, 8);
		return rc;
	default:
		rc = pl_chain_read(sh->ch, buf, n * 512, first * 512);
		return rc == 0 && !matches(w, buf, first, n) ? -1 : rc;
	}
}

static void work(void *arg)
{
	struct worker *w = arg;
	uint8_t *buf = NULL;

	if (posix_memalign((void **)&buf, 4096, 4096) != 0)
		w->sh->bad++;
	for (unsigned i = 0; i < STEPS && !w->sh->bad; i++)
		if (one_step(w, buf) < 0)
			w->sh->bad++;
	free(buf);
	w->sh->running--;
}

static void keep_flushing(void *arg)
{
	struct shared *sh = arg;

	while (sh->running && !sh->bad) {
		if (pl_chain_flush(sh->ch) < 0)
			sh->bad++;
		pl_co_wake(pl_co_self());
		pl_co_yield();
	}
}

static bool now_and_then(void *arg)
{
	unsigned *asked = arg;

	return (*asked)++ % 2 == 0;
}

static void keep_compacting(void *arg)
{
	unsigned asked = 0;
	struct pl_maint_progress p = { .others = now_and_then, .arg = &asked };
	struct pl_compact_stats stats;
	struct shared *sh = arg;

	while (sh->running && !sh->bad) {
		if (pl_compact(sh->ch, &p, &stats) < 0)
			sh->bad++;
		pl_co_wake(pl_co_self());
		pl_co_yield();
	}
}

static void run(struct shared *sh, struct worker *w)
{
	sh->running = WORKERS;
	for (unsigned i = 0; i < WORKERS; i++) {
		w[i].sh = sh;
		w[i].index = i;
		is_int(pl_co_start(work, &w[i]), 0);
	}
	pl_co_start(keep_flushing, sh);
	pl_co_start(keep_compacting, sh);
	pl_co_run_ready();
	is_int(sh->running, 0);
	is_int(sh->bad, 0);
}

static bool verify(struct shared *sh, struct worker *w)
{
	static uint8_t buf[UNITS * 4096] __attribute__((aligned(4096)));

	if (pl_chain_read(sh->ch, buf, sizeof(buf), 0) < 0)
		return false;
	for (unsigned u = 0; u < UNITS; u++)
		if (!matches(&w[u % WORKERS], buf + u * 4096, u * 8, 8))
			return false;
	return true;
}

static void concurrent(unsigned snapshots, uint64_t seed)
{
	struct pl_image_params p = { .size = UNITS * 4096 };
	struct worker *w = calloc(WORKERS, sizeof(*w));
	struct shared sh = { .seed = seed };
	char id[PL_ID_LEN + 1];
	struct pl_image *img;
	struct pl_dir *dir;
	struct pl_err err;

	is_int(pl_dir_memory(&dir, seed), 0);
	is_int(pl_image_create(dir, &p, &err), 0);
	is_int(pl_image_open(&img, dir, PL_IMAGE_WRITE, "test", &err), 0);
	is_int(pl_image_open_chain(img, NULL, false, NULL, &sh.ch, &err), 0);
	for (unsigned i = 0; i <= snapshots; i++) {
		run(&sh, w);
		ok(verify(&sh, w));
		is_int(pl_image_snapshot(img, sh.ch, NULL, NULL, NULL, id,
					 &err),
		       0);
	}
	is_int(pl_chain_close(sh.ch, &err), 0);
	is_int(pl_image_open_chain(img, NULL, false, NULL, &sh.ch, &err), 0);
	ok(verify(&sh, w));
	pl_chain_abandon(sh.ch);
	pl_image_close(img);
	pl_dir_close(dir);
	pl_co_trim();
	free(w);
}

pl_test("requests at the same time do not disturb each other")
{
	for (uint64_t seed = 1; seed <= 4; seed++)
		concurrent(0, seed * 7919);
}

pl_test("requests at the same time over snapshots do not disturb each other")
{
	for (uint64_t seed = 1; seed <= 4; seed++)
		concurrent(3, seed * 104729);
}

int main(void)
{
	return pl_tap_main();
}
