/* SPDX-License-Identifier: Apache-2.0 */
/* What the worst journal and directory that a header allows may cost or break. */
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

static void count(void *arg, enum pl_damage kind, uint64_t off,
		  const char *text)
{
	(void)off, (void)text;
	*(uint64_t *)arg += kind == PL_DAMAGE_SHARED_PAGE;
}

/* Every two map pages of the largest layer share one place. */
static void pair_pages(struct pl_store *st, struct pl_header *h)
{
	struct pl_dir_entry entries[PL_DIR_ENTRIES];
	uint64_t n = pl_page_count(h), at = h->first_cluster;
	char page[PL_PAGE] = { 0 };
	uint32_t crc = pl_crc32c(0, page, PL_PAGE);

	at *= pl_cluster_size(h);
	h->dir_used = pl_dir_page_count(h);
	edit_header_write(st, h);
	for (uint64_t d = 0; d < h->dir_used; d++) {
		for (uint64_t i = 0, p = d * PL_DIR_ENTRIES; i < PL_DIR_ENTRIES;
		     i++, p++)
			entries[i] =
				p < n ?
					(struct pl_dir_entry){
						.location =
							at + p / 2 * PL_PAGE,
						.crc = crc
					} :
					(struct pl_dir_entry){ 0 };
		pl_dir_page_encode(entries, d, page);
		ok(pl_store_write(st, page, PL_PAGE, h->dir_off + d * PL_PAGE,
				  PL_IO_META) == 0);
	}
	ok(pl_store_truncate(st, at + n / 2 * PL_PAGE) == 0);
}

/* Comparing each place with all pages would take days. */
pl_test("parts the pages of the largest directory, one of each pair")
{
	struct stack s;
	struct pl_store *st;
	struct pl_header h;
	struct pl_layer *ly = NULL;
	uint64_t shared = 0;
	struct pl_damage_sink sink = { count, &shared };

	require(stack_init(&s, 4096));
	require(stack_add(&s, PL_MAX_BLOCKS * 4096));
	st = stack_file(&s, 0, PL_OPEN_WRITE);
	require(st && edit_header_read(st, &h));
	pair_pages(st, &h);
	ok(stack_says(&s,
		      pl_layer_open_damaged(&ly, st, 0, &sink, NULL, &s.err)));
	is_int(shared, pl_page_count(&h) / 2);
	pl_layer_abandon(ly);
	stack_fini(&s);
}

/* Into the directory's last page, which nothing names. */
static void hide_page(struct stack *s)
{
	struct pl_store *st = stack_file(s, 0, PL_OPEN_WRITE);
	struct pl_dir_entry de;
	struct pl_header h;
	char page[PL_PAGE];

	require(st && edit_header_read(st, &h));
	ok(h.dir_off >= h.first_cluster * pl_cluster_size(&h));
	ok(pl_dir_page_count(&h) < h.dir_pages);
	de = edit_dir_entry(st, &h, 0);
	ok(pl_store_read(st, page, PL_PAGE, de.location, PL_IO_META) == 0);
	de.location = h.dir_off + (h.dir_pages - 1) * PL_PAGE;
	ok(pl_store_write(st, page, PL_PAGE, de.location, PL_IO_META) == 0);
	edit_dir_write(st, &h, 0, de);
	pl_store_close(st);
}

pl_test("gives back no directory in which a map page hides")
{
	struct pl_entry e = { 0 };
	struct stack s;
	uint64_t where;

	require(stack_one(&s, 4096, GIB));
	require(pl_layer_map(s.ly[0], 3, &where) == 0);
	e = (struct pl_entry){ where, 5 };
	require(pl_layer_set(s.ly[0], 3, e, false) == 0);
	require(stack_says(&s, pl_layer_grow(s.ly[0], 1024 * GIB, &s.err)));
	require(stack_close(&s, 0));
	hide_page(&s);
	require(stack_open(&s, 0, PL_LAYER_WRITE));
	require(stack_says(&s, pl_layer_grow(s.ly[0], 8192 * GIB, &s.err)));
	/* A cluster that was given back would be the first to be taken. */
	for (uint64_t cno = 1000; cno < 1010; cno++)
		ok(pl_layer_map(s.ly[0], cno, &where) == 0 &&
		   pl_layer_set(s.ly[0], cno, (struct pl_entry){ where, 1 },
				false) == 0);
	require(stack_close(&s, 0));
	require(stack_open(&s, 0, 0));
	ok(pl_layer_entry(s.ly[0], 3, &e) == 0);
	is_int(e.owned, 5);
	stack_fini(&s);
}

int main(void)
{
	return pl_tap_main();
}
