/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the log says of damage that requests meet: each place once, the way out,
 * and an end of it where there is too much.
 */
#include "../engine/requests.h"

#include <unistd.h>

#include "ploopd/worker/trouble.h"
#include "ploopd/worker/worker.h"
#include "scratch.h"

#define PAGES 24u /* map pages of the base that have something in them */
#define PAGE_BYTES (64 * MIB)

static char data[4096] __attribute__((aligned(4096)));
static uint64_t place[PAGES]; /* in the base's file */
static struct pl_worker w;
static char text[65536]; /* the log */
static int old_stderr = -1;

/* ---- the log ---- */

static void begin_log(void)
{
	FILE *f = fopen(scratch_file("log"), "w+");

	fflush(stderr);
	old_stderr = dup(STDERR_FILENO);
	ok(f && dup2(fileno(f), STDERR_FILENO) >= 0);
	if (f)
		fclose(f);
}

static void end_log(void)
{
	FILE *f = fopen(scratch_file("log"), "r");
	size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;

	text[n] = '\0';
	if (f)
		fclose(f);
	dup2(old_stderr, STDERR_FILENO);
	close(old_stderr);
}

static unsigned lines_with(const char *word)
{
	unsigned n = 0;

	for (const char *at = text; (at = strstr(at, word)) != NULL; at++)
		n++;
	return n;
}

/* ---- the disk ---- */

/* A base with a block in each of its map pages, and an empty top. */
static bool written(void)
{
	struct pl_chain *ch;
	bool fine;

	if (!stack_init(&s, 4096) || !stack_add(&s, PAGES * PAGE_BYTES))
		return false;
	ch = stack_chain(&s);
	fine = ch != NULL;
	for (unsigned p = 0; fine && p < PAGES; p++)
		fine = disk_write(ch, p * PAGE_BYTES, 4096, 'b') == 0;
	fine = fine && pl_layer_checkpoint(pl_chain_top(ch)) == 0;
	for (unsigned p = 0; fine && p < PAGES; p++)
		place[p] = pl_layer_page_location(pl_chain_top(ch), p);
	ch = fine ? disk_snapshot(&s, ch, PAGES * PAGE_BYTES) : NULL;
	return ch && stack_says(&s, pl_chain_close(ch, &s.err));
}

/* The first `bad` map pages of the base are damaged; a worker serves it. */
static bool begin(unsigned bad)
{
	struct pl_chain *ch;
	char byte = 0x55;

	if (!written())
		return false;
	for (unsigned p = 0; p < bad; p++)
		stack_poke(&s, 0, &byte, 1, place[p] + 99);
	ch = stack_chain(&s);
	if (!ch || !stack_says(&s, pl_loop_new(&loop, 16, &s.err)) ||
	    !stack_says(&s, pl_engine_new(&eng, loop, ch, &s.err)))
		return false;
	memset(&w, 0, sizeof(w));
	w.engine = eng;
	strcpy(w.att.directory, "/vz/web");
	begin_log();
	return stack_says(&s, pl_trouble_watch(&w, &s.err));
}

static void finish(void)
{
	engine_stop();
	free(w.trouble);
}

static int read_page(unsigned p)
{
	return request(PL_REQ_READ, p * PAGE_BYTES, 4096, data);
}

pl_test("a damaged place is one line, however often it is asked for")
{
	char want[200];

	require(begin(2));
	for (unsigned i = 0; i < 50; i++) {
		is_int(read_page(1), -EUCLEAN);
		is_int(read_page(0), -EUCLEAN);
		is_int(read_page(2), 0);
	}
	end_log();
	is_int(lines_with("\n"), 2);
	snprintf(want, sizeof(want),
		 "layers/%s.plp: map page 1 at byte %llu: checksum mismatch; "
		 "requests for bytes 67108864 to 134217727 of the disk",
		 pl_layer_id(pl_chain_layer(pl_engine_chain(eng), 0)),
		 (unsigned long long)place[1]);
	is_int(lines_with(want), 1);
	is_int(lines_with("map page 0 at byte "), 1);
	is_int(lines_with("ploop check /vz/web"), 2);
	finish();
}

pl_test("where very much is damaged, the last line says that there is more")
{
	require(begin(PAGES));
	for (unsigned i = 0; i < 3; i++)
		for (unsigned p = 0; p < PAGES; p++)
			is_int(read_page(p), -EUCLEAN);
	end_log();
	is_int(lines_with("\n"), 17);
	is_int(lines_with(": checksum mismatch; "), 16);
	is_int(lines_with("more requests fail, for other causes"), 1);
	finish();
}

pl_test("where no layer is damaged, it is the host's file system that says so")
{
	require(begin(0));
	s.spy[1].fail_errno = EUCLEAN;
	s.spy[1].fail_in = 1;
	for (unsigned i = 0; i < 5; i++)
		is_int(request(PL_REQ_WRITE, 0, 4096, data), -EUCLEAN);
	is_int(read_page(0), 0);
	s.spy[1].failing = false;
	end_log();
	is_int(lines_with("\n"), 1);
	is_int(lines_with("a write request (bytes 0 to 4095 of the disk) "
			  "failed: the host says EUCLEAN"),
	       1);
	finish();
}

pl_test("an error of the host is one line for each kind of request")
{
	require(begin(0));
	for (unsigned i = 0; i < 5; i++) {
		s.spy[1].fail_in = 1;
		is_int(request(PL_REQ_WRITE, 8192, 4096, data), -EIO);
		is_int(request(PL_REQ_DISCARD, 0, MIB, NULL), -EIO);
		s.spy[1].failing = false;
	}
	end_log();
	is_int(lines_with("\n"), 2);
	is_int(lines_with("a write request (bytes 8192 to 12287 of the disk) "
			  "failed: the host says EIO"),
	       1);
	is_int(lines_with("a discard request"), 1);
	finish();
}

pl_test("a layer that can't be made durable any more is one line")
{
	require(begin(0));
	is_int(request(PL_REQ_WRITE, 8192, 4096, data), 0);
	s.spy[1].fail_in = 2; /* the journal's record is written */
	for (unsigned i = 0; i < 5; i++)
		is_int(request(PL_REQ_FLUSH, 0, 0, NULL), -EIO);
	s.spy[1].failing = false;
	is_int(request(PL_REQ_FLUSH, 0, 0, NULL), -EIO);
	is_int(request(PL_REQ_WRITE, 2 * MIB, 4096, data), -EIO);
	end_log();
	is_int(lines_with("\n"), 1);
	is_int(lines_with("the host could not make it durable (EIO)"), 1);
	pl_engine_set_failed(eng, NULL, NULL);
	ok(pl_engine_close(eng, &s.err) < 0);
	pl_loop_free(loop);
	stack_fini(&s);
	free(w.trouble);
}

int main(void)
{
	return pl_tap_main();
}
