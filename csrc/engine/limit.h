/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast requests may be: two token buckets, one of operations and one of
 * bytes, for everything together. Knows no clock: the caller says what time it
 * is, in nanoseconds of CLOCK_MONOTONIC.
 *
 * Each bucket is the time at which all it gave away is paid for. It holds a
 * tenth of a second's worth. A request may go as long as something is left: one
 * that is larger than a bucket goes, too, and the next ones wait the longer.
 */
#ifndef PLOOP_ENGINE_LIMIT_H
#define PLOOP_ENGINE_LIMIT_H

#include <stdint.h>

#define PL_LIMIT_BPS_MIN (64u << 10) /* a request of 1 MiB takes 16 s then */
#define PL_LIMIT_BPS_MAX (1ull << 46) /* 64 TiB */
#define PL_LIMIT_IOPS_MAX 1000000000u

struct pl_limits {
	uint64_t iops, bps; /* a second; 0 = no limit */
};

struct pl_limit {
	struct pl_limits limits;
	uint64_t ops_paid_ns, bytes_paid_ns;
};

/* Full buckets from now on. */
void pl_limit_set(struct pl_limit *l, struct pl_limits limits);

/* Takes one operation of len bytes: 0. Or takes nothing: how long to wait. */
uint64_t pl_limit_take(struct pl_limit *l, uint64_t len, uint64_t now_ns);

#endif
