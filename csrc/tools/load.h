/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Background work on a mounted file system gives way to those who use it: after
 * each piece of work a pause in proportion to what it took, and a much longer
 * one while others have the device do something, longer still when the device's
 * flushes take longer beside the work than in its pauses; and then it goes on
 * where nobody waits for anything (base/gentle.h). What the device did is in
 * /sys/dev/block/MAJOR:MINOR/stat.
 */
#ifndef PLOOP_TOOLS_LOAD_H
#define PLOOP_TOOLS_LOAD_H

#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "base/gentle.h"

/* Of the share that the work may take, one part is left while others work. */
#define LOAD_GENTLE 5u
#define LOAD_PAUSE_MAX_NS 1000000000u
#define LOAD_WATCH_NS 2000000u
#define LOAD_PIECE_NS 500000u
#define LOAD_BREATH_MAX_NS 20000000u
#define LOAD_ANSWERS_MAX_NS 1000000000u
/* Others who made no request for so long do not use the device. */
#define LOAD_OTHERS_NS 100000000u

/* What the device was asked for. */
struct load_demand {
	uint64_t requests; /* reads, writes and flushes; not discards */
	uint64_t inflight; /* not answered yet; discards as well */
	uint64_t flushes, flush_ns;
};

struct load {
	int fd; /* of the stat file; -1: nobody can tell */
	unsigned busy_percent; /* of the time, 1 to 100 */
	struct load_demand before; /* when the last pause ended */
	uint64_t others_ns; /* when others were last seen, in a pause */
	uint64_t since_ns; /* of load_rest(): when that was */
	uint64_t breath_ns, breath_requests; /* of load_breathe(): the same */
	uint64_t gentle; /* pauses made longer */
	struct pl_gentle slow;
};

static inline uint64_t load_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline struct load_demand load_demand(const struct load *l)
{
	uint64_t field[17] = { 0 };
	char text[512];
	ssize_t n = l->fd < 0 ? 0 : pread(l->fd, text, sizeof(text) - 1, 0);
	int at = 0, used;

	text[n > 0 ? n : 0] = '\0';
	for (unsigned i = 0; i < 17; i++, at += used)
		if (sscanf(text + at, "%" SCNu64 "%n", &field[i], &used) != 1)
			break;
	return (struct load_demand){ .requests =
					     field[0] + field[4] + field[15],
				     .inflight = field[8],
				     .flushes = field[15],
				     .flush_ns = field[16] * 1000000u };
}

static inline void load_open(struct load *l, dev_t dev, unsigned busy_percent)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/stat", major(dev),
		 minor(dev));
	l->fd = open(path, O_RDONLY | O_CLOEXEC);
	l->busy_percent = busy_percent;
	l->gentle = l->others_ns = 0;
	l->slow = (struct pl_gentle){ 0 };
	l->before = load_demand(l);
	l->since_ns = load_now_ns();
}

static inline void load_close(struct load *l)
{
	if (l->fd >= 0)
		close(l->fd);
}

static inline void load_sleep(uint64_t ns)
{
	ns = ns < LOAD_PAUSE_MAX_NS ? ns : LOAD_PAUSE_MAX_NS;
	struct timespec t = { .tv_sec = (time_t)(ns / 1000000000u),
			      .tv_nsec = (long)(ns % 1000000000u) };

	nanosleep(&t, NULL);
}

static inline uint64_t load_pause_ns(const struct load *l, uint64_t took_ns,
				     bool others)
{
	unsigned percent = l->busy_percent;

	if (others)
		percent = percent > LOAD_GENTLE ? percent / LOAD_GENTLE : 1;
	return took_ns * (100 - percent) / percent;
}

/* Were there others a moment ago? Short work may well fall between them. */
static inline bool load_others(const struct load *l)
{
	return l->others_ns && load_now_ns() - l->others_ns < LOAD_OTHERS_NS;
}

/* In a pause, since it began with `requests`. */
static inline bool load_see_others(struct load *l, uint64_t requests)
{
	if (load_demand(l).requests != requests)
		l->others_ns = load_now_ns();
	return load_others(l);
}

static inline void load_await_still(struct load *l)
{
	struct pl_still still = { 0 };
	struct load_demand now = load_demand(l);

	while (!pl_still(&still, now.requests, now.inflight)) {
		load_sleep(PL_STILL_LOOK_US * 1000);
		now = load_demand(l);
	}
}

/*
 * Some work only asks for requests. Until the device owes no more of them than
 * it did before.
 */
static inline void load_await_answers(const struct load *l, uint64_t inflight)
{
	uint64_t end = load_now_ns() + LOAD_ANSWERS_MAX_NS;

	while (load_demand(l).inflight > inflight && load_now_ns() < end)
		load_sleep(PL_STILL_LOOK_US * 1000);
}

/*
 * The first half of a pause still shows what the work did to others (their
 * flushes pay for what it left in journals), the second what they have without
 * it.
 */
static inline void load_rest_gently(struct load *l, uint64_t took_ns)
{
	uint64_t pause_ns =
		pl_gentle_pause(&l->slow, load_pause_ns(l, took_ns, true));
	uint64_t requests = load_demand(l).requests;
	struct load_demand worked, rested;

	if (pause_ns > LOAD_PAUSE_MAX_NS)
		pause_ns = LOAD_PAUSE_MAX_NS;
	l->gentle++;
	load_sleep(pause_ns / 2);
	worked = load_demand(l);
	load_sleep(pause_ns / 2);
	rested = load_demand(l);
	pl_gentle_worked(&l->slow, worked.flushes - l->before.flushes,
			 worked.flush_ns - l->before.flush_ns);
	pl_gentle_rested(&l->slow, rested.flushes - worked.flushes,
			 rested.flush_ns - worked.flush_ns);
	load_await_still(l);
	load_see_others(l, requests);
	l->before = load_demand(l);
}

/* After work that makes discards only: what else there was is of others. */
static inline void load_pause(struct load *l, uint64_t took_ns)
{
	struct load_demand now = load_demand(l);

	if (now.requests != l->before.requests || load_others(l)) {
		load_rest_gently(l, took_ns);
		return;
	}
	load_sleep(load_pause_ns(l, took_ns, false));
	load_see_others(l, now.requests);
	l->before = now;
}

/*
 * After work that reads and writes as well: stands still for a moment to see
 * whether others do something, and goes on at once when not. Beside others
 * each piece of work begins between their requests, not only every few ms.
 */
static inline void load_rest(struct load *l)
{
	uint64_t took_ns = load_now_ns() - l->since_ns;
	bool others = load_others(l);
	uint64_t requests;

	if (took_ns < (others ? LOAD_PIECE_NS : LOAD_WATCH_NS))
		return;
	requests = load_demand(l).requests;
	if (!others)
		load_sleep(LOAD_WATCH_NS);
	if (load_see_others(l, requests))
		load_rest_gently(l, took_ns);
	else
		l->before = load_demand(l);
	l->since_ns = load_now_ns();
}

/*
 * In the middle of work that must not take long, because it holds what others
 * may need: when they use the device, as long a pause as the work since.
 */
static inline void load_breathe(struct load *l)
{
	uint64_t took_ns = load_now_ns() - l->breath_ns, requests;

	if (took_ns < LOAD_WATCH_NS)
		return;
	requests = load_demand(l).requests;
	if (requests != l->breath_requests)
		load_sleep(took_ns < LOAD_BREATH_MAX_NS ? took_ns :
							  LOAD_BREATH_MAX_NS);
	l->breath_requests = load_demand(l).requests;
	l->breath_ns = load_now_ns();
}

#endif
