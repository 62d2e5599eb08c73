/* SPDX-License-Identifier: Apache-2.0 */
/* Messages to the kernel's NBD client: a child plays the kernel. */
#include <errno.h>
#include <linux/genetlink.h>
#include <linux/nbd-netlink.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ploopd/device/nbdlink.h"
#include "tap.h"

#define FAMILY_ID 27

union packet {
	struct nlmsghdr head;
	uint8_t bytes[1024];
};

static pid_t kernel;

/* The kernel's part: 0 = look at the next request. */
typedef int (*kernel_fn)(int fd, const union packet *request);

static const struct genlmsghdr *genl(const union packet *p)
{
	return NLMSG_DATA(&p->head);
}

static void acknowledge(int fd, const union packet *request, int error)
{
	struct {
		struct nlmsghdr head;
		struct nlmsgerr err;
	} a = { { sizeof(a), NLMSG_ERROR, 0, request->head.nlmsg_seq, 0 },
		{ .error = error } };

	send(fd, &a, sizeof(a), 0);
}

/* An answer with one attribute of `len` bytes that says it has `claimed`. */
static void answer(int fd, const union packet *request, uint16_t type,
		   uint32_t value, unsigned len, unsigned claimed)
{
	union packet a = { .head = { .nlmsg_type = FAMILY_ID,
				     .nlmsg_seq = request->head.nlmsg_seq } };
	uint16_t small = (uint16_t)value;
	struct nlattr *at = (void *)(a.bytes + NLMSG_LENGTH(GENL_HDRLEN));

	at->nla_type = type;
	at->nla_len = (uint16_t)(sizeof(*at) + claimed);
	memcpy(at + 1, len == 2 ? (void *)&small : (void *)&value, len);
	a.head.nlmsg_len =
		(uint32_t)(NLMSG_LENGTH(GENL_HDRLEN) + sizeof(*at) + len);
	send(fd, &a, a.head.nlmsg_len, 0);
}

static const uint8_t *attribute(const union packet *p, uint16_t type)
{
	const uint8_t *at = p->bytes + NLMSG_LENGTH(GENL_HDRLEN);
	const uint8_t *end = p->bytes + p->head.nlmsg_len;

	while (at < end) {
		const struct nlattr *a = (const void *)at;

		if ((a->nla_type & NLA_TYPE_MASK) == type)
			return at + sizeof(*a);
		at += (a->nla_len + 3u) & ~3u;
	}
	return NULL;
}

static void play(int fd, kernel_fn fn)
{
	union packet request;

	while (recv(fd, &request, sizeof(request), 0) > 0) {
		if (request.head.nlmsg_type != GENL_ID_CTRL) {
			if (fn(fd, &request))
				_exit(0);
			continue;
		}
		answer(fd, &request, CTRL_ATTR_FAMILY_ID, FAMILY_ID, 2, 2);
		acknowledge(fd, &request, 0);
	}
	_exit(0);
}

/* Our end of the link. */
static int start(kernel_fn fn)
{
	int pair[2];

	is_int(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	kernel = fork();
	if (kernel == 0) {
		close(pair[0]);
		play(pair[1], fn);
	}
	close(pair[1]);
	return pair[0];
}

static void end(int link)
{
	close(link);
	waitpid(kernel, NULL, 0);
}

static const struct pl_nbdlink_disk disk = { .size = 1 << 30,
					     .sector_size = 512,
					     .server_flags = 5,
					     .dead_s = 60,
					     .backend = "ploop:x" };

/* Answers index 3 where everything is as it should be, else EINVAL. */
static int connects(int fd, const union packet *p)
{
	const uint8_t *size = attribute(p, NBD_ATTR_SIZE_BYTES);
	const uint8_t *limit = attribute(p, NBD_ATTR_TIMEOUT);
	const uint8_t *name = attribute(p, NBD_ATTR_BACKEND_IDENTIFIER);
	const struct nlattr *item =
		(const void *)attribute(p, NBD_ATTR_SOCKETS);
	const struct nlattr *socket = item ? item + 1 : NULL;
	uint64_t bytes = 0, seconds = 1;
	uint32_t number = 0;

	if (size && limit && name && socket) {
		memcpy(&bytes, size, sizeof(bytes));
		memcpy(&seconds, limit, sizeof(seconds));
		memcpy(&number, socket + 1, sizeof(number));
	}
	if (genl(p)->cmd != NBD_CMD_CONNECT || bytes != 1 << 30 || seconds ||
	    number != 77 || item->nla_len != 12 || socket->nla_len != 8 ||
	    strcmp((const char *)name, "ploop:x") != 0) {
		acknowledge(fd, p, -EINVAL);
		return 0;
	}
	answer(fd, p, NBD_ATTR_INDEX, 3, 4, 4);
	acknowledge(fd, p, 0);
	return 0;
}

pl_test("connects with one socket, without a time limit, and learns the number")
{
	uint32_t index = 0;
	int link = start(connects);

	is_int(pl_nbdlink_probe(link), 0);
	is_int(pl_nbdlink_connect(link, &disk, 77, &index), 0);
	is_int(index, 3);
	end(link);
}

static int refuses(int fd, const union packet *p)
{
	acknowledge(fd, p, genl(p)->cmd == NBD_CMD_CONNECT ? -EPERM : -EINVAL);
	return 0;
}

pl_test("hands on what the kernel refuses; a wrong device is ENODEV")
{
	uint32_t index;
	int link = start(refuses);

	is_int(pl_nbdlink_connect(link, &disk, 77, &index), -EPERM);
	is_int(pl_nbdlink_reconnect(link, 3, "ploop:x", 77), -ENODEV);
	is_int(pl_nbdlink_resize(link, 3, "ploop:x", 4096), -ENODEV);
	is_int(pl_nbdlink_end_on_close(link, 3, "ploop:x", true), -ENODEV);
	is_int(pl_nbdlink_disconnect(link, 3), -ENODEV);
	end(link);
}

/* The answer of a request that was given up before, then ours. */
static int answers_late(int fd, const union packet *p)
{
	union packet old = *p;

	old.head.nlmsg_seq--;
	answer(fd, &old, NBD_ATTR_INDEX, 9, 4, 4);
	acknowledge(fd, &old, -EIO);
	answer(fd, p, NBD_ATTR_INDEX, 4, 4, 4);
	acknowledge(fd, p, 0);
	return 0;
}

pl_test("takes no answer for that of another request")
{
	uint32_t index = 0;
	int link = start(answers_late);

	is_int(pl_nbdlink_connect(link, &disk, 77, &index), 0);
	is_int(index, 4);
	end(link);
}

/* An attribute that claims more than the message has. */
static int lies(int fd, const union packet *p)
{
	answer(fd, p, NBD_ATTR_INDEX, 4, 4, 400);
	acknowledge(fd, p, 0);
	return 0;
}

static int says_nothing_of_it(int fd, const union packet *p)
{
	answer(fd, p, NBD_ATTR_SIZE_BYTES, 4, 4, 4);
	acknowledge(fd, p, 0);
	return 0;
}

static int hangs_up(int fd, const union packet *p)
{
	(void)fd, (void)p;
	return 1;
}

pl_test("takes no number from a broken answer")
{
	static const kernel_fn broken[] = { lies, says_nothing_of_it };
	uint32_t index;

	for (size_t i = 0; i < 2; i++) {
		int link = start(broken[i]);

		is_int(pl_nbdlink_connect(link, &disk, 77, &index), -EPROTO);
		end(link);
	}
}

pl_test("ends when nobody answers any more")
{
	uint32_t index;
	int link = start(hangs_up);

	ok(pl_nbdlink_connect(link, &disk, 77, &index) < 0);
	end(link);
}

int main(void)
{
	return pl_tap_main();
}
