/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ploopd attach: makes everything that keeper and worker need, starts them,
 * and makes a block device of what they serve (via.h).
 *
 * Signals are held back until the end: whatever the moment of a Control-C,
 * either all is there or all is taken down again. A kill -9 of the launcher
 * before the device is announced makes the keeper take everything down.
 */
#include "ploopd/attach/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "export/nbd/nbd_server.h"
#include "layer/layer.h"
#include "ploopd/attach/openimage.h"
#include "ploopd/clock.h"
#include "ploopd/device/fusemount.h"
#include "ploopd/device/via.h"
#include "ploopd/keeper/fds.h"
#include "ploopd/keeper/keeper.h"
#include "ploopd/keeper/shared.h"
#include "ploopd/keeper/vault.h"
#include "ploopd/rundir.h"

#define START_MS 60000u /* for a worker to open the image */
#define END_MS 10000u /* for a failed start to be taken down */

struct launch {
	struct pl_attachment att;
	struct pl_failure f;
	struct pl_keeper_fds fd;
	int socket; /* to the keeper */
	int signal_fd;
	struct pl_making making;
	pid_t keeper;
	char ready[PL_READY_MAX + 1];
	struct pl_blockdev dev;
};

/* ---- what the keeper will hold ---- */

static int listen_control(struct launch *l)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int dir = open(l->att.folder, O_PATH | O_DIRECTORY | O_CLOEXEC), rc = 0;
	mode_t mask = umask(0177);

	l->fd.control =
		socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* Through the descriptor: a socket's path has 107 characters. */
	snprintf(addr.sun_path, sizeof(addr.sun_path),
		 "/proc/self/fd/%d/control", dir);
	if (dir < 0 || l->fd.control < 0 ||
	    (unlinkat(dir, "control", 0) < 0 && errno != ENOENT) ||
	    bind(l->fd.control, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    listen(l->fd.control, 64) < 0)
		rc = pl_err_sys(&l->f.err, -errno, "%s/control", l->att.folder);
	umask(mask);
	if (dir >= 0)
		close(dir);
	return rc;
}

static int make_memory(struct launch *l)
{
	int rc;

	l->fd.pending =
		pl_fds_memory("ploop-pending", PL_PENDING_SIZE, &l->f.err);
	if (l->fd.pending < 0)
		return l->fd.pending;
	l->fd.session = pl_fds_memory("ploop-session", sizeof(struct pl_shared),
				      &l->f.err);
	if (l->fd.session < 0)
		return l->fd.session;
	rc = pl_vault_new(&l->fd.vault_in, &l->fd.vault_out);
	return rc < 0 ? pl_err_sys(&l->f.err, rc, "vault") : 0;
}

/* In the place of a device's descriptor. */
static int open_nothing(struct launch *l)
{
	l->fd.device = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (l->fd.device < 0)
		return pl_err_sys(&l->f.err, -errno, "/dev/null");
	return 0;
}

static int make_parts(struct launch *l)
{
	int pair[2], rc;

	l->fd.image_dir = -1; /* the keeper opens it */
	l->making = (struct pl_making){
		.att = &l->att,
		.device_fd = -1,
		.own_fd = -1,
	};
	if (l->att.bare)
		rc = open_nothing(l);
	else
		rc = l->att.via->prepare(&l->making, &l->f);
	if (!l->att.bare)
		l->fd.device = l->making.device_fd;
	if (rc == 0)
		rc = make_memory(l);
	if (rc == 0)
		rc = listen_control(l);
	if (rc < 0)
		return rc;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return pl_err_sys(&l->f.err, -errno, "launch socket");
	l->fd.launch = pair[0];
	l->socket = pair[1];
	return 0;
}

/* ---- the folder ---- */

static int remove_stale_device(struct launch *l)
{
	struct pl_blockdev dev;

	const struct pl_via *via = pl_via_find(l->att.id, &dev);

	if (!via || via->remove(&dev, l->att.id, false, END_MS, &l->f) == 0)
		return 0;
	pl_err_wrap(&l->f.err,
		    "%s was attached by a ploopd that was killed, and its "
		    "device is still there",
		    l->att.directory);
	return -EBUSY;
}

static int claim_folder(struct launch *l)
{
	int rc = pl_rundir_claim(l->att.folder, &l->fd.keeper_lock, &l->f);

	if (rc == -EBUSY)
		return pl_attached_error(&l->att, &l->f);
	if (rc < 0)
		return rc;
	return remove_stale_device(l);
}

/* ---- keeper and worker ---- */

static int start_keeper(struct launch *l)
{
	l->keeper = fork();
	if (l->keeper < 0)
		return pl_err_sys(&l->f.err, -errno, "cannot start ploopd");
	if (l->keeper == 0)
		pl_keeper_main(&l->att, &l->fd);
	close(l->fd.launch);
	return 0;
}

static int interrupted(struct launch *l)
{
	return pl_err_set(&l->f.err, PL_E_INTERRUPTED, EINTR,
			  "attaching %s was interrupted", l->att.directory);
}

/* A message of the keeper, without its first byte, into l->ready. */
static int wait_message(struct launch *l, char what, unsigned timeout_ms)
{
	struct pollfd p[] = { { l->socket, POLLIN, 0 },
			      { what == 'R' ? l->signal_fd : -1, POLLIN, 0 } };
	ssize_t n;
	int rc = poll(p, 2, (int)timeout_ms);

	if (rc == 0)
		return pl_hint(&l->f,
			       pl_err_set(&l->f.err, PL_E_TIMEOUT, 0,
					  "ploopd did not open %s within %u s",
					  l->att.directory, timeout_ms / 1000),
			       "Its log is %s/log", l->att.folder);
	if (rc > 0 && p[1].revents)
		return interrupted(l);
	n = recv(l->socket, l->ready, sizeof(l->ready) - 1, 0);
	l->ready[n > 0 ? n : 0] = '\0';
	if (n > 0 && l->ready[0] == what)
		return 0;
	return pl_hint(&l->f,
		       pl_err_set(&l->f.err, PL_E_DAEMON, 0,
				  "ploopd ended before %s was attached",
				  l->att.directory),
		       "Is there enough memory? Try: ploop check %s",
		       l->att.directory);
}

static int number_of_code(const char *name)
{
	for (int code = 1; code < 200; code++)
		if (!strcmp(pl_code_name((enum pl_code)code), name))
			return code;
	return PL_E_DAEMON;
}

static int wait_ready(struct launch *l)
{
	const char *code, *text;
	json_t *j;
	int rc = wait_message(l, 'R', START_MS);

	if (rc < 0)
		return rc;
	j = json_loads(l->ready + 1, 0, NULL);
	code = json_string_value(json_object_get(j, "code"));
	text = json_string_value(json_object_get(j, "message"));
	if (!json_is_true(json_object_get(j, "ok")))
		rc = pl_err_set(&l->f.err,
				(enum pl_code)number_of_code(code ? code : ""),
				0, "%s", text ? text : "ploopd failed");
	l->making.size =
		(uint64_t)json_integer_value(json_object_get(j, "size"));
	l->making.block_size =
		(uint32_t)json_integer_value(json_object_get(j, "blockSize"));
	l->making.worker = (int)json_integer_value(json_object_get(j, "pid"));
	json_decref(j);
	return rc;
}

/* Waits for a keeper that is taking everything down, if there is one. */
static void wait_keeper(struct launch *l)
{
	uint64_t end = pl_now_ms() + END_MS;

	close(l->socket);
	while (l->keeper > 0 && waitpid(l->keeper, NULL, WNOHANG) == 0 &&
	       pl_now_ms() < end)
		pl_sleep_ms(5);
}

/* ---- the device ---- */

static int announce(struct launch *l)
{
	char msg[64];
	int n = snprintf(msg, sizeof(msg), "D%s %s", l->dev.path, l->dev.devno);

	return send(l->socket, msg, (size_t)n, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

struct outcome {
	int rc;
	struct pl_failure f;
	struct pl_blockdev dev;
};

/* In a child: it may wait for a worker that hangs, and be killed for it. */
static void configure_device(struct launch *l, int report)
{
	struct outcome o = { .rc = 0 };

	o.rc = l->att.via->make(&l->making, &l->dev, &o.f);
	if (o.rc == 0)
		o.rc = announce(l);
	o.dev = l->dev;
	if (write(report, &o, sizeof(o)) != sizeof(o))
		_exit(1);
	_exit(0);
}

static int make_device(struct launch *l)
{
	struct outcome o;
	struct pollfd p;
	int pipe_fd[2];
	pid_t pid;

	if (pipe2(pipe_fd, O_CLOEXEC) < 0 || (pid = fork()) < 0)
		return pl_err_sys(&l->f.err, -errno, "cannot start a process");
	if (pid == 0)
		configure_device(l, pipe_fd[1]);
	close(pipe_fd[1]);
	p = (struct pollfd){ pipe_fd[0], POLLIN, 0 };
	if (poll(&p, 1, START_MS) <= 0 ||
	    read(pipe_fd[0], &o, sizeof(o)) != sizeof(o)) {
		kill(pid, SIGKILL);
		return pl_err_set(
			&l->f.err, PL_E_TIMEOUT, 0,
			"no device could be set up within %u s (--via %s)",
			START_MS / 1000, l->att.via->name);
	}
	waitpid(pid, NULL, 0);
	close(pipe_fd[0]);
	l->dev = o.dev;
	if (o.rc < 0)
		l->f = o.f;
	return o.rc;
}

static int show_file(struct launch *l)
{
	char path[PATH_MAX];

	if (pl_rundir_file(path, l->att.folder, "mnt") < 0 ||
	    (mkdir(path, 0700) < 0 && errno != EEXIST))
		return pl_err_sys(&l->f.err, -errno, "%s/mnt", l->att.folder);
	if (pl_fuse_mount_show(l->making.own_fd, path, &l->f) < 0)
		return -errno;
	return announce(l);
}

/* ---- all of it ---- */

static int launch(struct launch *l)
{
	int rc = wait_ready(l);
	char ready[sizeof(l->ready)];

	if (rc < 0)
		return rc;
	memcpy(ready, l->ready, sizeof(ready));
	rc = l->att.bare ? announce(l) :
	     l->att.loop ? make_device(l) :
			   show_file(l);
	if (rc == 0)
		rc = wait_message(l, 'A', START_MS);
	memcpy(l->ready, ready, sizeof(ready));
	return rc;
}

static bool interrupt_pending(struct launch *l)
{
	struct pollfd p = { l->signal_fd, POLLIN, 0 };

	return poll(&p, 1, 0) > 0;
}

static void hold_signals(struct launch *l)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	l->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int choose_via(struct launch *l, const struct pl_attach_options *opt)
{
	const char *name = opt->loop ? opt->via : "fuse";

	return opt->bare ? 0 : pl_via_choose(name, &l->att.via, &l->f);
}

/* What is there for exports alone may well need it; else see offer.c. */
static void load_tls(const struct pl_attach_options *opt)
{
	struct pl_err err;

	if (opt->bare)
		pl_nbd_tls_load(&err);
}

static int attach(struct launch *l, const struct pl_attach_options *opt)
{
	int rc = pl_open_for_attach(opt, &l->att, &l->fd.image_lock, &l->f);

	if (rc == 0)
		rc = choose_via(l, opt);
	if (rc == 0)
		rc = claim_folder(l);
	if (rc < 0)
		return rc;
	load_tls(opt);
	rc = make_parts(l);
	if (rc == 0)
		rc = start_keeper(l);
	if (rc < 0) {
		pl_rundir_remove(l->att.folder);
		return rc;
	}
	rc = launch(l);
	if (rc < 0) {
		wait_keeper(l);
		if (l->att.via && l->att.via->discard)
			l->att.via->discard(l->att.id);
	} else if (interrupt_pending(l) &&
		   pl_detach(l->att.id, l->att.folder, END_MS, &l->f) == 0)
		rc = interrupted(l);
	return rc;
}

static void set_text(json_t *j, const char *name, const char *value)
{
	json_object_set_new(j, name, *value ? json_string(value) : json_null());
}

static int report(struct launch *l)
{
	json_t *j = json_object(), *ready = json_loads(l->ready + 1, 0, NULL);
	char file[PATH_MAX];
	char *text;
	int status;

	set_text(j, "attachment", l->att.id);
	set_text(j, "via", l->att.via ? l->att.via->name : "");
	set_text(j, "device", l->dev.path);
	set_text(j, "devno", l->dev.devno);
	json_object_set_new(j, "keeper", json_integer(l->keeper));
	json_object_set(j, "worker", json_object_get(ready, "pid"));
	json_object_set(j, "size", json_object_get(ready, "size"));
	json_object_set(j, "blockSize", json_object_get(ready, "blockSize"));
	json_object_set_new(j, "readOnly", json_boolean(l->att.read_only));
	if (!l->att.loop && !l->att.bare &&
	    pl_rundir_file(file, l->att.folder, "mnt/disk") == 0)
		set_text(j, "file", file);
	text = json_dumps(j, JSON_COMPACT);
	status = pl_report_result(text ? text : "null");
	free(text);
	json_decref(ready);
	json_decref(j);
	return status;
}

int pl_attach_main(const struct pl_attach_options *opt)
{
	static struct launch l;
	int status;

	hold_signals(&l);
	umask(077);
	status = attach(&l, opt) < 0 ? pl_report_failure(&l.f) : report(&l);
	fflush(stdout);
	/* At once: image and lock are the keeper's, there is nothing to undo. */
	_exit(status);
}
