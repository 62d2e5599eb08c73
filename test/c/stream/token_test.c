/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens: what goes in comes out, and nothing else is taken. */
#include "tap.h"

#include <ctype.h>

#include "stream/manifest.h"

#define ID(c)                                             \
	c c c c c c c c "-" c c c c "-4" c c c "-8" c c c \
			"-" c c c c c c c c c c c c

static const struct stream_token sample = {
	.image = ID("a"),
	.from = "",
	.last = ID("b"),
	.base = ID("c"),
	.snapshot = ID("d"),
	.off = 123456 * 4096ull,
};

pl_test("a token says the same after it was printed and read (STR-060)")
{
	struct stream_token t;
	struct pl_err err;
	char text[TOKEN_TEXT];

	token_format(&sample, text);
	is_int((int)strlen(text), 7 + 192);
	ok(strncmp(text, "ploop1-", 7) == 0);
	for (const char *p = text + 7; *p; p++)
		ok(isdigit((unsigned char)*p) || (*p >= 'a' && *p <= 'f'));
	ok(token_parse(text, &t, &err) == 0);
	ok(!strcmp(t.image, sample.image) && !strcmp(t.from, "") &&
	   !strcmp(t.last, sample.last) && !strcmp(t.base, sample.base) &&
	   !strcmp(t.snapshot, sample.snapshot) && t.off == sample.off);
}

pl_test("a token with a slip of the pen is refused (STR-060)")
{
	struct stream_token t;
	struct pl_err err;
	char text[TOKEN_TEXT];

	token_format(&sample, text);
	for (unsigned i = 0; i < 7 + 176; i++) {
		char was = text[i];

		text[i] = was == '7' ? '8' : '7';
		ok(token_parse(text, &t, &err) < 0);
		is_int(err.code, PL_E_INVALID_ARGUMENT);
		text[i] = was;
	}
	text[100] = '\0';
	ok(token_parse(text, &t, &err) < 0);
	ok(token_parse("", &t, &err) < 0);
}

int main(void)
{
	return pl_tap_main();
}
