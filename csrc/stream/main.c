/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ploop-stream: what `ploop send` and `ploop receive` run, so that the bytes
 * never pass through Node.
 *
 *   ploop-stream send DIR [--snapshot ID] [--since ID] [--token T] [--level N]
 *	the stream goes to stdout
 *   ploop-stream receive DIR [--force]
 *	the stream comes from stdin. A whole image is put together in a hidden
 *	directory beside DIR, which gets its name at the end.
 *   ploop-stream token DIR
 *	what an interrupted receive of DIR can be gone on with
 *
 * All: --report FD writes JSON lines there: {"progress":{"done","total"}}, and
 * last {"ok":true,"result":{...}} or {"ok":false,"error":{"code","message"}}.
 * Without it an error goes to stderr. SIGINT, SIGTERM and SIGHUP end it in
 * order; the exit status is the code's (docs/errors.md).
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <libgen.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "store/store.h"
#include "stream/stream.h"

#define TELL_MS 100 /* between two lines of progress */

static volatile sig_atomic_t stopped;

struct job {
	const char *dir;
	struct pl_send_options send;
	struct pl_receive_options receive;
	int report; /* -1 = none */
	int64_t told_ms;
	struct pl_err err;
	char who[64];
};

/* ---- the pipe ---- */

static void on_signal(int number)
{
	(void)number;
	stopped = 1;
}

/* Without SA_RESTART: what waits in read or write returns. */
static void catch_signals(void)
{
	static const int numbers[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction act = { .sa_handler = on_signal };

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		sigaction(numbers[i], &act, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/* Somebody else may have made the pipe one that does not wait. */
static int wait_for(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	return poll(&p, 1, -1) < 0 && errno != EINTR ? -errno : 0;
}

static int write_all(void *arg, const void *buf, size_t len)
{
	const char *p = buf;
	ssize_t n;
	int rc = 0;

	(void)arg;
	while (len && rc == 0) {
		if (stopped)
			return -ECANCELED;
		n = write(STDOUT_FILENO, p, len);
		if (n < 0 && errno == EAGAIN)
			rc = wait_for(STDOUT_FILENO, POLLOUT);
		else if (n < 0 && errno != EINTR)
			rc = -errno;
		p += n > 0 ? n : 0;
		len -= n > 0 ? (size_t)n : 0;
	}
	return rc;
}

static int64_t read_some(void *arg, void *buf, size_t len)
{
	ssize_t n;
	int rc = 0;

	(void)arg;
	do {
		if (stopped)
			return -ECANCELED;
		n = read(STDIN_FILENO, buf, len);
		if (n < 0 && errno == EAGAIN)
			rc = wait_for(STDIN_FILENO, POLLIN);
		else if (n < 0 && errno != EINTR)
			rc = -errno;
	} while (n < 0 && rc == 0);
	return rc < 0 ? rc : n;
}

static const struct pl_stream_io stdio = { .write = write_all,
					   .read = read_some };

/* ---- reporting ---- */

/* Whoever reads this may be gone, which is not our concern. */
static void report(const struct job *job, json_t *line)
{
	char *text = json_dumps(line, JSON_COMPACT);

	if (text && job->report >= 0)
		dprintf(job->report, "%s\n", text);
	free(text);
	json_decref(line);
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool progress(void *arg, uint64_t done, uint64_t total)
{
	struct job *job = arg;
	int64_t now = now_ms();

	if (job->report >= 0 && now - job->told_ms >= TELL_MS) {
		job->told_ms = now;
		report(job,
		       json_pack("{s:{s:I, s:I}}", "progress", "done",
				 (json_int_t)done, "total", (json_int_t)total));
	}
	return !stopped;
}

static int fail(const struct job *job)
{
	if (job->report < 0)
		fprintf(stderr, "ploop-stream: %s\n", job->err.msg);
	report(job, json_pack("{s:b, s:{s:s, s:s+}}", "ok", 0, "error", "code",
			      pl_code_name(job->err.code), "message",
			      job->err.msg, ""));
	return pl_code_exit(job->err.code);
}

static json_t *text_or_null(const char *text)
{
	return *text ? json_string(text) : json_null();
}

/* All that this process has read, by the kernel's count; 0 = not told. */
static uint64_t bytes_read(void)
{
	FILE *f = fopen("/proc/self/io", "re");
	unsigned long long n = 0;

	if (f && fscanf(f, "rchar: %llu", &n) != 1)
		n = 0;
	if (f)
		fclose(f);
	return n;
}

static int done(const struct job *job, const struct pl_stream_result *r)
{
	report(job,
	       json_pack("{s:b, s:{s:o, s:s, s:i, s:I, s:I, s:I, s:I, s:b}}",
			 "ok", 1, "result", "from", text_or_null(r->from), "to",
			 r->to, "snapshots", (int)r->snapshots, "dataBytes",
			 (json_int_t)r->data_bytes, "zeroBytes",
			 (json_int_t)r->zero_bytes, "streamBytes",
			 (json_int_t)r->stream_bytes, "readBytes",
			 (json_int_t)bytes_read(), "resumed", r->resumed));
	return 0;
}

/* ---- send ---- */

/*
 * Under the image's lock, or, where its ploopd holds that, beside it: what is
 * read is sealed, and each layer's own lock keeps it as it is.
 */
static int open_for_sending(struct job *job, struct pl_dir *dir,
			    struct pl_image **ret)
{
	int rc = pl_image_open(ret, dir, 0, job->who, &job->err);

	if (rc < 0 && job->err.code == PL_E_BUSY)
		rc = pl_image_open(ret, dir, PL_IMAGE_NO_LOCK, job->who,
				   &job->err);
	return rc;
}

static int send(struct job *job)
{
	struct pl_stream_result result;
	struct pl_image *img = NULL;
	struct pl_dir *dir = NULL;
	int rc;

	if (isatty(STDOUT_FILENO)) {
		pl_err_set(&job->err, PL_E_INVALID_ARGUMENT, EINVAL,
			   "a stream is nothing for a terminal: send it to a "
			   "file or a pipe");
		return fail(job);
	}
	/* Fewer turns between the two sides; what is no pipe stays as it is. */
	fcntl(STDOUT_FILENO, F_SETPIPE_SZ, 1 << 20);
	job->send.progress = progress;
	job->send.arg = job;
	rc = pl_dir_open(&dir, job->dir, 0, NULL, &job->err);
	if (rc == 0)
		rc = open_for_sending(job, dir, &img);
	if (rc == 0)
		rc = pl_send(img, &job->send, &stdio, &result, &job->err);
	pl_image_close(img);
	pl_dir_close(dir);
	return rc < 0 ? fail(job) : done(job, &result);
}

/* ---- receive ---- */

/* "PARENT/.NAME.receiving"; false when dir has no name to go by. */
static bool hidden_name(const char *dir, char ret[4096])
{
	char a[4096], b[4096];
	const char *name;
	int n;

	if (strlen(dir) >= sizeof(a))
		return false;
	memcpy(a, dir, strlen(dir) + 1);
	memcpy(b, dir, strlen(dir) + 1);
	name = basename(b);
	if (!strcmp(name, ".") || !strcmp(name, "..") || !strcmp(name, "/"))
		return false;
	n = snprintf(ret, 4096, "%s/.%s.receiving", dirname(a), name);
	return n > 0 && n < 4096;
}

static int bad_target(struct job *job)
{
	return pl_err_set(&job->err, PL_E_INVALID_ARGUMENT, EINVAL,
			  "%s can't be the name of a new image", job->dir);
}

static int sync_parent(const char *path)
{
	char copy[4096];
	int fd, rc;

	snprintf(copy, sizeof(copy), "%s", path);
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	rc = fsync(fd) < 0 ? -errno : 0;
	close(fd);
	return rc;
}

static int exists(struct job *job)
{
	return pl_err_set(&job->err, PL_E_EXISTS, EEXIST,
			  "%s exists; a whole image is received under a new "
			  "name, and changes are sent with --since",
			  job->dir);
}

static int give_name(struct job *job, const char *hidden)
{
	int rc = renameat2(AT_FDCWD, hidden, AT_FDCWD, job->dir,
			   RENAME_NOREPLACE) < 0 ?
			 -errno :
			 0;

	if (rc == -EEXIST)
		return exists(job);
	if (rc == 0)
		rc = sync_parent(job->dir);
	return rc < 0 ? pl_err_sys(&job->err, rc, "%s", job->dir) : 0;
}

/* Complete, but the name was not given: a crash in between. */
static int drop_finished(struct job *job, struct pl_dir *dir)
{
	if (dir->ops->unlink(dir, "image.json") == 0)
		return dir->ops->sync(dir, "") < 0 ?
			       pl_err_sys(&job->err, -EIO, "%s", dir->path) :
			       0;
	return 0;
}

static int receive_whole(struct job *job, struct pl_receive *r,
			 struct pl_stream_result *result)
{
	unsigned flags = pl_receive_is_resumed(r) ? 0 : PL_OPEN_CREATE;
	struct pl_dir *dir = NULL;
	char hidden[4096];
	int rc;

	if (!hidden_name(job->dir, hidden))
		return bad_target(job);
	if (access(job->dir, F_OK) == 0)
		return exists(job);
	rc = pl_dir_open(&dir, hidden, flags, NULL, &job->err);
	if (rc == -ENOENT && flags)
		return pl_err_set(&job->err, PL_E_NOT_FOUND, ENOENT,
				  "%s: the directory it is to be in does not "
				  "exist",
				  job->dir);
	if (rc < 0 && job->err.code == PL_E_NOT_FOUND)
		return pl_err_set(&job->err, PL_E_NOT_FOUND, ENOENT,
				  "%s: no interrupted transfer was kept",
				  job->dir);
	if (rc == 0)
		rc = dir->ops->lock(dir, true, job->who, &job->err);
	if (rc == 0)
		rc = drop_finished(job, dir);
	if (rc == 0)
		rc = pl_receive_whole(r, dir, &job->receive, result, &job->err);
	if (rc == 0)
		rc = give_name(job, hidden);
	pl_dir_close(dir);
	return rc;
}

static int receive_changes(struct job *job, struct pl_receive *r,
			   struct pl_stream_result *result)
{
	struct pl_image *img = NULL;
	struct pl_dir *dir = NULL;
	int rc = pl_dir_open(&dir, job->dir, 0, NULL, &job->err);

	if (rc == 0)
		rc = pl_image_open(&img, dir, PL_IMAGE_WRITE, job->who,
				   &job->err);
	if (rc == 0)
		rc = pl_receive_changes(r, img, &job->receive, result,
					&job->err);
	pl_image_close(img);
	pl_dir_close(dir);
	return rc;
}

static int receive(struct job *job)
{
	struct pl_stream_result result;
	struct pl_receive *r = NULL;
	int rc;

	if (isatty(STDIN_FILENO)) {
		pl_err_set(&job->err, PL_E_INVALID_ARGUMENT, EINVAL,
			   "a stream does not come from a terminal: take it "
			   "from a file or a pipe");
		return fail(job);
	}
	job->receive.progress = progress;
	job->receive.arg = job;
	rc = pl_receive_open(&r, &stdio, &job->err);
	if (rc == 0)
		rc = pl_receive_is_whole(r) ? receive_whole(job, r, &result) :
					      receive_changes(job, r, &result);
	pl_receive_close(r);
	return rc < 0 ? fail(job) : done(job, &result);
}

/* ---- token ---- */

static int token(struct job *job)
{
	char text[PL_TOKEN_TEXT], hidden[4096];
	struct pl_dir *dir = NULL;
	int rc;

	if (!hidden_name(job->dir, hidden)) {
		bad_target(job);
		return fail(job);
	}
	rc = pl_dir_open(&dir, access(job->dir, F_OK) == 0 ? job->dir : hidden,
			 0, NULL, &job->err);
	if (rc == 0)
		rc = pl_receive_token(dir, text, &job->err);
	pl_dir_close(dir);
	if (rc < 0 && job->err.code == PL_E_NOT_FOUND)
		pl_err_set(&job->err, PL_E_NOT_FOUND, ENOENT,
			   "%s: no interrupted transfer was kept", job->dir);
	if (rc < 0)
		return fail(job);
	if (job->report < 0)
		printf("%s\n", text);
	report(job,
	       json_pack("{s:b, s:{s:s}}", "ok", 1, "result", "token", text));
	return 0;
}

/* ---- main ---- */

static int usage(void)
{
	fprintf(stderr,
		"usage: ploop-stream send DIR [--snapshot ID] [--since ID] "
		"[--token T] [--level N] [--report FD]\n"
		"       ploop-stream receive DIR [--force] [--report FD]\n"
		"       ploop-stream token DIR [--report FD]\n");
	return pl_code_exit(PL_E_INVALID_ARGUMENT);
}

static bool parse(struct job *job, int argc, char **argv)
{
	for (int i = 3; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : NULL;

		if (!strcmp(argv[i], "--force")) {
			job->receive.force = true;
			continue;
		}
		if (!value)
			return false;
		if (!strcmp(argv[i], "--snapshot"))
			job->send.snapshot = value;
		else if (!strcmp(argv[i], "--since"))
			job->send.since = value;
		else if (!strcmp(argv[i], "--token"))
			job->send.token = value;
		else if (!strcmp(argv[i], "--level"))
			job->send.level = atoi(value);
		else if (!strcmp(argv[i], "--report"))
			job->report = atoi(value);
		else
			return false;
		i++;
	}
	return job->send.level >= 0 && job->send.level <= 19;
}

int main(int argc, char **argv)
{
	struct job job = { .report = -1, .send.level = PL_STREAM_LEVEL };

	if (argc < 3 || !parse(&job, argc, argv))
		return usage();
	job.dir = argv[2];
	snprintf(job.who, sizeof(job.who), "ploop %.20s (pid %d)", argv[1],
		 (int)getpid());
	catch_signals();
	if (!strcmp(argv[1], "send"))
		return send(&job);
	if (!strcmp(argv[1], "receive"))
		return receive(&job);
	return strcmp(argv[1], "token") ? usage() : token(&job);
}
