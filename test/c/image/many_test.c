/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors of very many layers: every command reads them, at once. */
#include <stdarg.h>
#include <time.h>

#include "scene.h"

static struct scene sc;

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* n layers, each on the one before. */
static char *chain_of(unsigned n)
{
	char *text = malloc(1000 + n * 200ull), *p = text;

	p += sprintf(p,
		     "{\"format\":\"ploop-image\",\"version\":1,\"id\":"
		     "\"33333333-3333-4333-8333-333333333333\","
		     "\"created\":\"2026-01-01T00:00:00Z\",\"size\":1048576,"
		     "\"blockSize\":4096,\"snapshots\":[],\"top\":"
		     "\"11111111-1111-4111-8111-%012u\",\"layers\":[",
		     n - 1);
	for (unsigned i = 0; i < n; i++) {
		p += sprintf(p,
			     "%s{\"id\":\"11111111-1111-4111-8111-%012u\","
			     "\"size\":1048576",
			     i ? "," : "", i);
		if (i)
			p += sprintf(p,
				     ",\"parent\":"
				     "\"11111111-1111-4111-8111-%012u\"",
				     i - 1);
		p += sprintf(p, "}");
	}
	sprintf(p, "]}");
	return text;
}

pl_test("reads a descriptor of 1000 layers in no time")
{
	char *text = chain_of(1000);
	double start;

	require(pl_dir_memory(&sc.dir, 0) == 0);
	scene_put_file(&sc, "image.json", text, strlen(text));
	free(text);
	start = now();
	ok(scene_says(&sc, pl_image_open(&sc.img, sc.dir, PL_IMAGE_NO_LOCK,
					 "test", &sc.err)));
	ok(now() - start < 1.0); /* 0.01 s on a slow machine */
	is_int(pl_image_desc(sc.img)->n_layers, 1000);
	scene_fini(&sc);
}

pl_test("refuses a chain of more than 1000 layers (FMT-063)")
{
	char *text = chain_of(1001);

	require(pl_dir_memory(&sc.dir, 0) == 0);
	scene_put_file(&sc, "image.json", text, strlen(text));
	free(text);
	ok(scene_says(&sc, pl_image_open(&sc.img, sc.dir, PL_IMAGE_NO_LOCK,
					 "test", &sc.err)));
	ok(pl_image_open_chain(sc.img, NULL, true, NULL, &sc.ch, &sc.err) < 0);
	is_int(sc.err.code, PL_E_UNSUPPORTED);
	ok(strstr(sc.err.msg, "1000") != NULL);
	scene_fini(&sc);
}

int main(void)
{
	return pl_tap_main();
}
