/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random operations against the model. PLOOP_SEED and PLOOP_STEPS repeat or
 * lengthen a run; the seed of a failure is printed.
 */
#include "tap.h"

#include <time.h>

#include "model.h"

static uint64_t reclaimed; /* by all runs, of hidden layers */

static uint64_t from_env(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 10) : otherwise;
}

static bool run(uint32_t block_size, uint64_t size, uint64_t seed,
		uint64_t steps)
{
	struct pl_dir *dir;
	struct model m;
	bool fine;
	uint64_t i = 0;

	if (pl_dir_memory(&dir, 0) < 0)
		return false;
	fine = model_init(&m, dir, block_size, size, seed);
	for (; fine && i < steps; i++)
		fine = model_step(&m);
	fine = fine && model_verify_all(&m);
	reclaimed += m.reclaimed;
	if (!fine)
		printf("# block size %u, seed %llu, step %llu: %s\n",
		       block_size, (unsigned long long)seed,
		       (unsigned long long)i, m.what);
	model_fini(&m);
	pl_dir_close(dir);
	return fine;
}

static void run_seeds(uint32_t block_size, uint64_t size)
{
	uint64_t seed = from_env("PLOOP_SEED", 0);
	uint64_t steps = from_env("PLOOP_STEPS", 3000);

	if (seed) {
		ok(run(block_size, size, seed, steps));
		return;
	}
	for (seed = 1; seed <= 3; seed++)
		ok(run(block_size, size, seed, steps));
	seed = (uint64_t)time(NULL);
	printf("# seed of the day: %llu\n", (unsigned long long)seed);
	ok(run(block_size, size, seed, steps));
}

pl_test("random operations agree with the model, 4 KiB blocks")
{
	run_seeds(4096, (3u << 20) + 20480);
}

pl_test("random operations agree with the model, 16 KiB blocks")
{
	run_seeds(16384, (5u << 20) + 16384);
}

pl_test("random operations agree with the model, 64 KiB blocks")
{
	run_seeds(65536, 9u << 20);
}

pl_test("hidden layers gave something back in those runs")
{
	printf("# %llu KiB\n", (unsigned long long)(reclaimed >> 10));
	ok(reclaimed > 0);
}

int main(void)
{
	return pl_tap_main();
}
