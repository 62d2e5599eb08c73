/* SPDX-License-Identifier: Apache-2.0 */
/* Journals that must be rejected or ignored. */
#include "edit.h"
#include "stack.h"

static struct stack s;

/* A clean layer with one owned cluster, closed. */
static bool prepared(void)
{
	uint64_t where;

	return stack_one(&s, 4096, GIB + 4096) &&
	       pl_layer_map(s.ly[0], 1, &where) == 0 &&
	       pl_layer_own(s.ly[0], 1, 1, false) == 0 && stack_close(&s, 0);
}

static void rejects(struct pl_map_item item, const char *word)
{
	struct pl_store *st;

	require(prepared());
	st = stack_file(&s, 0, PL_OPEN_WRITE);
	edit_journal(st, item);
	pl_store_close(st);
	ok(stack_try_open(&s, 0, 0, NULL) < 0);
	is_int(s.err.code, PL_E_CORRUPT);
	if (!ok(strstr(s.err.msg, word) != NULL))
		printf("# \"%s\" does not say \"%s\"\n", s.err.msg, word);
	stack_fini(&s);
}

pl_test("rejects a record of a cluster beyond the map (FMT-045)")
{
	rejects((struct pl_map_item){ .cno = 17 * 256 }, "map page 17");
	rejects((struct pl_map_item){ .cno = UINT64_MAX }, "beyond the end");
}

pl_test("rejects a record of an entry that is not legal (FMT-045)")
{
	rejects((struct pl_map_item){ 3, { 2, 1 } }, "metadata");
	rejects((struct pl_map_item){ 3, { 1ull << 40, 1 } }, "reserved");
	rejects((struct pl_map_item){ 4096, { 0, 2 } }, "beyond the end");
}

pl_test("rejects a checkpoint of a map page beyond the disk (FMT-045)")
{
	char record[PL_RECORD_HEADER + PL_RECORD_ITEM];
	struct pl_record rec = { .type = PL_RECORD_CHECKPOINT,
				 .items = 1,
				 .len = sizeof(record) };
	struct pl_page_item it = { .page_no = 400 };
	struct pl_header hdr;
	struct pl_store *st;

	require(prepared());
	st = stack_file(&s, 0, PL_OPEN_WRITE);
	require(edit_header_read(st, &hdr));
	hdr.flags = 0;
	edit_header_write(st, &hdr);
	rec.lsn = hdr.checkpoint_lsn;
	pl_record_put_page(record, 0, &it);
	pl_record_seal(record, &rec, hdr.checkpoint_crc);
	ok(pl_store_write(st, record, sizeof(record), hdr.journal_off + rec.lsn,
			  PL_IO_META) == 0);
	pl_store_close(st);
	ok(stack_try_open(&s, 0, 0, NULL) < 0);
	is_int(s.err.code, PL_E_CORRUPT);
	stack_fini(&s);
}

pl_test("does not look at the journal of a CLEAN layer (FMT-019)")
{
	struct pl_header hdr;
	struct pl_store *st;
	struct pl_entry e;

	require(prepared());
	st = stack_file(&s, 0, PL_OPEN_WRITE);
	edit_journal(st, (struct pl_map_item){ 5, { 0, 1 } });
	require(edit_header_read(st, &hdr));
	hdr.flags |= PL_HEADER_CLEAN;
	edit_header_write(st, &hdr);
	pl_store_close(st);
	require(stack_open(&s, 0, 0));
	is_int(pl_layer_entry(s.ly[0], 5, &e), 0);
	is_int(e.owned, 0);
	is_int(pl_layer_entry(s.ly[0], 1, &e), 0);
	is_int(e.owned, 1);
	stack_fini(&s);
}

int main(void)
{
	return pl_tap_main();
}
