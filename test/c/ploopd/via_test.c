/* SPDX-License-Identifier: Apache-2.0 */
/* The ways to make a device: their names, and what state.json keeps of them. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ploopd/rundir.h"
#include "ploopd/state.h"
#include "ploopd/device/via.h"
#include "tap.h"

#define IMAGE "0f3b9cde-1111-4222-8333-444455556666"

pl_test("every way that there is can be asked for by its name")
{
	char names[128], *rest = names, *word;
	unsigned n = 0;

	snprintf(names, sizeof(names), "%s", pl_via_names);
	while ((word = strsep(&rest, ", ")) != NULL) {
		if (!*word || !strcmp(word, "or") || !strcmp(word, "auto"))
			continue;
		require(pl_via_by_name(word));
		is_str(pl_via_by_name(word)->name, word);
		n++;
	}
	ok(n >= 2);
	ok(!pl_via_by_name("auto"));
}

pl_test("another word is refused with those that there are")
{
	struct pl_failure f = { 0 };
	const struct pl_via *via;

	is_int(pl_via_choose("nvme", &via, &f), -EINVAL);
	is_int(f.err.code, PL_E_INVALID_ARGUMENT);
	ok(strstr(f.err.msg, "'nvme'") && strstr(f.err.msg, pl_via_names));
}

pl_test("who gives a device to the next worker keeps what that needs")
{
	const struct pl_via *nbd = pl_via_by_name("nbd");

	ok(nbd->keeps_admin && nbd->keep && nbd->renew && nbd->survives());
	ok(!pl_via_by_name("fuse")->keeps_admin);
}

pl_test("state.json keeps it; without a word it is from before the choice")
{
	char root[] = "/tmp/ploop-via-XXXXXX", path[PATH_MAX];
	struct pl_attachment att = { .id = IMAGE, .image = IMAGE };
	struct pl_state st = { .state = "running" }, got;
	FILE *out;

	require(mkdtemp(root));
	snprintf(att.folder, sizeof(att.folder), "%s/%s", root, att.id);
	mkdir(att.folder, 0700);
	att.via = pl_via_by_name("nbd");
	is_int(pl_state_write(&att, &st), 0);
	is_int(pl_state_read(att.folder, &got), 0);
	is_str(got.via, "nbd");
	att.via = NULL;
	is_int(pl_state_write(&att, &st), 0);
	is_int(pl_state_read(att.folder, &got), 0);
	is_str(got.via, "");
	is_int(pl_rundir_file(path, att.folder, "state.json"), 0);
	out = fopen(path, "w");
	require(out);
	fputs("{\"state\":\"running\"}\n", out);
	fclose(out);
	is_int(pl_state_read(att.folder, &got), 0);
	is_str(got.via, "fuse");
	pl_rundir_remove(att.folder);
	rmdir(root);
}

int main(void)
{
	return pl_tap_main();
}
