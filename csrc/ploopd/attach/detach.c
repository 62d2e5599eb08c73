/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ploopd detach: takes the device away, asks the worker to close the
 * image, waits until keeper and worker are gone. Every step may have been done
 * already, by an earlier detach, by losetup -d or by a kill.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "ploopd/attach/imagelock.h"
#include "ploopd/attach/launch.h"
#include "ploopd/clock.h"
#include "ploopd/control/client.h"
#include "ploopd/device/via.h"
#include "ploopd/rundir.h"
#include "ploopd/state.h"

struct detach {
	const char *id, *folder;
	uint64_t end_ms;
	struct pl_failure *f;
};

static unsigned left_ms(const struct detach *d)
{
	uint64_t now = pl_now_ms();

	return now >= d->end_ms ? 0 : (unsigned)(d->end_ms - now);
}

/* ---- what the device is under ---- */

static int hide_file(const struct detach *d)
{
	char path[PATH_MAX];

	if (pl_rundir_file(path, d->folder, "mnt") < 0 ||
	    umount2(path, UMOUNT_NOFOLLOW) == 0 || errno != EBUSY)
		return 0;
	return pl_hint(d->f,
		       pl_err_set(&d->f->err, PL_E_MOUNTED, EBUSY,
				  "%s/disk is in use", path),
		       "End what uses it; find it with: fuser -vm %s", path);
}

static int remove_device(const struct detach *d)
{
	struct pl_blockdev dev;

	const struct pl_via *via = pl_via_find(d->id, &dev);

	if (via)
		return via->remove(&dev, d->id, pl_rundir_live(d->folder),
				   left_ms(d), d->f);
	return hide_file(d);
}

/* ---- limits ---- */

static void set_limits(const struct detach *d, json_int_t iops, json_int_t bps)
{
	char request[128];

	snprintf(request, sizeof(request),
		 "{\"id\":1,\"op\":\"set\",\"iops\":%lld,\"bps\":%lld}",
		 (long long)iops, (long long)bps);
	json_decref(pl_client_result(d->folder, left_ms(d), request));
}

/*
 * What a killed process left behind may wait for the limits of the device, and
 * we for that: it goes at once. If it all comes to nothing they are as before.
 */
static int remove_limited_device(const struct detach *d, json_t *stats)
{
	json_int_t iops = json_integer_value(json_object_get(stats, "iops"));
	json_int_t bps = json_integer_value(json_object_get(stats, "bps"));
	bool lift = json_integer_value(json_object_get(stats, "waiting")) > 0;
	int rc;

	if (lift)
		set_limits(d, 0, 0);
	rc = remove_device(d);
	if (lift && rc < 0)
		set_limits(d, iops, bps);
	return rc;
}

/* ---- quit ---- */

/* The answer to quit: 0, -EBUSY, -EAGAIN (no answer), -EIO (d->f is set). */
static int read_answer(const struct detach *d, json_t *j)
{
	json_t *error = json_object_get(j, "error");
	const char *code = json_string_value(json_object_get(error, "code"));
	const char *text = json_string_value(json_object_get(error, "message"));
	int rc = -EAGAIN;

	if (json_is_true(json_object_get(j, "ok")))
		rc = 0;
	else if (code && !strcmp(code, "BUSY"))
		rc = -EBUSY;
	else if (code)
		rc = pl_err_set(&d->f->err, PL_E_IO, EIO,
				"closing the image failed: %s",
				text ? text : code);
	return rc;
}

static int ask_to_quit(const struct detach *d)
{
	int fd = pl_client_connect(d->folder, left_ms(d)), rc;
	json_t *answer;

	if (fd < 0)
		return -EAGAIN;
	answer = pl_client_ask(fd, "{\"id\":1,\"op\":\"quit\"}", NULL);
	rc = read_answer(d, answer);
	json_decref(answer);
	close(fd);
	return rc;
}

/* The worker answers BUSY until the kernel has told it that the device closed
 * the file; no answer may mean that it is ending, or being replaced. */
static int quit(const struct detach *d)
{
	int rc = 0;

	while (pl_rundir_live(d->folder)) {
		rc = ask_to_quit(d);
		if (rc != -EBUSY && rc != -EAGAIN)
			return rc;
		if (left_ms(d) == 0)
			return rc;
		pl_sleep_ms(10);
	}
	return 0;
}

/* ---- the end ---- */

static int wait_gone(const struct detach *d)
{
	int lock, rc;

	while ((rc = pl_rundir_take_over(d->folder, &lock)) == -EBUSY) {
		if (left_ms(d) == 0)
			return pl_hint(d->f,
				       pl_err_set(&d->f->err, PL_E_TIMEOUT, 0,
						  "ploopd does not end"),
				       "Its log is %s/log; try again, or kill "
				       "the processes named in %s/state.json",
				       d->folder, d->folder);
		pl_sleep_ms(5);
	}
	if (rc == -ENOENT)
		return 0;
	if (rc < 0)
		return pl_err_sys(&d->f->err, rc, "%s", d->folder);
	/* Ours now: what processes that were killed left behind. It goes last,
	 * so that the command can be repeated. */
	rc = pl_imagelock_wait(d->id, d->folder, d->end_ms, d->f);
	if (rc == 0)
		pl_rundir_remove(d->folder);
	close(lock);
	return rc;
}

static bool stopped(const struct detach *d, struct pl_state *st)
{
	return pl_rundir_live(d->folder) && pl_state_read(d->folder, st) == 0 &&
	       st->worker == 0;
}

/* Without a worker the device's requests wait, and so would we. */
static int refuse_stopped(const struct detach *d, const struct pl_state *st)
{
	int rc = pl_err_set(&d->f->err, PL_E_DAEMON, 0,
			    "no worker serves the device: %s", st->last_error);

	return pl_hint(
		d->f, rc,
		"Remove the cause (log: %s/log), then: ploop recover %.100s. "
		"To give up what was not flushed: kill -KILL %d, unmount, "
		"and detach again",
		d->folder, st->directory, st->keeper);
}

/* Taking the device away would wait for them. */
static int refuse_full(const struct detach *d, unsigned waiting)
{
	struct pl_state st = { .directory = "" };

	pl_state_read(d->folder, &st);
	return pl_hint(d->f,
		       pl_err_set(&d->f->err, PL_E_NO_SPACE, ENOSPC,
				  "%u requests wait for room on the host, "
				  "whose file system is full",
				  waiting),
		       "Make room, and they go on; or let them fail: ploop set "
		       "%.100s --on-full error",
		       st.directory);
}

/* ---- NBD ---- */

static int refuse_clients(const struct detach *d, unsigned clients)
{
	struct pl_state st = { .directory = "" };

	pl_state_read(d->folder, &st);
	return pl_hint(d->f,
		       pl_err_set(&d->f->err, PL_E_MOUNTED, EBUSY,
				  "%u NBD client%s connected", clients,
				  clients == 1 ? " is" : "s are"),
		       "End them, or cut them off: ploop unexport %.200s "
		       "--force",
		       st.directory);
}

/* The names of their sockets stay when the image is gone. */
static void remove_sockets(json_t *exports)
{
	json_t *one;
	size_t i;

	json_array_foreach(json_object_get(exports, "exports"), i, one) {
		const char *path =
			json_string_value(json_object_get(one, "socket"));

		if (path)
			unlink(path);
	}
}

/* The device, unless somebody needs it. */
static int remove_unused(const struct detach *d, json_t *stats, json_t *exports)
{
	json_int_t full = json_integer_value(json_object_get(stats, "full"));
	json_int_t clients =
		json_integer_value(json_object_get(exports, "clients"));

	if (full)
		return refuse_full(d, (unsigned)full);
	if (clients)
		return refuse_clients(d, (unsigned)clients);
	return remove_limited_device(d, stats);
}

int pl_detach(const char *id, const char *folder, unsigned timeout_ms,
	      struct pl_failure *f)
{
	struct detach d = { id, folder, pl_now_ms() + timeout_ms, f };
	struct pl_blockdev dev;
	struct pl_state st;
	json_t *exports, *stats;
	int rc, quit_rc;

	if (access(folder, F_OK) < 0 && !pl_via_find(id, &dev))
		return pl_err_set(&f->err, PL_E_NOT_ATTACHED, 0,
				  "nothing is attached as %s", id);
	for (int i = 0; stopped(&d, &st); i++) {
		/* Between two workers this is so for a moment. */
		if (i == 50)
			return refuse_stopped(&d, &st);
		pl_sleep_ms(10);
	}
	stats = pl_client_result(folder, left_ms(&d),
				 "{\"id\":1,\"op\":\"stats\"}");
	exports = pl_client_result(folder, left_ms(&d),
				   "{\"id\":1,\"op\":\"exports\"}");
	rc = remove_unused(&d, stats, exports);
	json_decref(stats);
	if (rc < 0) {
		json_decref(exports);
		return rc;
	}
	quit_rc = quit(&d);
	rc = wait_gone(&d);
	if (rc == 0)
		remove_sockets(exports);
	json_decref(exports);
	return quit_rc == -EBUSY || quit_rc == -EAGAIN ? rc :
	       quit_rc < 0			       ? quit_rc :
							 rc;
}

int pl_detach_main(const char *id, const char *run_dir, unsigned timeout_ms)
{
	struct pl_attachment att = { 0 };
	struct pl_failure f = { 0 };
	int rc = pl_attachment_place(&att, id, run_dir, &f);

	if (rc == 0)
		rc = pl_detach(att.id, att.folder, timeout_ms, &f);
	return rc < 0 ? pl_report_failure(&f) : pl_report_result("{}");
}

/* ---- another size ---- */

static int show_size(const char *id, uint64_t size, struct pl_failure *f)
{
	struct pl_blockdev dev;
	const struct pl_via *via = pl_via_find(id, &dev);

	if (!via)
		return pl_err_set(&f->err, PL_E_NOT_ATTACHED, 0,
				  "there is no device of %s", id);
	return via->show_size(&dev, id, size, f);
}

int pl_capacity_main(const char *id, const char *run_dir, uint64_t size)
{
	struct pl_attachment att = { 0 };
	struct pl_failure f = { 0 };
	int rc = pl_attachment_place(&att, id, run_dir, &f);

	if (rc == 0)
		rc = show_size(att.id, size, &f);
	return rc < 0 ? pl_report_failure(&f) : pl_report_result("{}");
}
