/* SPDX-License-Identifier: Apache-2.0 */
/* state.json and the folders of the run directory. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ploopd/rundir.h"
#include "ploopd/state.h"
#include "tap.h"

#define IMAGE "0f3b9cde-1111-4222-8333-444455556666"
#define SNAPSHOT "aaaaaaaa-1111-4222-8333-444455556666"

static char root[] = "/tmp/ploop-state-XXXXXX";

static struct pl_attachment make(void)
{
	struct pl_attachment att = { .id = IMAGE, .image = IMAGE };

	snprintf(att.folder, sizeof(att.folder), "%s/%s", root, att.id);
	snprintf(att.directory, sizeof(att.directory), "/images/a");
	return att;
}

static json_t *load(const struct pl_attachment *att)
{
	char path[PATH_MAX];

	is_int(pl_rundir_file(path, att->folder, "state.json"), 0);
	return json_load_file(path, 0, NULL);
}

pl_test("writes valid JSON whatever the directory is called")
{
	struct pl_attachment att = make();
	struct pl_state st = { .state = "running", .worker = 7 };
	json_t *j;

	mkdir(att.folder, 0700);
	snprintf(att.directory, sizeof(att.directory),
		 "/a \"b\"\\\n\x01 \xc3\xa4 \xff \xed\xa0\x80");
	is_int(pl_state_write(&att, &st), 0);
	j = load(&att);
	require(j);
	is_str(json_string_value(json_object_get(j, "directory")),
	       "/a \"b\"\\\n\x01 \xc3\xa4 \xef\xbf\xbd "
	       "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
	ok(json_is_null(json_object_get(j, "snapshot")));
	ok(json_is_null(json_object_get(j, "device")));
	is_int(json_integer_value(json_object_get(j, "worker")), 7);
	json_decref(j);
	pl_rundir_remove(att.folder);
}

pl_test("writes the longest path there can be")
{
	struct pl_attachment att = make();
	struct pl_state st = { .state = "running" }, got;

	mkdir(att.folder, 0700);
	memset(att.directory, 'x', sizeof(att.directory) - 1);
	snprintf(st.device, sizeof(st.device), "/dev/loop3");
	is_int(pl_state_write(&att, &st), 0);
	is_int(pl_state_read(att.folder, &got), 0);
	is_str(got.device, "/dev/loop3");
	pl_rundir_remove(att.folder);
}

pl_test("a folder belongs to one claimer at a time")
{
	struct pl_attachment att = make();
	struct pl_failure f = { 0 };
	int a, b;

	is_int(pl_rundir_claim(att.folder, &a, &f), 0);
	ok(pl_rundir_live(att.folder));
	is_int(pl_rundir_claim(att.folder, &b, &f), -EBUSY);
	is_int(pl_rundir_take_over(att.folder, &b), -EBUSY);
	close(a);
	ok(!pl_rundir_live(att.folder));
	is_int(pl_rundir_take_over(att.folder, &b), 0);
	pl_rundir_remove(att.folder);
	close(b);
	is_int(access(att.folder, F_OK), -1);
	is_int(pl_rundir_take_over(att.folder, &b), -ENOENT);
}

/* Claims, checks that nobody else did, and removes, many times. */
static void fight(const char *folder)
{
	char file[PATH_MAX];
	struct pl_failure f;
	int lock, fd;

	pl_rundir_file(file, folder, "control");
	for (int i = 0; i < 200;) {
		if (pl_rundir_claim(folder, &lock, &f) < 0)
			continue;
		fd = open(file, O_CREAT | O_EXCL | O_RDWR, 0600);
		if (fd < 0)
			_exit(1);
		close(fd);
		pl_rundir_remove(folder);
		close(lock);
		i++;
	}
	_exit(0);
}

pl_test("four claimers that come and go never share a folder")
{
	struct pl_attachment att = make();
	pid_t pid[4];
	int status;

	for (int i = 0; i < 4; i++) {
		pid[i] = fork();
		if (pid[i] == 0)
			fight(att.folder);
	}
	for (int i = 0; i < 4; i++) {
		require(waitpid(pid[i], &status, 0) == pid[i]);
		is_int(status, 0);
	}
	is_int(access(att.folder, F_OK), -1);
}

pl_test("an attachment's id is one UUID or two")
{
	struct pl_attachment att = { .id = IMAGE "@" SNAPSHOT };

	is_int(pl_attachment_split(&att), 0);
	is_str(att.image, IMAGE);
	is_str(att.snapshot, SNAPSHOT);
	snprintf(att.id, sizeof(att.id), "%s", IMAGE);
	is_int(pl_attachment_split(&att), 0);
	is_str(att.snapshot, "");
	snprintf(att.id, sizeof(att.id),
		 "../../etc/xxxxxxxxxxxxxxxxxxxxxxxxxx");
	is_int(pl_attachment_split(&att), -EINVAL);
	snprintf(att.id, sizeof(att.id), "%s@..", IMAGE);
	is_int(pl_attachment_split(&att), -EINVAL);
}

int main(void)
{
	int status;

	if (!mkdtemp(root))
		return 1;
	status = pl_tap_main();
	rmdir(root);
	return status;
}
