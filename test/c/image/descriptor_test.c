/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors that are refused, and those that are not. */
#include <jansson.h>

#include "scene.h"

#define A "11111111-1111-4111-8111-111111111111"
#define B "22222222-2222-4222-8222-222222222222"
#define S "33333333-3333-4333-8333-333333333333"

static const char good[] =
	"{\"format\":\"ploop-image\",\"version\":1,\"id\":\"" S "\","
	"\"label\":null,\"fs\":\"ext4\",\"created\":\"2026-01-01T00:00:00Z\","
	"\"size\":1048576,\"blockSize\":4096,\"top\":\"" B "\","
	"\"layers\":[{\"id\":\"" A "\",\"parent\":null,\"size\":1048576},"
	"{\"id\":\"" B "\",\"parent\":\"" A "\",\"size\":1048576}],"
	"\"snapshots\":[{\"id\":\"" S "\",\"layer\":\"" A "\",\"name\":\"one\","
	"\"description\":null,\"created\":\"2026-01-01T00:00:00Z\","
	"\"hidden\":false}]}";

static struct scene sc;

/* Opens a directory that holds only this descriptor; the error's code. */
static enum pl_code open_text(const char *text, size_t len)
{
	struct pl_image *img = NULL;
	int rc;

	memset(&sc.err, 0, sizeof(sc.err));
	if (pl_dir_memory(&sc.dir, 0) < 0)
		return PL_E_NO_MEMORY;
	scene_put_file(&sc, "image.json", text, len);
	rc = pl_image_open(&img, sc.dir, PL_IMAGE_NO_LOCK, "test", &sc.err);
	pl_image_close(img);
	pl_dir_close(sc.dir);
	return rc < 0 ? sc.err.code : PL_E_OK;
}

/* The object that `path` leads to, and its last word. */
static json_t *walk(json_t *at, char *path, char **last)
{
	char *word = strtok(path, "."), *next;

	while ((next = strtok(NULL, ".")) != NULL) {
		at = json_is_array(at) ?
			     json_array_get(at, (size_t)atoi(word)) :
			     json_object_get(at, word);
		word = next;
	}
	*last = word;
	return at;
}

/* The good one with one member replaced by JSON text, or removed (NULL). */
static void changed(const char *path, const char *value, enum pl_code want)
{
	json_t *root = json_loads(good, 0, NULL), *at;
	char copy[64], *last, *text;

	snprintf(copy, sizeof(copy), "%s", path);
	at = walk(root, copy, &last);
	if (value)
		json_object_set_new(at, last,
				    json_loads(value, JSON_DECODE_ANY, NULL));
	else
		json_object_del(at, last);
	text = json_dumps(root, 0);
	if (!ok(open_text(text, strlen(text)) == want))
		printf("# %s = %s: %s, not %s\n", path, value ? value : "-",
		       pl_code_name(sc.err.code), pl_code_name(want));
	free(text);
	json_decref(root);
}

#define bad(path, value) changed(path, value, PL_E_CORRUPT)
#define fine(path, value) changed(path, value, PL_E_OK)

pl_test("reads a good one, and one with members it does not know (FMT-109)")
{
	is_int(open_text(good, strlen(good)), PL_E_OK);
	fine("colour", "\"red\"");
	fine("snapshots.0.colour", "{}");
}

pl_test("reads one without what may be absent (FMT-103)")
{
	fine("label", NULL);
	fine("fs", NULL);
	fine("layers.0.parent", NULL);
	fine("snapshots.0.name", NULL);
	fine("snapshots.0.description", NULL);
	fine("snapshots.0.hidden", NULL);
	fine("snapshots.0.holder", "null");
	fine("snapshots.0.holder", "\"linux:12:34:boot:56\"");
	fine("snapshots", "[]");
}

pl_test("says of other formats and versions what they are (FMT-102)")
{
	changed("format", NULL, PL_E_NOT_AN_IMAGE);
	changed("format", "\"other\"", PL_E_NOT_AN_IMAGE);
	changed("version", "2", PL_E_UNSUPPORTED_FEATURE);
	ok(strstr(sc.err.msg, "version 2") != NULL);
	changed("version", NULL, PL_E_UNSUPPORTED_FEATURE);
	changed("version", "\"1\"", PL_E_UNSUPPORTED_FEATURE);
}

pl_test("rejects a member that is missing or of another kind (FMT-103)")
{
	static const char *const members[] = { "id",	    "created", "size",
					       "blockSize", "top",     "layers",
					       "snapshots" };

	for (unsigned i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		bad(members[i], NULL);
		bad(members[i], "null");
		bad(members[i], "true");
		bad(members[i], "{\"a\":1}");
	}
	bad("label", "5");
	bad("layers.0.size", NULL);
	bad("snapshots.0.created", NULL);
	bad("snapshots.0.hidden", "\"yes\"");
	bad("snapshots.0.holder", "{}");
	bad("layers", "[1]");
	bad("snapshots", "[null]");
}

pl_test("rejects sizes that are none (FMT-103)")
{
	bad("size", "0");
	bad("size", "-1");
	bad("size", "1.5");
	bad("size", "\"1048576\"");
	bad("layers.1.size", "0");
	bad("blockSize", "5000");
	bad("blockSize", "131072");
	bad("blockSize", "4294971392"); /* 2^32 + 4096 */
}

pl_test("rejects texts that are too long (FMT-103)")
{
	char text[400];

	memset(text, 'x', sizeof(text));
	text[0] = '"';
	memcpy(text + 65, "\"", 2);
	bad("label", text);
	memcpy(text + 64, "\"", 2);
	fine("label", text);
	bad("fs", text);
}

pl_test("rejects ids that are no uuids (FMT-104)")
{
	bad("id", "\"33333333-3333-4333-8333-33333333333\"");
	bad("id", "\"33333333-3333-4333-8333-33333333333A\"");
	bad("layers.0.id", "\"../../../../../../../../../../etc/pwd\"");
	bad("top", "\"\"");
}

pl_test("rejects layers that make no tree (FMT-105)")
{
	bad("layers", "[]");
	bad("layers.0.id", "\"" B "\"");
	bad("top", "\"" S "\"");
	bad("layers.1.parent", "\"" S "\"");
	bad("layers.0.parent", "\"" B "\"");
	bad("layers.1.parent", "\"" B "\"");
}

pl_test("rejects a snapshot of a layer that is not there (FMT-106)")
{
	bad("snapshots.0.layer", "\"" S "\"");
}

pl_test("rejects what is no JSON object (FMT-101)")
{
	static const char *const texts[] = { "",
					     "{",
					     "null",
					     "x",
					     "{}garbage",
					     "\xff\xfe{}",
					     "{\"a\":1,\"a\":2}" };
	char *large = calloc(1, (4 << 20) + 1);

	for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		is_int(open_text(texts[i], strlen(texts[i])), PL_E_CORRUPT);
	for (size_t n = 1; n < sizeof(good) - 1; n += 7)
		is_int(open_text(good, n), PL_E_CORRUPT);
	memset(large, ' ', 4 << 20);
	memcpy(large, good, sizeof(good) - 1);
	is_int(open_text(large, 4 << 20), PL_E_OK);
	large[4 << 20] = ' ';
	is_int(open_text(large, (4 << 20) + 1), PL_E_CORRUPT);
	free(large);
}

int main(void)
{
	return pl_tap_main();
}
