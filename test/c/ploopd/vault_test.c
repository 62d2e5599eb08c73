/* SPDX-License-Identifier: Apache-2.0 */
/* The vault: what is put in stays, also when a walk was cut short. */
#include "ploopd/keeper/vault.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tap.h"

static int in, out;
static char seen[200];
static const char *unwanted;

static bool look(void *arg, const char *key, const char *text,
		 const int fds[PL_VAULT_FDS])
{
	struct stat sb;

	(void)arg;
	snprintf(seen + strlen(seen), sizeof(seen) - strlen(seen),
		 "%s=%s:", key, text);
	for (unsigned i = 0; i < PL_VAULT_FDS; i++) {
		if (fds[i] < 0)
			continue;
		strcat(seen, fstat(fds[i], &sb) == 0 ? "f" : "!");
		close(fds[i]);
	}
	strcat(seen, " ");
	return !unwanted || strcmp(key, unwanted) != 0;
}

static const char *walk(void)
{
	seen[0] = '\0';
	is_int(pl_vault_walk(in, out, look, NULL), 0);
	return seen;
}

static void put(const char *key, const char *text, unsigned n)
{
	int fds[PL_VAULT_FDS] = { -1, -1 };

	for (unsigned i = 0; i < n; i++)
		fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	is_int(pl_vault_put(in, key, text, fds), 0);
	for (unsigned i = 0; i < n; i++)
		close(fds[i]);
}

static void begin(void)
{
	is_int(pl_vault_new(&in, &out), 0);
	unwanted = NULL;
}

static void end(void)
{
	close(in);
	close(out);
}

pl_test("keeps texts and descriptors in order, walk after walk")
{
	begin();
	is_str(walk(), "");
	put("a", "1", 1);
	put("b", "", 2);
	put("c", "3", 0);
	for (int i = 0; i < 3; i++)
		is_str(walk(), "a=1:f b=:ff c=3: ");
	end();
}

pl_test("forgets what a walk does not want any more, and nothing else")
{
	begin();
	put("a", "1", 1);
	put("b", "2", 1);
	unwanted = "a";
	is_str(walk(), "a=1:f b=2:f ");
	unwanted = NULL;
	is_str(walk(), "b=2:f ");
	put("a", "new", 1);
	is_str(walk(), "b=2:f a=new:f ");
	end();
}

/* A worker that is killed after it has sent an item again, and before it has
 * taken the first one away, leaves it twice. */
pl_test("tells an item once that a cut-short walk has left twice")
{
	begin();
	put("a", "1", 1);
	put("b", "2", 1);
	put("a", "1", 1);
	is_str(walk(), "a=1:f b=2:f ");
	is_str(walk(), "a=1:f b=2:f ");
	end();
}

pl_test("refuses what does not fit, and is not harmed by it")
{
	static char text[PL_VAULT_TEXT + 1];
	const int none[PL_VAULT_FDS] = { -1, -1 };

	begin();
	memset(text, 'x', sizeof(text) - 1);
	ok(pl_vault_put(in, "long", text, none) < 0);
	ok(pl_vault_put(in, text, "long key", none) < 0);
	put("a", "1", 1);
	is_str(walk(), "a=1:f ");
	end();
}

int main(void)
{
	return pl_tap_main();
}
