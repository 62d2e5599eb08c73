/* SPDX-License-Identifier: Apache-2.0 */
/* What the worst journal that a header allows may cost. */
#include <sys/resource.h>
#include <time.h>

#include "edit.h"
#include "stack.h"

#define SECONDS_MAX 60 /* under sanitizers, on a busy machine */
#define MAXRSS_MAX_KIB (1200u << 10)

/* Fills the ring with records; each item is in a map page of its own. */
static void fill_ring(struct pl_store *st, const struct pl_header *h)
{
	static char record[PL_RECORD_MAX];
	const uint32_t most =
		(PL_RECORD_MAX - PL_RECORD_HEADER) / PL_RECORD_ITEM;
	uint32_t crc = h->checkpoint_crc;
	uint64_t pos = 0, cno = 0;

	while (h->journal_len - pos >= PL_RECORD_HEADER + PL_RECORD_ITEM) {
		uint64_t room = (h->journal_len - pos - PL_RECORD_HEADER) /
				PL_RECORD_ITEM;
		uint32_t n = room < most ? (uint32_t)room : most;
		struct pl_record rec = { .lsn = pos,
					 .type = PL_RECORD_MAP,
					 .items = n,
					 .len = pl_record_len(n, 0) };

		for (uint32_t i = 0; i < n; i++, cno += PL_PAGE_ENTRIES)
			pl_record_put_map(record, i,
					  &(struct pl_map_item){
						  .cno = cno,
						  .entry = { .owned = 1 } });
		crc = pl_record_seal(record, &rec, crc);
		ok(pl_store_write(st, record, rec.len, h->journal_off + pos,
				  PL_IO_META) == 0);
		pos += rec.len;
	}
}

pl_test("replays the largest journal in bounded time and memory (FMT-015)")
{
	struct stack s;
	struct pl_store *st;
	struct pl_header h;
	struct rusage usage;
	time_t start = time(NULL);

	require(stack_init(&s, 4096));
	require(stack_add(&s, PL_MAX_BLOCKS * 4096));
	st = stack_file(&s, 0, PL_OPEN_WRITE);
	require(st && edit_header_read(st, &h));
	h.journal_len = PL_JOURNAL_MAX;
	h.flags &= ~PL_HEADER_CLEAN;
	edit_header_write(st, &h);
	fill_ring(st, &h);
	pl_store_close(st);
	ok(stack_open(&s, 0, 0));
	ok(pl_layer_page_present(s.ly[0], 40000));
	ok(time(NULL) - start < SECONDS_MAX);
	is_int(getrusage(RUSAGE_SELF, &usage), 0);
	ok((uint64_t)usage.ru_maxrss < MAXRSS_MAX_KIB);
	printf("# %d s, %ld MiB\n", (int)(time(NULL) - start),
	       usage.ru_maxrss >> 10);
	stack_fini(&s);
}

int main(void)
{
	return pl_tap_main();
}
