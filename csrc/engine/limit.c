/* SPDX-License-Identifier: Apache-2.0 */
/* Token buckets: see limit.h. */
#include "engine/limit.h"

#define SECOND_NS 1000000000u
#define BUCKET_NS (SECOND_NS / 10)
#define COST_MAX_NS (3600ull * SECOND_NS) /* of one request */

void pl_limit_set(struct pl_limit *l, struct pl_limits limits)
{
	l->limits = limits;
	l->ops_paid_ns = l->bytes_paid_ns = 0;
}

static uint64_t wait_for(uint64_t paid_ns, uint64_t now_ns)
{
	return paid_ns > now_ns + BUCKET_NS ? paid_ns - now_ns - BUCKET_NS : 0;
}

static void pay(uint64_t *paid_ns, uint64_t amount, uint64_t rate,
		uint64_t now_ns)
{
	unsigned __int128 cost = (unsigned __int128)amount * SECOND_NS / rate;

	/* A bucket that is not used does not get fuller than full. */
	if (*paid_ns < now_ns)
		*paid_ns = now_ns;
	*paid_ns += cost < COST_MAX_NS ? (uint64_t)cost : COST_MAX_NS;
}

uint64_t pl_limit_take(struct pl_limit *l, uint64_t len, uint64_t now_ns)
{
	uint64_t ops = l->limits.iops ? wait_for(l->ops_paid_ns, now_ns) : 0;
	uint64_t bytes = l->limits.bps ? wait_for(l->bytes_paid_ns, now_ns) : 0;

	if (ops || bytes)
		return ops > bytes ? ops : bytes;
	if (l->limits.iops)
		pay(&l->ops_paid_ns, 1, l->limits.iops, now_ns);
	if (l->limits.bps)
		pay(&l->bytes_paid_ns, len, l->limits.bps, now_ns);
	return 0;
}
