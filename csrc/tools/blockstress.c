/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blockstress DEVICE [NAME=VALUE...]: random reads, writes and discards of one
 * block device, O_DIRECT, many at a time, every read compared with what was
 * acknowledged last. Runs until its input ends, then reads everything once
 * more and prints one line of JSON.
 *
 * Unlike fio it knows each block's content exactly, also while it runs, and
 * says how long the slowest request took: for tests that kill the server.
 *
 *   blocks=N   use the first N blocks of 4 KiB          default 8192
 *   depth=N    requests at a time                       default 32
 *   flush=N    one request of N is a flush; 0 = never   default 500
 *   seed=N     of everything random                     default 1
 *   model=FILE what the blocks hold: read first when it exists, written last
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/falloc.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BLOCK 4096u
#define RUN_MAX 16u /* blocks of one request */
#define UNKNOWN UINT32_MAX /* a failed write: either content */
#define REPORTS_MAX 10u

enum op { READ, WRITE, DISCARD, FLUSH };

struct slot {
	enum op op;
	uint32_t block, n; /* n = 0: free */
	uint64_t start_ns;
	unsigned char *buf;
};

static struct {
	int fd;
	uint32_t blocks, depth, flush;
	uint64_t seed, rng;
	const char *model;
	uint32_t *gen; /* of each block; 0 = zeros */
	bool *busy;
	struct slot *slots;
	unsigned inflight, reports;
	struct io_uring ring;
	uint64_t requests, errors, mismatches, slow, longest_ns;
} t;

static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static uint32_t random_below(uint32_t n)
{
	t.rng = mix(t.rng);
	return (uint32_t)(t.rng % n);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void fill(unsigned char *buf, uint32_t block, uint32_t gen)
{
	uint64_t x = mix(t.seed ^ ((uint64_t)block << 32 | gen)), word;

	for (unsigned i = 0; i < BLOCK; i += 8) {
		word = gen ? x + i * 0x9e3779b97f4a7c15u : 0;
		memcpy(buf + i, &word, 8);
	}
}

static void report(const char *what, const struct slot *s, int res)
{
	static const char *const names[] = { "read", "write", "discard",
					     "flush" };

	if (t.reports++ < REPORTS_MAX)
		fprintf(stderr, "%s: %s of block %u + %u: %s\n", what,
			names[s->op], s->block, s->n,
			res < 0 ? strerror(-res) : "");
}

/* ---- one request ---- */

static bool is_free(uint32_t block, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (t.busy[block + i])
			return false;
	return true;
}

static void mark(const struct slot *s, bool busy)
{
	for (uint32_t i = 0; i < s->n && s->op != FLUSH; i++)
		t.busy[s->block + i] = busy;
}

static void choose(struct slot *s)
{
	uint32_t dice = random_below(100);

	s->n = 1;
	s->op = dice < 35 ? READ : dice < 90 ? WRITE : DISCARD;
	if (t.flush && random_below(t.flush) == 0) {
		s->op = FLUSH;
		return;
	}
	do {
		s->n = 1 + random_below(RUN_MAX);
		s->block = random_below(t.blocks - s->n + 1);
	} while (!is_free(s->block, s->n));
}

static void submit(struct slot *s)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&t.ring);
	off_t off;
	unsigned len;

	choose(s);
	off = (off_t)s->block * BLOCK;
	len = s->n * BLOCK;
	mark(s, true);
	switch (s->op) {
	case READ:
		io_uring_prep_read(sqe, t.fd, s->buf, len, (uint64_t)off);
		break;
	case WRITE:
		for (uint32_t i = 0; i < s->n; i++)
			fill(s->buf + i * BLOCK, s->block + i,
			     t.gen[s->block + i] + 1);
		io_uring_prep_write(sqe, t.fd, s->buf, len, (uint64_t)off);
		break;
	case DISCARD:
		io_uring_prep_fallocate(
			sqe, t.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			off, len);
		break;
	case FLUSH:
		io_uring_prep_fsync(sqe, t.fd, 0);
		break;
	}
	io_uring_sqe_set_data(sqe, s);
	s->start_ns = now_ns();
	t.requests++;
	t.inflight++;
}

static void compare(const struct slot *s)
{
	unsigned char want[BLOCK];

	for (uint32_t i = 0; i < s->n; i++) {
		if (t.gen[s->block + i] == UNKNOWN)
			continue;
		fill(want, s->block + i, t.gen[s->block + i]);
		if (memcmp(want, s->buf + i * BLOCK, BLOCK) == 0)
			continue;
		t.mismatches++;
		report("wrong content", s, 0);
	}
}

static void complete(struct slot *s, int res)
{
	uint64_t took = now_ns() - s->start_ns;
	bool good = s->op == READ || s->op == WRITE ?
			    res == (int)(s->n * BLOCK) :
			    res == 0;

	if (took > t.longest_ns)
		t.longest_ns = took;
	t.slow += took > 1000000000u;
	t.errors += !good;
	if (!good)
		report("failed", s, res);
	if (good && s->op == READ)
		compare(s);
	for (uint32_t i = 0; i < s->n && s->op != READ && s->op != FLUSH; i++)
		t.gen[s->block + i] = !good ? UNKNOWN :
				      s->op == DISCARD ?
					      0 :
					      t.gen[s->block + i] + 1;
	mark(s, false);
	s->n = 0;
	t.inflight--;
}

/* ---- all of them ---- */

static bool input_ended(void)
{
	struct pollfd p = { STDIN_FILENO, POLLIN, 0 };
	char c[64];

	return poll(&p, 1, 0) > 0 && read(STDIN_FILENO, c, sizeof(c)) == 0;
}

static void wait_some(void)
{
	struct io_uring_cqe *cqe;

	if (io_uring_submit_and_wait(&t.ring, 1) < 0)
		return;
	while (io_uring_peek_cqe(&t.ring, &cqe) == 0) {
		complete(io_uring_cqe_get_data(cqe), cqe->res);
		io_uring_cqe_seen(&t.ring, cqe);
	}
}

static void stress(void)
{
	bool ended = false;

	while (!ended || t.inflight) {
		for (uint32_t i = 0; i < t.depth && !ended; i++)
			if (!t.slots[i].n)
				submit(&t.slots[i]);
		wait_some();
		ended = ended || input_ended();
	}
}

static void read_all(void)
{
	struct slot s = { .op = READ, .buf = t.slots[0].buf };

	for (s.block = 0; s.block < t.blocks; s.block += s.n) {
		s.n = t.blocks - s.block < RUN_MAX ? t.blocks - s.block :
						     RUN_MAX;
		if (pread(t.fd, s.buf, s.n * BLOCK, (off_t)s.block * BLOCK) ==
		    (ssize_t)(s.n * BLOCK)) {
			compare(&s);
			continue;
		}
		t.errors++;
		report("failed", &s, -errno);
	}
}

static void model_io(bool save)
{
	FILE *f = t.model ? fopen(t.model, save ? "we" : "re") : NULL;
	size_t n = 0;

	if (f && save)
		n = fwrite(t.gen, sizeof(*t.gen), t.blocks, f);
	else if (f)
		n = fread(t.gen, sizeof(*t.gen), t.blocks, f);
	if (f && (fclose(f) != 0 || n != t.blocks)) {
		fprintf(stderr, "%s: it holds %zu of %u blocks\n", t.model, n,
			t.blocks);
		exit(2);
	}
}

static bool parse(const char *word)
{
	const char *value = strchr(word, '=');
	size_t len = value ? (size_t)(value - word) : 0;
	uint64_t number = value ? strtoull(value + 1, NULL, 10) : 0;

	if (len == 6 && !strncmp(word, "blocks", len))
		t.blocks = (uint32_t)number;
	else if (len == 5 && !strncmp(word, "depth", len))
		t.depth = (uint32_t)number;
	else if (len == 5 && !strncmp(word, "flush", len))
		t.flush = (uint32_t)number;
	else if (len == 4 && !strncmp(word, "seed", len))
		t.seed = number;
	else if (len == 5 && !strncmp(word, "model", len))
		t.model = value + 1;
	else
		return false;
	return true;
}

static int prepare(const char *device)
{
	t.fd = open(device, O_RDWR | O_DIRECT | O_CLOEXEC);
	t.gen = calloc(t.blocks, sizeof(*t.gen));
	t.busy = calloc(t.blocks, sizeof(*t.busy));
	t.slots = calloc(t.depth, sizeof(*t.slots));
	if (t.fd < 0 || !t.gen || !t.busy || !t.slots)
		return -1;
	for (uint32_t i = 0; i < t.depth; i++)
		if (posix_memalign((void **)&t.slots[i].buf, BLOCK,
				   RUN_MAX * BLOCK) != 0)
			return -1;
	return io_uring_queue_init(t.depth, &t.ring, 0);
}

int main(int argc, char **argv)
{
	t.blocks = 8192;
	t.depth = 32;
	t.flush = 500;
	t.seed = 1;
	for (int i = 2; i < argc; i++)
		if (!parse(argv[i]))
			argc = 0;
	if (argc < 2 || t.blocks < t.depth * RUN_MAX * 2 || t.depth == 0) {
		fprintf(stderr, "usage: blockstress DEVICE [blocks=N] "
				"[depth=N] [flush=N] [seed=N] [model=FILE]\n");
		return 2;
	}
	t.rng = t.seed ^ now_ns();
	if (prepare(argv[1]) < 0) {
		fprintf(stderr, "%s: %s\n", argv[1], strerror(errno));
		return 2;
	}
	if (t.model && access(t.model, F_OK) == 0)
		model_io(false);
	stress();
	read_all();
	model_io(true);
	printf("{\"requests\":%llu,\"errors\":%llu,\"mismatches\":%llu,"
	       "\"slow\":%llu,\"longestMs\":%llu}\n",
	       (unsigned long long)t.requests, (unsigned long long)t.errors,
	       (unsigned long long)t.mismatches, (unsigned long long)t.slow,
	       (unsigned long long)(t.longest_ns / 1000000));
	return t.errors || t.mismatches;
}
