/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checkpoints that a crash cut short: every mixture of old and new sectors of
 * a map page and its directory page is healed by the journal.
 */
#include "edit.h"
#include "stack.h"

#define SECTOR 512u

static struct stack s;

struct pages {
	uint64_t map_at, dir_at;
	char map[2][PL_PAGE], dir[2][PL_PAGE]; /* before, after */
	char headers[2 * PL_PAGE]; /* before: with the old checkpoint */
};

static bool set(uint64_t cno, uint64_t owned)
{
	uint64_t where;

	return pl_layer_map(s.ly[0], cno, &where) == 0 &&
	       pl_layer_set(s.ly[0], cno, (struct pl_entry){ where, owned },
			    false) == 0;
}

static void look(struct pages *p, unsigned when)
{
	stack_peek(&s, 0, p->map[when], PL_PAGE, p->map_at);
	stack_peek(&s, 0, p->dir[when], PL_PAGE, p->dir_at);
}

/*
 * A layer whose map page 0 is written by a checkpoint, for the first time or
 * again; the state on disk is as before its header.
 */
static bool interrupted(struct pages *p, bool again)
{
	const struct pl_header *h;

	if (!stack_one(&s, 4096, GIB))
		return false;
	h = pl_layer_header(s.ly[0]);
	p->map_at = h->first_cluster * pl_cluster_size(h);
	p->dir_at = h->dir_off;
	/* The first host cluster is the map's. */
	for (uint64_t i = 0; again && i < 256; i += 3)
		if (!set(i + (i == 0), 0x1111 + i) ||
		    (i == 0 && pl_layer_checkpoint(s.ly[0]) < 0))
			return false;
	if (again && pl_layer_checkpoint(s.ly[0]) < 0)
		return false;
	if (again)
		p->map_at = pl_layer_page_location(s.ly[0], 0);
	for (uint64_t i = 1; i < 256; i += 2)
		if (!set(i, 0x2222 + i))
			return false;
	if (pl_layer_flush(s.ly[0]) < 0)
		return false;
	stack_peek(&s, 0, p->headers, sizeof(p->headers), 0);
	if (again)
		look(p, 0);
	if (pl_layer_checkpoint(s.ly[0]) < 0)
		return false;
	if (!again) { /* where it went is known only now */
		p->map_at = pl_layer_page_location(s.ly[0], 0);
		memset(p->map[0], 0, PL_PAGE);
		memset(p->dir[0], 0, PL_PAGE);
	}
	look(p, 1);
	stack_abandon(&s, 0);
	stack_poke(&s, 0, p->headers, sizeof(p->headers), 0);
	return true;
}

/* Sector i is the new one when bit i is set. */
static void mix(uint64_t at, char pages[2][PL_PAGE], unsigned mask)
{
	char page[PL_PAGE];

	for (unsigned i = 0; i < PL_PAGE / SECTOR; i++)
		memcpy(page + i * SECTOR, pages[mask >> i & 1] + i * SECTOR,
		       SECTOR);
	stack_poke(&s, 0, page, PL_PAGE, at);
}

static bool whole(bool again)
{
	struct pl_entry e;
	uint64_t want;

	for (uint64_t i = 0; i < 256; i++) {
		want = i % 2			? 0x2222 + i :
		       again && i % 3 == 0 && i ? 0x1111 + i :
						  0;
		if (pl_layer_entry(s.ly[0], i, &e) < 0 || e.owned != want ||
		    !e.where != !want)
			return false;
	}
	return true;
}

static void heals(bool again, unsigned map_mask, unsigned dir_mask,
		  struct pages *p)
{
	mix(p->map_at, p->map, map_mask);
	mix(p->dir_at, p->dir, dir_mask);
	if (!ok(stack_open(&s, 0, 0) && whole(again)))
		printf("# map sectors %02x, directory sectors %02x\n", map_mask,
		       dir_mask);
	stack_abandon(&s, 0);
}

static void heals_all(bool again)
{
	static struct pages p;

	require(interrupted(&p, again));
	for (unsigned mask = 0; mask < 256; mask++) {
		heals(again, mask, 0xff, &p);
		heals(again, 0xff, mask, &p);
		heals(again, mask, 0, &p);
		heals(again, mask, (mask * 37 + 11) & 0xff, &p);
	}
	stack_fini(&s);
}

pl_test("heals pages torn by rewriting them, at any sectors (FMT-046)")
{
	heals_all(true);
}

pl_test("heals pages torn by writing them first, at any sectors (FMT-090)")
{
	heals_all(false);
}

pl_test("a healed layer goes on: flush, crash, close, open (FMT-046)")
{
	static struct pages p;

	require(interrupted(&p, true));
	mix(p.map_at, p.map, 0x5a);
	mix(p.dir_at, p.dir, 0xc3);
	require(stack_open(&s, 0, PL_LAYER_WRITE));
	ok(!pl_layer_trouble(s.ly[0])); /* the journal had the rest */
	ok(set(4, 0x44));
	is_int(pl_layer_flush(s.ly[0]), 0);
	stack_abandon(&s, 0);
	require(stack_open(&s, 0, PL_LAYER_WRITE));
	ok(set(4, 0));
	is_int(pl_layer_set(s.ly[0], 4, (struct pl_entry){ 0, 0 }, false), 0);
	ok(whole(true));
	ok(stack_close(&s, 0));
	require(stack_open(&s, 0, 0));
	ok(whole(true));
	stack_fini(&s);
}

/* A torn page plus a damaged sector that no record speaks of. */
pl_test("rejects what the journal can't heal, and names it (FMT-046)")
{
	static struct pages p;
	char byte = 0x55;

	require(interrupted(&p, true));
	stack_poke(&s, 0, &byte, 1, p.map_at + 16); /* entry 1: rewritten */
	ok(stack_open(&s, 0, 0) && whole(true));
	stack_abandon(&s, 0);
	stack_poke(&s, 0, &byte, 1, p.map_at + 16 * 12); /* 12: is not */
	ok(stack_try_open(&s, 0, 0, NULL) < 0);
	is_int(s.err.code, PL_E_CORRUPT);
	ok(strstr(s.err.msg, "map page 0") != NULL);
	mix(p.map_at, p.map, 0xff);
	stack_poke(&s, 0, &byte, 1, p.dir_at + 16 * 7);
	ok(stack_try_open(&s, 0, 0, NULL) < 0);
	is_int(s.err.code, PL_E_CORRUPT);
	ok(strstr(s.err.msg, "directory page 0") != NULL);
	stack_fini(&s);
}

int main(void)
{
	return pl_tap_main();
}
