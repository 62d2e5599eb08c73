/* SPDX-License-Identifier: Apache-2.0 */
/*
 * C unit tests in the Test Anything Protocol, one program per *_test.c.
 *
 *   pl_test("reads zeros where nothing was written (FMT-012)")
 *   {
 *           is_int(pl_layer_read(...), 0);
 *   }
 *   int main(void) { return pl_tap_main(); }
 *
 * Tests run in the order of the file. A failed check prints where and goes on;
 * require() also leaves the test's function (it must return void, no cleanup).
 * skip("reason") leaves it, too. Exit: 0 passed, 1 failed, 77 all skipped.
 * PLOOP_REQUIRE=word,... turns a skip whose reason starts with a word into a
 * failure: skip("root: needs to mount").
 */
#ifndef PL_TAP_H
#define PL_TAP_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pl_tap_test {
	const char *title;
	void (*fn)(void);
	struct pl_tap_test *next;
};
static struct pl_tap_test *pl_tap_first, **pl_tap_last = &pl_tap_first;
static const char *pl_tap_skip;
static unsigned pl_tap_bad;

#define PL_TAP_CAT2(a, b) a##b
#define PL_TAP_CAT(a, b) PL_TAP_CAT2(a, b)
#define pl_test(text) PL_TAP_TEST(text, PL_TAP_CAT(pl_tap_, __LINE__))
#define PL_TAP_TEST(text, id)                                               \
	static void id(void);                                               \
	__attribute__((constructor)) static void PL_TAP_CAT(id, _add)(void) \
	{                                                                   \
		static struct pl_tap_test test = { text, id, NULL };        \
		*pl_tap_last = &test;                                       \
		pl_tap_last = &test.next;                                   \
	}                                                                   \
	static void id(void)

#define ok(cond) pl_tap_ok((cond), #cond, __FILE__, __LINE__)
#define require(cond)           \
	do {                    \
		if (!ok(cond))  \
			return; \
	} while (0)
#define is_int(got, want) \
	pl_tap_int((int64_t)(got), (int64_t)(want), #got, __FILE__, __LINE__)
#define is_str(got, want) pl_tap_str((got), (want), #got, __FILE__, __LINE__)
#define skip(reason)                    \
	do {                            \
		pl_tap_skip = (reason); \
		return;                 \
	} while (0)

static inline bool pl_tap_ok(bool good, const char *what, const char *file,
			     int line)
{
	if (!good) {
		pl_tap_bad++;
		printf("# %s:%d: failed: %s\n", file, line, what);
	}
	return good;
}

static inline bool pl_tap_int(int64_t got, int64_t want, const char *what,
			      const char *file, int line)
{
	if (got != want)
		printf("# %s is %" PRId64 ", expected %" PRId64 "\n", what, got,
		       want);
	return pl_tap_ok(got == want, what, file, line);
}

static inline bool pl_tap_str(const char *got, const char *want,
			      const char *what, const char *file, int line)
{
	bool same = got && want ? !strcmp(got, want) : got == want;

	if (!same)
		printf("# %s is \"%s\", expected \"%s\"\n", what,
		       got ? got : "(null)", want ? want : "(null)");
	return pl_tap_ok(same, what, file, line);
}

/* Does PLOOP_REQUIRE forbid a skip with this reason? */
static inline bool pl_tap_required(const char *reason)
{
	const char *list = getenv("PLOOP_REQUIRE");
	size_t n = strcspn(reason, ":, ");

	for (; list && *list; list += *list == ',') {
		if (strcspn(list, ",") == n && !strncmp(list, reason, n))
			return true;
		list += strcspn(list, ",");
	}
	return false;
}

static inline int pl_tap_main(void)
{
	unsigned n = 0, failed = 0, skipped = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (struct pl_tap_test *t = pl_tap_first; t; t = t->next) {
		pl_tap_bad = 0;
		pl_tap_skip = NULL;
		t->fn();
		if (pl_tap_skip && pl_tap_required(pl_tap_skip)) {
			pl_tap_ok(false, pl_tap_skip, "PLOOP_REQUIRE", 0);
			pl_tap_skip = NULL;
		}
		printf("%sok %u - %s%s%s\n", pl_tap_bad ? "not " : "", ++n,
		       t->title, pl_tap_skip ? " # SKIP " : "",
		       pl_tap_skip ? pl_tap_skip : "");
		failed += pl_tap_bad != 0;
		skipped += pl_tap_skip && !pl_tap_bad;
	}
	printf("1..%u\n", n);
	return failed ? 1 : n && skipped == n ? 77 : 0;
}

#endif
