/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams that no sender writes, with all checksums right: each is refused with
 * a sentence that names the place, and leaves no image.
 */
#include "pair.h"

#include "edit.h"

static struct edited edited;

static bool open_edit(struct pair *p)
{
	return pair_sent(p, 0) && edit_load(&edited, &p->stream);
}

/* Stores the edit and sees it refused; then begins anew. */
static bool edit_refused(struct pair *p, enum pl_code code, const char *word)
{
	bool fine;

	edit_store(&edited, &p->stream, false);
	fine = refused(p, code, word);
	fresh_target(p);
	edit_free(&edited);
	p->level = 0;
	return said(p, do_send(p, NULL, NULL)) &&
	       edit_load(&edited, &p->stream) && fine;
}

static void close_edit(struct pair *p)
{
	edit_free(&edited);
	pair_fini(p);
}

pl_test("what is no stream, or of another version, is refused (STR-001, "
	"STR-002, STR-003)")
{
	struct pair p;

	ok(open_edit(&p));
	edited.header[0] = 'p';
	ok(edit_refused(&p, PL_E_BAD_STREAM, "no stream"));
	edited.header[8] = 2;
	ok(edit_refused(&p, PL_E_UNSUPPORTED_FEATURE, "version 2"));
	edited.header[12] = 4;
	ok(edit_refused(&p, PL_E_UNSUPPORTED_FEATURE, "0x4"));
	close_edit(&p);
}

pl_test("frames of unknown types, flags and lengths are refused (STR-010, "
	"STR-013, STR-014, STR-015)")
{
	struct pair p;
	struct edit_frame *f;

	ok(open_edit(&p));
	edited.frame[2].f.type = (enum frame_type)9;
	ok(edit_refused(&p, PL_E_BAD_STREAM, "type"));
	edited.frame[2].f.flags = 2;
	ok(edit_refused(&p, PL_E_BAD_STREAM, "flags"));
	edited.frame[2].f.flags = FRAME_ZSTD;
	ok(edit_refused(&p, PL_E_BAD_STREAM, "length"));
	f = edit_find(&edited, FRAME_BLOCKS, 0);
	f->f.raw = FRAME_RAW_MAX + 16;
	ok(edit_refused(&p, PL_E_BAD_STREAM, "length"));
	f = edit_find(&edited, FRAME_BLOCKS, 2);
	f->f.raw += 1000;
	f->f.flags = FRAME_ZSTD;
	ok(edit_refused(&p, PL_E_BAD_STREAM, "decompressed"));
	close_edit(&p);
}

pl_test("frames that are missing, twice or out of place are refused (STR-011, "
	"STR-030, STR-033)")
{
	struct pair p;
	char *b;

	ok(open_edit(&p));
	edit_remove(&edited, edit_find(&edited, FRAME_BLOCKS, 0));
	ok(edit_refused(&p, PL_E_BAD_STREAM, "totals"));
	edit_remove(&edited, edit_find(&edited, FRAME_SEGMENT, 1));
	ok(edit_refused(&p, PL_E_BAD_STREAM, "segment"));
	edit_remove(&edited, edit_find(&edited, FRAME_SEGMENT_END, 0));
	ok(edit_refused(&p, PL_E_BAD_STREAM, "belong"));
	edit_remove(&edited, edit_find(&edited, FRAME_MANIFEST, 0));
	ok(edit_refused(&p, PL_E_BAD_STREAM, "manifest"));
	/* Its number and checksum are right for another place. */
	b = p.stream.p + STREAM_HEADER;
	memmove(b, b + FRAME_HEADER + edited.frame[0].f.stored,
		p.stream.len - STREAM_HEADER - FRAME_HEADER -
			edited.frame[0].f.stored);
	ok(refused(&p, PL_E_BAD_STREAM, "number"));
	close_edit(&p);
}

pl_test("extents outside the disk, out of order or without their data are "
	"refused (STR-031)")
{
	static const uint64_t bad[][2] = {
		{ PAIR_SIZE, 4096 },
		{ PAIR_SIZE - 4096, 8192 },
		{ 0, UINT64_MAX - 4095 },
		{ 512, 4096 },
		{ 0, 4097 },
		{ 0, 0 },
		{ 1 << 20, 4096 },
		{ 0, 4096 },
	};
	struct pair p;

	ok(open_edit(&p));
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct edit_frame *f = edit_find(&edited, FRAME_BLOCKS, 0);
		char *table = f->payload + f->f.raw - f->f.arg * FRAME_EXTENT;

		put64(table, 0, bad[i][0]);
		put64(table, 8, bad[i][1]);
		ok(edit_refused(&p, PL_E_BAD_STREAM, "extents"));
	}
	close_edit(&p);
}

pl_test("a manifest that is not valid is refused, a feature by its name "
	"(STR-020, STR-021, STR-022, STR-024)")
{
	static const struct {
		const char *from, *to;
		enum pl_code code;
		const char *word;
	} bad[] = {
		{ "\"zstd\"", "\"zstd\",\"sparkles\"", PL_E_UNSUPPORTED_FEATURE,
		  "sparkles" },
		{ "{", "[", PL_E_BAD_STREAM, "JSON" },
		{ "ploop-stream", "other", PL_E_BAD_STREAM, "format" },
		{ "4096", "4097", PL_E_BAD_STREAM, "image" },
		{ "\"size\":67108864", "\"size\":67108865", PL_E_BAD_STREAM,
		  "snapshots" },
		{ "\"size\":67108864", "\"size\":671088640", PL_E_BAD_STREAM,
		  "snapshots" },
		{ "\"one\"", "\"two\"", PL_E_BAD_STREAM, "snapshots" },
		{ "\"snapshots\":[", "\"snapshots\":[],\"x\":[",
		  PL_E_BAD_STREAM, "snapshots" },
		{ "\"resume\":null", "\"resume\":{}", PL_E_BAD_STREAM,
		  "resume" },
	};
	struct pair p;

	ok(open_edit(&p));
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ok(edit_manifest(&edited, bad[i].from, bad[i].to));
		ok(edit_refused(&p, bad[i].code, bad[i].word));
	}
	close_edit(&p);
}

pl_test("the last frame vouches for all of the stream, and is the last "
	"(STR-040, STR-041)")
{
	struct pair p;

	ok(open_edit(&p));
	ok(edit_manifest(&edited, "\"one\"", "\"uno\""));
	edit_store(&edited, &p.stream, true);
	ok(refused(&p, PL_E_BAD_STREAM, "checksum over the whole stream"));
	fresh_target(&p);
	put64(edit_find(&edited, FRAME_END, 0)->payload, 0, 1);
	ok(edit_refused(&p, PL_E_BAD_STREAM, "totals"));
	bytes_write(&p.stream, "", 1);
	ok(refused(&p, PL_E_BAD_STREAM, "follows"));
	close_edit(&p);
}

int main(void)
{
	return pl_tap_main();
}
