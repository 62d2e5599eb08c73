/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the host's file system tools lack, for a mounted file system.
 *
 *   ploop-fsctl freeze MOUNTPOINT MAX_MS
 *	Freezes, prints "frozen", and thaws when a line or the end of its
 *	stdin arrives, at SIGTERM, SIGINT or SIGHUP, or after MAX_MS; then
 *	prints "thawed" (or "expired"). So a caller that dies, even of
 *	SIGKILL, leaves no frozen file system: its end of the pipe closes.
 *   ploop-fsctl trim-journal MOUNTPOINT
 *	ext4: checkpoints the journal and discards its blocks, which fstrim
 *	leaves alone. Needs Linux 5.14.
 *   ploop-fsctl free MOUNTPOINT
 *	ext4, xfs: one line "offset length", in bytes, for each extent of the
 *	disk that the file system has not given to anything.
 *   ploop-fsctl note MOUNTPOINT [TEXT]
 *	Keeps TEXT (empty: nothing) with the file system, durably, where only
 *	the host's administrator reaches it: an attribute trusted.ploop.limit
 *	of the root directory. Without TEXT prints what is kept.
 *
 * Exit status: 0 done; 1 failed, with one line "errno-name: text" on stderr;
 * 2 used wrongly; 3 the freeze expired.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/fsmap.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/xattr.h>
#include <unistd.h>

/* Of fs/ext4/ext4.h; no header of the system carries them yet. */
#define EXT4_IOC_CHECKPOINT _IOW('f', 43, uint32_t)
#define EXT4_IOC_CHECKPOINT_FLAG_DISCARD 0x1

static int fail(const char *what, const char *path)
{
	const char *name = strerrorname_np(errno);

	fprintf(stderr, "%s: %s %s: %s\n", name ? name : "?", what, path,
		strerror(errno));
	return 1;
}

static int open_mount_point(const char *path)
{
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* The signals that ask to thaw, as a descriptor. */
static int thaw_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -1;
	return signalfd(-1, &set, SFD_CLOEXEC);
}

static void say(const char *word)
{
	ssize_t n = write(STDOUT_FILENO, word, strlen(word));

	(void)n; /* nobody listens any more: that is the caller's affair */
}

static int freeze(const char *path, int max_ms)
{
	int fd = open_mount_point(path);

	if (fd < 0)
		return fail("cannot open", path);
	/* A caller that is gone must not kill us before the thaw. */
	signal(SIGPIPE, SIG_IGN);
	int sig = thaw_signals();

	if (sig < 0)
		return fail("cannot catch signals", path);
	/* While frozen, memory may be unobtainable: writeback waits for us. */
	mlockall(MCL_CURRENT);
	if (ioctl(fd, FIFREEZE, 0) < 0)
		return fail("cannot freeze", path);
	say("frozen\n");

	struct pollfd p[2] = {
		{ .fd = STDIN_FILENO, .events = POLLIN },
		{ .fd = sig, .events = POLLIN },
	};
	int n;

	do
		n = poll(p, 2, max_ms);
	while (n < 0 && errno == EINTR);

	/* EINVAL: somebody else thawed it. */
	if (ioctl(fd, FITHAW, 0) < 0 && errno != EINVAL)
		return fail("cannot thaw", path);
	say(n == 0 ? "expired\n" : "thawed\n");
	return n == 0 ? 3 : 0;
}

static int trim_journal(const char *path)
{
	uint32_t flags = EXT4_IOC_CHECKPOINT_FLAG_DISCARD;
	int fd = open_mount_point(path);

	if (fd < 0)
		return fail("cannot open", path);
	if (ioctl(fd, EXT4_IOC_CHECKPOINT, &flags) < 0)
		return fail("cannot trim the journal of", path);
	return 0;
}

#define FSMAP_RECORDS 1024u

static bool is_free(const struct fsmap *r)
{
	return (r->fmr_flags & FMR_OF_SPECIAL_OWNER) &&
	       r->fmr_owner == FMR_OWN_FREE;
}

static int list_free(const char *path)
{
	struct fsmap_head *head = calloc(1, fsmap_sizeof(FSMAP_RECORDS));
	int fd = open_mount_point(path), rc = 0;
	uint32_t device = 0;

	if (!head || fd < 0)
		return fail("cannot open", path);
	head->fmh_count = FSMAP_RECORDS;
	head->fmh_keys[1] = (struct fsmap){ .fmr_device = UINT32_MAX,
					    .fmr_flags = UINT32_MAX,
					    .fmr_physical = UINT64_MAX,
					    .fmr_owner = UINT64_MAX,
					    .fmr_offset = UINT64_MAX };
	do {
		if (ioctl(fd, FS_IOC_GETFSMAP, head) < 0) {
			rc = fail("cannot list the free space of", path);
			break;
		}
		for (uint32_t i = 0; i < head->fmh_entries; i++) {
			const struct fsmap *r = &head->fmh_recs[i];

			/* The first device is the data's; logs come after. */
			device = device ? device : r->fmr_device;
			if (r->fmr_device == device && is_free(r))
				printf("%llu %llu\n", r->fmr_physical,
				       r->fmr_length);
		}
		if (head->fmh_entries == 0 ||
		    head->fmh_recs[head->fmh_entries - 1].fmr_flags &
			    FMR_OF_LAST)
			break;
		fsmap_advance(head);
	} while (true);
	free(head);
	close(fd);
	return rc;
}

#define NOTE "trusted.ploop.limit"

static int show_note(int fd, const char *path)
{
	char text[256];
	ssize_t n = fgetxattr(fd, NOTE, text, sizeof(text));

	if (n < 0 && errno != ENODATA && errno != EOPNOTSUPP)
		return fail("cannot read what is kept of", path);
	if (n > 0)
		printf("%.*s\n", (int)n, text);
	return 0;
}

static int note(const char *path, const char *text)
{
	int fd = open_mount_point(path), rc;

	if (fd < 0)
		return fail("cannot open", path);
	if (!text)
		return show_note(fd, path);
	rc = *text ? fsetxattr(fd, NOTE, text, strlen(text), 0) :
		     fremovexattr(fd, NOTE);
	if ((rc < 0 && (*text || errno != ENODATA)) || fsync(fd) < 0)
		return fail("cannot keep a note with", path);
	return 0;
}

static int usage(void)
{
	fputs("usage: ploop-fsctl freeze MOUNTPOINT MAX_MS\n"
	      "       ploop-fsctl trim-journal MOUNTPOINT\n"
	      "       ploop-fsctl free MOUNTPOINT\n"
	      "       ploop-fsctl note MOUNTPOINT [TEXT]\n",
	      stderr);
	return 2;
}

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "freeze") == 0) {
		int max_ms = atoi(argv[3]);

		return max_ms > 0 ? freeze(argv[2], max_ms) : usage();
	}
	if (argc == 3 && strcmp(argv[1], "trim-journal") == 0)
		return trim_journal(argv[2]);
	if (argc == 3 && strcmp(argv[1], "free") == 0)
		return list_free(argv[2]);
	if ((argc == 3 || argc == 4) && strcmp(argv[1], "note") == 0)
		return note(argv[2], argv[3]);
	return usage();
}
