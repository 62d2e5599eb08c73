/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Background work on a mounted file system gives way to those who use it: after
 * each piece of work a pause in proportion to what it took, and a much longer
 * one while others have the device do something. What the device did is in
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

/* Of the share that the work may take, one part is left while others work. */
#define LOAD_GENTLE 5u
#define LOAD_PAUSE_MAX_NS 1000000000u
#define LOAD_WATCH_NS 2000000u

struct load {
	int fd; /* of the stat file; -1: nobody can tell */
	unsigned busy_percent; /* of the time, 1 to 100 */
	uint64_t requests; /* when the last pause began */
	uint64_t since_ns; /* of load_rest(): when the last one ended */
	uint64_t gentle; /* pauses made longer */
};

static inline uint64_t load_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Reads, writes and flushes that the device was asked for; not discards. */
static inline uint64_t load_requests(const struct load *l)
{
	uint64_t field[17] = { 0 };
	char text[512];
	ssize_t n = l->fd < 0 ? 0 : pread(l->fd, text, sizeof(text) - 1, 0);
	int at = 0, used;

	text[n > 0 ? n : 0] = '\0';
	for (unsigned i = 0; i < 17; i++, at += used)
		if (sscanf(text + at, "%" SCNu64 "%n", &field[i], &used) != 1)
			break;
	return field[0] + field[4] + field[15];
}

static inline void load_open(struct load *l, dev_t dev, unsigned busy_percent)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/stat", major(dev),
		 minor(dev));
	l->fd = open(path, O_RDONLY | O_CLOEXEC);
	l->busy_percent = busy_percent;
	l->gentle = 0;
	l->requests = load_requests(l);
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

/* After work that makes discards only: what else there was is of others. */
static inline void load_pause(struct load *l, uint64_t took_ns)
{
	uint64_t now = load_requests(l);
	bool others = now != l->requests;

	l->gentle += others;
	l->requests = now;
	load_sleep(load_pause_ns(l, took_ns, others));
}

/*
 * After work that reads and writes as well: stands still for a moment to see
 * whether others do something, and goes on at once when not.
 */
static inline void load_rest(struct load *l)
{
	uint64_t took_ns = load_now_ns() - l->since_ns;
	uint64_t requests = load_requests(l);

	if (took_ns < LOAD_WATCH_NS)
		return;
	load_sleep(LOAD_WATCH_NS);
	if (load_requests(l) != requests) {
		l->gentle++;
		load_sleep(load_pause_ns(l, took_ns, true));
	}
	l->since_ns = load_now_ns();
}

#endif
