/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The crash explorer: runs the model's operations over a recording directory
 * and, before every write, punch, truncate, sync, creation, rename and removal,
 * builds states that a power failure at that moment could leave, opens each
 * one and compares it with what the model allows.
 */
#ifndef PL_TEST_EXPLORER_H
#define PL_TEST_EXPLORER_H

#include "model.h"
#include "store/recording.h"

struct explorer {
	struct model m;
	struct pl_recorder *rec;
	uint64_t seed;
	uint64_t states, distinct, points; /* tried; different; crash points */
	uint64_t reclaimed; /* bytes of hidden layers that went back */
	uint64_t want; /* distinct states to explore */
	uint64_t *seen, n_seen; /* hashes of states */
	bool bad;
};

/*
 * Explores `want` distinct states from seed on, starting images anew as often
 * as needed. True when none violated the contract; else m.what says what.
 */
bool explorer_run(struct explorer *ex, uint64_t want, uint64_t seed);
/* Opens what a failure left in dir and compares it with what ex->m allows. */
bool explorer_check(struct explorer *ex, struct pl_dir *dir);
void explorer_fini(struct explorer *ex);

#endif
