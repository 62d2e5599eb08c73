/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packs a mounted ext4: see pack/pack.h for what that is.
 *
 *   ploop-pack --unit BYTES [options] MOUNTPOINT
 *	--estimate	only says what packing would bring
 *	--rate BYTES	per second that may be moved
 *	--busy PCT	while others use the device, a fifth of this much of the
 *			time (default 50)
 *	--time MS	stops in good order after that long
 *	--max-fill PCT	units used more than that stay (default 85)
 *	--below		what layers below show comes on stdin: see pack/below.c
 *
 * Says JSON lines on stdout: {"event":"estimate",...}, {"event":"progress",...}
 * while it moves, {"event":"result",...} at the end, all sizes in bytes.
 * SIGTERM, SIGINT and SIGHUP stop it in good order, as the time does; killing
 * it loses nothing, either.
 *
 * Exit status: 0 done, or stopped as asked; 1 failed, with one line
 * "errno-name: text" on stderr; 2 used wrongly.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pack/pack.h"

#define PROGRESS_NS 1000000000u
#define DEFAULT_MAX_FILL 0.85
/* Each round plans anew, with what others did meanwhile. */
#define MAX_ROUNDS 8
/* A round that would empty less than this part of the units does not pay. */
#define PAYS_DIVISOR 100

static int stop_signal;

static void on_signal(int signo)
{
	stop_signal = signo;
}

static int fail(int error, const char *path)
{
	const char *name = strerrorname_np(-error);

	fprintf(stderr, "%s: cannot pack %s: %s\n", name ? name : "?", path,
		pack_why[0] ? pack_why : strerror(-error));
	return 1;
}

static void say_estimate(const struct pack *p, const char *event)
{
	uint64_t unit = (uint64_t)p->unit_blocks * p->block_size;
	uint64_t bs = p->block_size;

	printf("{\"event\":\"%s\",\"unitBytes\":%" PRIu64
	       ",\"usedBytes\":%" PRIu64 ",\"heldBytes\":%" PRIu64
	       ",\"idealBytes\":%" PRIu64 ",\"moveBytes\":%" PRIu64
	       ",\"gainBytes\":%" PRIu64 ",\"files\":%" PRIu64
	       ",\"fixedFiles\":%" PRIu64 ",\"fixedFileBytes\":%" PRIu64 "}\n",
	       event, unit, p->used_blocks * bs, p->held_units * unit,
	       p->ideal_units * unit, p->move_blocks * bs, p->victims * unit,
	       p->files, p->skipped.files, p->skipped.blocks * bs);
	fflush(stdout);
}

static void say_progress(const struct pack *p)
{
	static uint64_t next_ns;
	uint64_t now_ns = pack_now_ns();

	if (now_ns < next_ns)
		return;
	next_ns = now_ns + PROGRESS_NS;
	printf("{\"event\":\"progress\",\"movedBytes\":%" PRIu64
	       ",\"moveBytes\":%" PRIu64 "}\n",
	       p->moved_blocks * p->block_size, p->move_blocks * p->block_size);
	fflush(stdout);
}

static void say_result(const struct pack *p, const char *stopped)
{
	uint64_t unit = (uint64_t)p->unit_blocks * p->block_size;

	printf("{\"event\":\"result\",\"stopped\":\"%s\",\"movedBytes\":%" PRIu64
	       ",\"movedPieces\":%" PRIu64 ",\"busyPieces\":%" PRIu64
	       ",\"emptiedBytes\":%" PRIu64 ",\"trimmedBytes\":%" PRIu64
	       ",\"gentlePauses\":%" PRIu64 "}\n",
	       stopped, p->moved_blocks * p->block_size, p->moved_pieces,
	       p->busy_pieces, p->emptied_units * unit, p->trimmed_bytes,
	       p->load.gentle);
	fflush(stdout);
}

static int look(struct pack *p)
{
	syncfs(p->root); /* so that nothing waits for its place */
	int ret = pack_read_space(p);

	if (ret < 0)
		return ret;
	p->candidate_used = (uint32_t)(p->max_fill * p->unit_blocks);
	ret = pack_walk(p);
	if (ret == 0)
		pack_plan(p);
	return ret;
}

static const char *why_stopped(const struct pack *p)
{
	if (stop_signal)
		return "signal";
	if (p->deadline_ns && pack_now_ns() >= p->deadline_ns)
		return "time";
	return NULL;
}

static bool pays(const struct pack *p)
{
	return p->victims > 0 && p->victims >= p->held_units / PAYS_DIVISOR;
}

/* Rounds, until one does not pay; then says what came of it. */
static int pack(struct pack *p, bool estimate)
{
	const char *stopped = NULL;
	int ret = look(p);

	if (ret == 0)
		say_estimate(p, "estimate");
	for (int round = 0; ret == 0 && !estimate && round < MAX_ROUNDS;
	     round++) {
		uint64_t emptied = p->emptied_units;

		if (!pays(p))
			break;
		ret = pack_move(p);
		stopped = why_stopped(p);
		if (ret < 0 || stopped || p->emptied_units == emptied)
			break;
		ret = look(p);
	}
	if (ret == -EINTR || ret == -ETIME) {
		stopped = why_stopped(p);
		ret = 0;
	}
	if (ret == 0 && p->moved_blocks > 0 && !stop_signal) {
		ret = look(p);
		if (ret == 0)
			say_estimate(p, "after");
	}
	if (ret == 0)
		say_result(p, stopped ? stopped : "done");
	return ret;
}

static int usage(void)
{
	fputs("usage: ploop-pack --unit BYTES [--estimate] [--rate BYTES] "
	      "[--busy PCT] [--time MS] [--max-fill PERCENT] [--below] "
	      "MOUNTPOINT\n",
	      stderr);
	return 2;
}

static void catch_signals(void)
{
	struct sigaction act = { .sa_handler = on_signal };

	sigaction(SIGTERM, &act, NULL);
	sigaction(SIGINT, &act, NULL);
	sigaction(SIGHUP, &act, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGIO, SIG_IGN); /* a lease is wanted back: it is, soon */
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "unit", required_argument, NULL, 'u' },
		{ "estimate", no_argument, NULL, 'e' },
		{ "rate", required_argument, NULL, 'r' },
		{ "busy", required_argument, NULL, 'b' },
		{ "time", required_argument, NULL, 't' },
		{ "max-fill", required_argument, NULL, 'f' },
		{ "below", no_argument, NULL, 'l' },
		{ NULL, 0, NULL, 0 }
	};
	struct pack p = { .root = -1,
			  .max_fill = DEFAULT_MAX_FILL,
			  .load = { .fd = -1, .busy_percent = 50 },
			  .progress = say_progress,
			  .stop = &stop_signal };
	uint64_t unit_bytes = 0;
	bool estimate = false, below = false;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'u':
			unit_bytes = strtoull(optarg, NULL, 10);
			break;
		case 'e':
			estimate = true;
			break;
		case 'r':
			p.rate = strtoull(optarg, NULL, 10);
			break;
		case 'b':
			p.load.busy_percent =
				(unsigned)strtoul(optarg, NULL, 10);
			break;
		case 't':
			p.deadline_ns = pack_now_ns() +
					strtoull(optarg, NULL, 10) * 1000000u;
			break;
		case 'f':
			p.max_fill = strtod(optarg, NULL) / 100;
			break;
		case 'l':
			below = true;
			break;
		default:
			return usage();
		}
	}
	if (optind + 1 != argc || unit_bytes == 0 || p.max_fill <= 0 ||
	    p.max_fill > 1 || p.load.busy_percent < 1 ||
	    p.load.busy_percent > 100)
		return usage();
	catch_signals();
	int ret = pack_open(&p, argv[optind], unit_bytes);

	if (ret == 0 && below)
		ret = pack_read_below(&p, stdin);

	if (ret == 0) {
		load_open(&p.load, p.dev, p.load.busy_percent);
		ret = pack(&p, estimate);
		load_close(&p.load);
	}
	pack_close(&p);
	return ret < 0 ? fail(ret, argv[optind]) : 0;
}
