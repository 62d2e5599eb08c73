/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vault: see vault.h.
 *
 * A message is the number of the walk that sent it, the key, the text. A walk
 * looks at the first message (which duplicates its descriptors), sends it again
 * with its own number, takes the first one away, and ends at a message that has
 * its number already.
 */
#include "ploopd/keeper/vault.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define KEY_MAX 256u
#define ITEMS_MAX 64u

struct message {
	uint32_t walk;
	char key[KEY_MAX];
	char text[PL_VAULT_TEXT];
};

int pl_vault_new(int *ret_in, int *ret_out)
{
	int fd[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK,
		       0, fd) < 0)
		return -errno;
	*ret_in = fd[0];
	*ret_out = fd[1];
	return 0;
}

static int put(int in, const struct message *m, const int fds[PL_VAULT_FDS])
{
	union pl_fds_control control;
	struct iovec iov = { (void *)(uintptr_t)m,
			     offsetof(struct message, text) + strlen(m->text) +
				     1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	pl_fds_pack(&msg, &control, fds);
	return sendmsg(in, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

int pl_vault_put(int in, const char *key, const char *text,
		 const int fds[PL_VAULT_FDS])
{
	struct message *m = calloc(1, sizeof(*m));
	int rc = -ENAMETOOLONG;

	if (!m)
		return -ENOMEM;
	if (strlen(key) < KEY_MAX && strlen(text) < PL_VAULT_TEXT) {
		memcpy(m->key, key, strlen(key));
		memcpy(m->text, text, strlen(text));
		rc = put(in, m, fds);
	}
	free(m);
	return rc;
}

/* The first message; it stays. 0 or -errno, -EAGAIN: the vault is empty. */
static int look(int out, struct message *m, int fds[PL_VAULT_FDS])
{
	union pl_fds_control control;
	struct iovec iov = { m, sizeof(*m) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.buf,
			      .msg_controllen = sizeof(control.buf) };
	ssize_t n;

	memset(m, 0, sizeof(*m));
	for (unsigned i = 0; i < PL_VAULT_FDS; i++)
		fds[i] = -1;
	n = recvmsg(out, &msg, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n <= 0)
		return n < 0 ? -errno : -EAGAIN;
	m->key[KEY_MAX - 1] = m->text[PL_VAULT_TEXT - 1] = '\0';
	pl_fds_unpack(&msg, fds);
	return 0;
}

static void take_away(int out)
{
	char byte;

	/* Without room for them its descriptors are closed. */
	recv(out, &byte, 1, MSG_DONTWAIT);
}

static void close_all(const int fds[PL_VAULT_FDS])
{
	for (unsigned i = 0; i < PL_VAULT_FDS; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

struct walk {
	int in, out;
	uint32_t number;
	unsigned n_seen;
	char seen[ITEMS_MAX][KEY_MAX];
};

static bool seen_before(struct walk *w, const char *key)
{
	for (unsigned i = 0; i < w->n_seen; i++)
		if (!strcmp(w->seen[i], key))
			return true;
	memcpy(w->seen[w->n_seen], key, KEY_MAX);
	w->n_seen += w->n_seen + 1 < ITEMS_MAX;
	return false;
}

/* True while there is more to walk over. */
static bool step(struct walk *w, struct message *m, bool first,
		 bool (*each)(void *arg, const char *key, const char *text,
			      const int fds[PL_VAULT_FDS]),
		 void *arg, int *rc)
{
	int fds[PL_VAULT_FDS], copy[PL_VAULT_FDS];

	*rc = look(w->out, m, fds);
	if (*rc < 0) {
		*rc = *rc == -EAGAIN ? 0 : *rc;
		return false;
	}
	if (first)
		w->number = m->walk + 1;
	if (m->walk == w->number) {
		close_all(fds);
		return false;
	}
	if (seen_before(w, m->key)) {
		close_all(fds);
		take_away(w->out);
		return true;
	}
	for (unsigned i = 0; i < PL_VAULT_FDS; i++)
		copy[i] = fds[i] < 0 ? -1 : dup(fds[i]);
	if (each(arg, m->key, m->text, fds)) {
		m->walk = w->number;
		*rc = put(w->in, m, copy);
	}
	close_all(copy);
	if (*rc == 0)
		take_away(w->out);
	return *rc == 0;
}

int pl_vault_walk(int in, int out,
		  bool (*each)(void *arg, const char *key, const char *text,
			       const int fds[PL_VAULT_FDS]),
		  void *arg)
{
	struct message *m = malloc(sizeof(*m));
	struct walk *w = calloc(1, sizeof(*w));
	bool first = true;
	int rc = -ENOMEM;

	if (m && w) {
		w->in = in;
		w->out = out;
		while (step(w, m, first, each, arg, &rc))
			first = false;
	}
	free(m);
	free(w);
	return rc;
}
