/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trims a mounted file system as fstrim does, but so that those who use it
 * hardly notice: a range at a time, small enough that a call is short, with
 * pauses in between, long free extents before short ones.
 *
 *   ploop-trim [options] MOUNTPOINT
 *	--min-length BYTES  leave shorter free extents alone (default: none)
 *	--busy PCT	    of the time that calls may take (default 50); a
 *			    fifth of it while others use the device
 *	--time MS	    stop in good order after that long
 *	--ranges	    only what stdin names: lines "offset length" in bytes,
 *			    up to an empty one
 *
 * A discard keeps writes waiting while the image works on it (the FUSE file's
 * inode lock), so what one call may take is what the others may have to wait.
 *
 * Says JSON lines on stdout: {"event":"progress",...} now and then and
 * {"event":"result",...} at the end. Killing it loses nothing.
 *
 * Exit status: 0 done, or stopped by --time; 1 failed, with one line
 * "errno-name: text" on stderr; 2 used wrongly.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

#define MIB (1ull << 20)
#define LONG_EXTENT (8 * MIB) /* what the first pass is for */
#define RANGE_MIN (MIB / 2)
#define RANGE_START (2 * MIB)
#define RANGE_MAX (64 * MIB)
#define LONG_CALL_NS 2000000u /* then the next range is half */
#define SHORT_CALL_NS 500000u /* then it is twice as much */
#define PROGRESS_NS 500000000u

#define XFS_MAGIC 0x58465342
/* xfs discarded the whole free extent that a range touches, before Linux 6.7 or
 * so: small ranges only repeat that. It says how much it was. */
#define WHOLE_RANGE (1024 * MIB)

struct trim {
	int fd;
	uint64_t size, min_length, range;
	bool inside; /* a range of this pass was in the file system */
	bool xfs;
	bool whole_extents; /* an xfs to which a range is no bound */
	bool named; /* ranges come from stdin */
	struct load load;
	uint64_t end_ns, told_ns; /* end: 0 = none */
	uint64_t done, total; /* bytes of all passes */
	uint64_t trimmed, calls, longest_ns;
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void adapt(struct trim *t, uint64_t took_ns)
{
	bool slow = t->load.slow.more > 0;

	if (t->whole_extents)
		return;
	/* Between the requests of others there is less time. */
	if (load_others(&t->load))
		took_ns *= 2;
	if ((took_ns > LONG_CALL_NS || slow) && t->range > RANGE_MIN)
		t->range /= 2;
	else if (took_ns < SHORT_CALL_NS && !slow && t->range < RANGE_MAX)
		t->range *= 2;
}

static void tell(struct trim *t, uint64_t now)
{
	if (now - t->told_ns < PROGRESS_NS)
		return;
	t->told_ns = now;
	printf("{\"event\":\"progress\",\"doneBytes\":%" PRIu64
	       ",\"ofBytes\":%" PRIu64 "}\n",
	       t->done, t->total);
	fflush(stdout);
}

/*
 * ext4 leaves a group alone that was trimmed since something in it was freed,
 * unless the last call had a greater minlen; some kernels note that also for a
 * group of which a call covered a part. So there is always such a call before.
 */
static void prime(struct trim *t)
{
	struct fstrim_range r = { .start = 0,
				  .len = 65536,
				  .minlen = 2 * LONG_EXTENT };

	if (!t->xfs)
		(void)ioctl(t->fd, FITRIM, &r);
}

/* 1: time is up. */
static int trim_range(struct trim *t, uint64_t start, uint64_t len,
		      uint64_t min_length)
{
	struct fstrim_range r = { .start = start,
				  .len = len,
				  .minlen = min_length };
	uint64_t began, took, inflight = load_demand(&t->load).inflight;

	prime(t);
	began = now_ns();
	t->done += len;
	if (ioctl(t->fd, FITRIM, &r) < 0)
		/* Behind the end of the file system. */
		return errno == EINVAL && !t->inside ? 0 : -errno;
	t->inside = true;
	if (t->xfs) /* does not wait for its discards (Linux 6.7) */
		load_await_answers(&t->load, inflight);
	took = now_ns() - began;
	t->calls++;
	t->trimmed += r.len < len ? r.len : len;
	if (t->xfs && r.len > len && !t->whole_extents) {
		t->whole_extents = true;
		t->range = WHOLE_RANGE;
	}
	if (took > t->longest_ns)
		t->longest_ns = took;
	adapt(t, took);
	tell(t, began + took);
	if (t->end_ns && began + took >= t->end_ns)
		return 1;
	load_pause(&t->load, took);
	return 0;
}

/*
 * From the end to the start: a call discards a free extent to its end, also
 * beyond the range. What is behind the range has been discarded by then, which
 * makes that part of the call quick.
 */
static int pass(struct trim *t, uint64_t min_length)
{
	uint64_t start;
	int rc = 0;

	t->trimmed = 0;
	t->inside = false;
	for (uint64_t end = t->size; end > 0 && rc == 0; end = start) {
		start = (end - 1) / t->range * t->range;
		rc = trim_range(t, start, end - start, min_length);
	}
	return rc;
}

static int trim(struct trim *t)
{
	bool twice = t->min_length < LONG_EXTENT;
	int rc;

	t->total = t->size * (twice ? 2 : 1);
	rc = twice ? pass(t, LONG_EXTENT) : 0;
	if (rc == 0)
		rc = pass(t, t->min_length);
	return rc == 0 && !t->calls ? -EINVAL : rc;
}

/* What is free and still costs space somewhere, says whoever knows that. */
static int trim_named(struct trim *t)
{
	char line[64];
	uint64_t at, len, n;
	int rc = 0;

	while (rc == 0 && fgets(line, sizeof(line), stdin) &&
	       sscanf(line, "%" SCNu64 " %" SCNu64, &at, &len) == 2) {
		t->total += len;
		for (; rc == 0 && len > 0; at += n, len -= n) {
			n = len < t->range ? len : t->range;
			rc = trim_range(t, at, n, 0);
		}
	}
	return rc;
}

/* xfs says how much it looked at (Linux 6.7). */
static uint64_t trimmed(const struct trim *t)
{
	struct statfs fs;
	uint64_t free;

	if (!t->xfs || fstatfs(t->fd, &fs) < 0)
		return t->trimmed;
	free = (uint64_t)fs.f_bfree * (uint64_t)fs.f_bsize;
	return t->trimmed < free ? t->trimmed : free;
}

static int fail(int error, const char *path)
{
	const char *name = strerrorname_np(error);

	fprintf(stderr, "%s: cannot trim %s: %s\n", name ? name : "?", path,
		strerror(error));
	return 1;
}

static int run(struct trim *t, const char *path)
{
	struct statfs fs;
	struct stat st;
	int rc;

	t->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (t->fd < 0 || fstatfs(t->fd, &fs) < 0 || fstat(t->fd, &st) < 0)
		return fail(errno, path);
	/* f_blocks leaves metadata out, so the end is somewhere below this. */
	t->size = ((uint64_t)fs.f_blocks + fs.f_blocks / 8 + 65536) *
		  (uint64_t)fs.f_bsize;
	t->xfs = fs.f_type == XFS_MAGIC;
	t->range = RANGE_START;
	load_open(&t->load, st.st_dev, t->load.busy_percent);
	rc = t->named ? trim_named(t) : trim(t);
	load_close(&t->load);
	t->trimmed = trimmed(t);
	close(t->fd);
	if (rc < 0)
		return fail(-rc, path);
	printf("{\"event\":\"result\",\"stopped\":\"%s\",\"trimmedBytes\":%" PRIu64
	       ",\"calls\":%" PRIu64 ",\"longestUs\":%" PRIu64
	       ",\"gentlePauses\":%" PRIu64 "}\n",
	       rc == 1 ? "time" : "done", t->trimmed, t->calls,
	       t->longest_ns / 1000, t->load.gentle);
	return 0;
}

static int usage(void)
{
	fputs("usage: ploop-trim [--min-length BYTES] [--busy PCT] [--time MS] "
	      "[--ranges] MOUNTPOINT\n",
	      stderr);
	return 2;
}

/* A whole number from `least` to `most`. */
static bool number(const char *word, uint64_t least, uint64_t most,
		   uint64_t *ret)
{
	char *end;

	errno = 0;
	*ret = strtoull(word, &end, 10);
	return !errno && end != word && !*end && *ret >= least && *ret <= most;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "min-length", required_argument, NULL, 'm' },
		{ "busy", required_argument, NULL, 'b' },
		{ "time", required_argument, NULL, 't' },
		{ "ranges", no_argument, NULL, 'r' },
		{ NULL, 0, NULL, 0 },
	};
	struct trim t = { .load = { .busy_percent = 50 } };
	uint64_t n;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'm' && number(optarg, 0, 1ull << 40, &n))
			t.min_length = n;
		else if (c == 'b' && number(optarg, 1, 100, &n))
			t.load.busy_percent = (unsigned)n;
		else if (c == 't' && number(optarg, 1, 1ull << 40, &n))
			t.end_ns = now_ns() + n * 1000000u;
		else if (c == 'r')
			t.named = true;
		else
			return usage();
	}
	return optind + 1 == argc ? run(&t, argv[optind]) : usage();
}
