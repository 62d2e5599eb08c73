/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether an operation that may block is worth a thread of its own. Handing it
 * over wakes two threads: that one, and ours when it is done. Where the host
 * takes less time than matters, our thread may do it itself. That is learnt from
 * the last ones, whoever did them; one that takes longer, or fails, counts for
 * all of them.
 */
#ifndef PLOOP_STORE_QUICK_H
#define PLOOP_STORE_QUICK_H

#include <stdbool.h>
#include <stdint.h>

struct pl_quick {
	unsigned run; /* quick ones in a row, up to enough */
};

/* For pl_quick_note(), before it begins. */
uint64_t pl_quick_now_ns(void);
void pl_quick_note(struct pl_quick *quick, uint64_t start_ns, int res);
bool pl_quick_enough(const struct pl_quick *quick);

#endif
