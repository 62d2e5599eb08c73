/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every fuzz target uses: its entry, a reader of the input, assertions
 * that stay in all builds. A target is one function, run by libFuzzer
 * (-DPL_FUZZ=ON) or by replay.c.
 */
#ifndef PL_FUZZ_H
#define PL_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define fuzz_require(cond) \
	((cond) ? (void)0 : fuzz_fail(#cond, __FILE__, __LINE__, ""))
#define fuzz_require_say(cond, text) \
	((cond) ? (void)0 : fuzz_fail(#cond, __FILE__, __LINE__, (text)))

static inline void fuzz_fail(const char *what, const char *file, int line,
			     const char *text)
{
	fprintf(stderr, "%s:%d: not so: %s%s%s\n", file, line, what,
		*text ? ": " : "", text);
	abort();
}

/* ---- the input, taken from the front; zeros when it is used up ---- */

struct fuzz_in {
	const uint8_t *at;
	size_t left;
};

static inline uint64_t fuzz_take(struct fuzz_in *in, unsigned bytes)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < bytes && in->left; i++, in->left--)
		v |= (uint64_t)*in->at++ << (8 * i);
	return v;
}

/* Copies up to max bytes; returns how many. */
static inline size_t fuzz_take_bytes(struct fuzz_in *in, void *buf, size_t max)
{
	size_t n = in->left < max ? in->left : max;

	if (n)
		memcpy(buf, in->at, n);
	in->at += n;
	in->left -= n;
	return n;
}

/* ---- errors ---- */

/* A code that may come of what was read, with a message for a terminal. */
static inline void fuzz_require_err(const struct pl_err *err, uint64_t codes)
{
	fuzz_require_say(err->code < 64 && codes >> err->code & 1, err->msg);
	fuzz_require(err->msg[0]);
	for (const char *p = err->msg; *p; p++)
		fuzz_require((unsigned char)*p >= ' ' && *p != 127);
}

#define FUZZ_CODE(name) (1ull << PL_E_##name)
/* What a damaged or foreign image may give. */
#define FUZZ_DAMAGE                                     \
	(FUZZ_CODE(CORRUPT) | FUZZ_CODE(NOT_AN_IMAGE) | \
	 FUZZ_CODE(UNSUPPORTED_FEATURE) | FUZZ_CODE(UNSUPPORTED))

#endif
