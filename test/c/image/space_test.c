/* SPDX-License-Identifier: Apache-2.0 */
/* Which blocks cost host space, in the top and seen of the layers below. */
#include "scene.h"

static struct scene sc;

struct seen {
	unsigned pages;
	struct pl_space_page last;
};

static bool see(void *arg, const struct pl_space_page *page)
{
	struct seen *seen = arg;

	seen->pages++;
	seen->last = *page;
	return true;
}

static void look(struct pl_chain *ch, uint64_t first, struct seen *seen)
{
	memset(seen, 0, sizeof(*seen));
	is_int(pl_image_space(sc.img, ch, first, 1000, see, seen, &sc.err), 0);
}

pl_test("a block is in the top's bitmap or in that of the layers below")
{
	struct seen seen;
	char id[PL_ID_LEN + 1];

	require(scene_create(&sc, 1024 * MIB, 4096) && scene_open(&sc, true));
	require(scene_fill(sc.ch, 0, 64, 'a') == 0 &&
		scene_snapshot(&sc, "below", id));
	require(scene_fill(sc.ch, 4, 2, 'b') == 0);
	is_int(pl_chain_discard(sc.ch, 8 * 4096, 16 * 4096), 0);
	look(sc.ch, 0, &seen);
	is_int(seen.pages, 1);
	is_int(seen.last.page_no, 0);
	is_int((int64_t)seen.last.top[0], 0x30);
	is_int((int64_t)seen.last.below[0], (int64_t)~0xff0030ull);
	is_int((int64_t)seen.last.top[1], 0);
	scene_fini(&sc);
}

pl_test("pages without data are left out, and looking may start anywhere")
{
	struct seen seen;

	require(scene_create(&sc, 1024 * MIB, 4096) && scene_open(&sc, true));
	require(scene_fill(sc.ch, 3 * 256 * 64 + 65, 1, 'a') == 0);
	look(sc.ch, 0, &seen);
	is_int(seen.pages, 1);
	is_int(seen.last.page_no, 3);
	is_int((int64_t)seen.last.top[1], 2);
	look(sc.ch, 4, &seen);
	is_int(seen.pages, 0);
	look(sc.ch, 1000, &seen);
	is_int(seen.pages, 0);
	require(scene_close(&sc) && scene_open(&sc, false));
	look(NULL, 3, &seen);
	is_int((int64_t)seen.last.top[1], 2);
	scene_fini(&sc);
}

int main(void)
{
	return pl_tap_main();
}
