/* SPDX-License-Identifier: Apache-2.0 */
/* The top of a clone becomes the image's: work aside that counts as a whole. */
#include <errno.h>

#include "image/adopt.h"
#include "scratch.h"
#include "scene.h"
#include "store/faulty.h"

static struct scene sc, clone;
static struct pl_faults *faults;

/* 'a' all over in the image, 'b' in the first blocks of its clone. */
static bool begin(void)
{
	struct pl_image_params params = { .size = 10 * MIB };
	char id[PL_ID_LEN + 1], name[2][20];
	static unsigned round;
	struct pl_dir *real;

	memset(&clone, 0, sizeof(clone));
	memset(&sc, 0, sizeof(sc));
	snprintf(name[0], sizeof(name[0]), "image%u", ++round);
	snprintf(name[1], sizeof(name[1]), "clone%u", round);
	if (pl_dir_open(&sc.dir, scratch_file(name[0]), PL_OPEN_CREATE, NULL,
			&sc.err) < 0 ||
	    !scene_says(&sc, pl_image_create(sc.dir, &params, &sc.err)) ||
	    !scene_open(&sc, true) || scene_fill(sc.ch, 0, 2560, 'a') < 0 ||
	    !scene_snapshot(&sc, "base", id) || !scene_close(&sc) ||
	    pl_dir_open(&clone.dir, scratch_file(name[1]), PL_OPEN_CREATE, NULL,
			&sc.err) < 0 ||
	    !scene_says(&sc, pl_image_clone(sc.dir, "base", clone.dir, NULL,
					    false, &sc.err)))
		return false;
	real = sc.dir;
	return pl_dir_faulty(&sc.dir, real, &faults) == 0 &&
	       scene_open(&clone, true) &&
	       scene_fill(clone.ch, 0, 100, 'b') == 0 && scene_close(&clone) &&
	       scene_open(&sc, false);
}

static void end(void)
{
	scene_fini(&sc);
	scene_fini(&clone);
}

static int adopt(void)
{
	return pl_image_adopt_top(sc.img, clone.dir, &sc.err);
}

static void holds_whole(char first)
{
	pl_image_close(sc.img);
	sc.img = NULL;
	is_int(scene_check(&sc), 0);
	if (ok(scene_open(&sc, true)))
		ok(scene_holds(sc.ch, 0, 100, first) &&
		   scene_holds(sc.ch, 100, 2460, 'a'));
	is_int(scene_layer_files(&sc), 2);
}

pl_test("what a clone has become takes the place of the top")
{
	require(begin());
	ok(scene_says(&sc, adopt()));
	holds_whole('b');
	end();
}

pl_test("not when the image was written to since")
{
	require(begin());
	pl_image_close(sc.img);
	require(scene_open(&sc, true));
	is_int(scene_fill(sc.ch, 5, 1, 'x'), 0);
	is_int(pl_chain_close(sc.ch, &sc.err), 0);
	sc.ch = NULL;
	is_int(adopt(), -EBUSY);
	is_int(sc.err.code, PL_E_BUSY);
	end();
}

pl_test("any fault leaves the one or the other")
{
	bool fired = true, adopted;

	for (unsigned n = 1; fired && n < 100; n++) {
		require(begin());
		pl_faults_arm(faults, PL_FAULT_EIO, n);
		adopted = adopt() == 0;
		fired = pl_faults_fired(faults) != NULL;
		ok(adopted || fired);
		adopted = strcmp(pl_image_desc(sc.img)->top,
				 pl_image_desc(sc.img)->layers[1].id) == 0 &&
			  adopted;
		pl_faults_arm(faults, PL_FAULT_EIO, 0);
		pl_image_close(sc.img);
		sc.img = NULL;
		is_int(scene_check(&sc), 0);
		if (ok(scene_open(&sc, true)))
			ok(scene_holds(sc.ch, 0, 100, 'b') ||
			   (!adopted && scene_holds(sc.ch, 0, 100, 'a')));
		ok(scene_holds(sc.ch, 100, 2460, 'a'));
		is_int(scene_layer_files(&sc), 2);
		end();
	}
	ok(!fired);
}

int main(void)
{
	return pl_tap_main();
}
