/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ploopd recover and ploopd upgrade: commands on an attachment that go through
 * its keeper. A keeper that was killed is replaced first.
 */
#include "ploopd/attach/manage.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "export/nbd/nbd_server.h"
#include "ploopd/attachment.h"
#include "ploopd/clock.h"
#include "ploopd/control/client.h"
#include "ploopd/device/via.h"
#include "ploopd/keeper/keeper.h"
#include "ploopd/rundir.h"
#include "ploopd/state.h"

#define LEAVE_MS 5000u /* for a keeper to take notice */
#define ASK_MS 2000u /* for a worker to name its exports */

struct manage {
	struct pl_attachment att;
	struct pl_failure f;
	uint64_t end_ms;
};

/* ---- what there is ---- */

bool pl_keeper_alive(const struct pl_state *st)
{
	char path[40], line[60] = "";
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", st->keeper);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, line, sizeof(line) - 1);
		close(fd);
	}
	/* "123 (ploopd-keeper) S ..."; Z: dead, and nobody has looked yet */
	return st->keeper > 0 && n > 0 && strstr(line, " (ploopd-keeper) ") &&
	       !strstr(line, " (ploopd-keeper) Z");
}

static int read_state(struct manage *m, struct pl_state *st)
{
	int rc = 0;

	if (access(m->att.folder, F_OK) < 0)
		return pl_err_set(&m->f.err, PL_E_NOT_ATTACHED, 0,
				  "nothing is attached as %s", m->att.id);
	if (pl_rundir_live(m->att.folder))
		rc = pl_state_read(m->att.folder, st);
	else
		return pl_hint(&m->f,
			       pl_err_set(&m->f.err, PL_E_DAEMON, 0,
					  "keeper and worker of %s are gone",
					  m->att.id),
			       "Unmount what is mounted from its device, then "
			       "use ploop detach, and attach again");
	if (rc < 0)
		return pl_err_sys(&m->f.err, rc, "%s/state.json",
				  m->att.folder);
	return 0;
}

static bool time_is_up(const struct manage *m)
{
	if (pl_now_ms() >= m->end_ms)
		return true;
	pl_sleep_ms(2);
	return false;
}

static int too_late(struct manage *m, const char *what)
{
	return pl_hint(&m->f,
		       pl_err_set(&m->f.err, PL_E_TIMEOUT, 0, "%s: %s",
				  m->att.id, what),
		       "Its log is %s/log", m->att.folder);
}

/* ---- a keeper for a worker that lost its own ---- */

static int not_adopted(struct manage *m, const struct pl_state *st, int status)
{
	/* ESRCH: whom it was to take over from has just left. */
	if (WIFEXITED(status) &&
	    (WEXITSTATUS(status) == EBUSY || WEXITSTATUS(status) == ESRCH))
		return pl_hint(&m->f,
			       pl_err_set(&m->f.err, PL_E_BUSY, EBUSY,
					  "%s: it is being attached, or "
					  "another command is giving it a new "
					  "keeper",
					  m->att.id),
			       "Try again in a moment");
	return pl_err_sys(&m->f.err,
			  WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO,
			  "a new keeper for worker %d", st->worker);
}

enum tls_use { TLS_UNUSED, TLS_USED, TLS_UNKNOWN };

/* By the exports that the worker serves. */
static enum tls_use use_of_tls(const struct manage *m,
			       const struct pl_state *st)
{
	enum tls_use use = TLS_UNUSED;
	json_t *result, *one;
	size_t i;

	if (st->worker <= 0 || !st->via[0])
		return TLS_UNKNOWN;
	result = pl_client_result(m->att.folder, ASK_MS,
				  "{\"id\":1,\"op\":\"exports\"}");
	json_array_foreach(json_object_get(result, "exports"), i, one)
		if (json_is_true(json_object_get(one, "tls")))
			use = TLS_USED;
	if (!result)
		use = TLS_UNKNOWN;
	json_decref(result);
	return use;
}

/* Once they have given up the host's files, keeper and workers cannot. */
static int load_tls(struct manage *m, const struct pl_state *st, bool renew)
{
	enum tls_use use = use_of_tls(m, st);
	struct pl_err err;
	int rc = use == TLS_UNUSED ? 0 : pl_nbd_tls_load(&err);

	if (rc < 0 && use == TLS_USED && renew) {
		m->f.err = err;
		return rc;
	}
	return 0;
}

static int adopt(struct manage *m, struct pl_state *st, bool renew)
{
	pid_t pid;
	int status;

	if (st->worker <= 0 && !pl_keeper_alive(st))
		return pl_err_set(&m->f.err, PL_E_DAEMON, 0,
				  "neither a keeper nor a worker of %s is left",
				  m->att.id);
	if (load_tls(m, st, renew) < 0)
		return -ENOENT;
	fflush(stdout);
	pid = fork();
	if (pid < 0)
		return pl_err_sys(&m->f.err, -errno, "cannot start a keeper");
	if (pid == 0) {
		memcpy(m->att.directory, st->directory, PATH_MAX);
		m->att.read_only = st->read_only;
		m->att.loop = st->device[0] != '\0';
		m->att.via = pl_via_by_name(st->via);
		m->att.bare = !m->att.via;
		pl_keeper_adopt(&m->att, renew);
	}
	while (pl_state_read(m->att.folder, st) < 0 || st->keeper != pid) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return not_adopted(m, st, status);
		if (time_is_up(m))
			return too_late(m, "the new keeper does not start");
	}
	return 0;
}

/* ---- recover ---- */

static int wait_running(struct manage *m, struct pl_state *st)
{
	uint64_t start = pl_now_ms();
	bool left = false; /* the state it was stopped in */

	while (pl_state_read(m->att.folder, st) < 0 ||
	       strcmp(st->state, "running") != 0) {
		left = left || strcmp(st->state, "stopped") != 0;
		if (!strcmp(st->state, "stopped") &&
		    (left || pl_now_ms() - start > LEAVE_MS))
			return pl_hint(&m->f,
				       pl_err_set(&m->f.err, PL_E_DAEMON, 0,
						  "the new workers died, too: "
						  "%s",
						  st->last_error),
				       "Its log is %s/log", m->att.folder);
		if (time_is_up(m))
			return too_late(m, "no worker serves the device yet");
	}
	return 0;
}

static int recover(struct manage *m, struct pl_state *st)
{
	int rc = read_state(m, st);

	if (rc < 0)
		return rc;
	if (!pl_keeper_alive(st))
		rc = adopt(m, st, false);
	else if (kill(st->keeper, SIGUSR1) < 0)
		rc = pl_err_sys(&m->f.err, -errno, "keeper %d", st->keeper);
	return rc < 0 ? rc : wait_running(m, st);
}

/* ---- upgrade ---- */

static int wait_upgraded(struct manage *m, unsigned handovers,
			 struct pl_state *st)
{
	while (pl_state_read(m->att.folder, st) < 0 ||
	       st->handovers == handovers || strcmp(st->state, "running")) {
		if (!pl_keeper_alive(st))
			return pl_hint(&m->f,
				       pl_err_set(&m->f.err, PL_E_DAEMON, 0,
						  "the new keeper ended; the "
						  "old worker goes on"),
				       "Use ploop recover; the log is %s/log",
				       m->att.folder);
		if (time_is_up(m))
			return too_late(m, "the new worker does not serve yet");
	}
	return 0;
}

static int upgrade(struct manage *m, struct pl_state *st)
{
	unsigned handovers;
	int rc = read_state(m, st);

	if (rc == 0 && st->handover != PL_HANDOVER)
		return pl_hint(&m->f,
			       pl_err_set(&m->f.err, PL_E_UNSUPPORTED, 0,
					  "the running ploopd hands over in "
					  "way %u, this one takes over in way "
					  "%d",
					  st->handover, PL_HANDOVER),
			       "Detach the image and attach it again");
	handovers = st->handovers;
	if (rc == 0)
		rc = adopt(m, st, true);
	return rc < 0 ? rc : wait_upgraded(m, handovers, st);
}

int pl_manage_add_tls(const struct pl_attachment *att, unsigned timeout_ms,
		      struct pl_failure *f)
{
	struct manage m = { .att = *att, .end_ms = pl_now_ms() + timeout_ms };
	struct pl_state st = { .state = "" };
	int rc = pl_nbd_tls_load(&f->err);

	if (rc < 0)
		return rc;
	rc = upgrade(&m, &st);
	if (rc < 0)
		*f = m.f;
	return rc;
}

/* ---- command line ---- */

int pl_manage_main(const char *command, const char *id, const char *run_dir,
		   unsigned timeout_ms)
{
	struct manage m = { .end_ms = pl_now_ms() + timeout_ms };
	bool upgrading = !strcmp(command, "upgrade");
	struct pl_state st = { .state = "" };
	char text[400];
	int rc = pl_attachment_place(&m.att, id, run_dir, &m.f);

	if (rc == 0)
		rc = upgrading ? upgrade(&m, &st) : recover(&m, &st);
	if (rc < 0)
		return pl_report_failure(&m.f);
	snprintf(text, sizeof(text),
		 "{\"attachment\":\"%s\",\"keeper\":%d,\"worker\":%d,"
		 "\"version\":\"%s\",\"handoverMs\":%u}",
		 m.att.id, st.keeper, st.worker, PL_VERSION, st.handover_ms);
	return pl_report_result(text);
}
