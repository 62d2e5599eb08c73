/* SPDX-License-Identifier: Apache-2.0 */
/* Messages to the kernel's NBD client: see nbdlink.h. */
#include "ploopd/device/nbdlink.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <linux/nbd-netlink.h>
#include <linux/nbd.h>
#include <linux/netlink.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define FAMILY "nbd"
#define ANSWER_S 20
#define NO_INDEX UINT32_MAX
/* As the kernel's header has it, without its signs. */
#define HEAD (sizeof(struct nlattr))
#define PADDED(len) (((uint32_t)(len) + 3u) & ~3u)

/* One request, as it goes out. */
struct message {
	struct nlmsghdr head;
	struct genlmsghdr genl;
	uint8_t attributes[384];
};

/* Headers and attributes; the answer to GETFAMILY is the longest. */
union answer {
	struct nlmsghdr head;
	uint8_t bytes[8192];
};

int pl_nbdlink_open(void)
{
	const struct timeval patience = { .tv_sec = ANSWER_S };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	return fd;
}

/* ---- a message ---- */

static void begin(struct message *m, uint16_t family, uint8_t command,
		  uint8_t version)
{
	static uint32_t sequence;

	memset(m, 0, sizeof(*m));
	m->head.nlmsg_seq = ++sequence;
	m->head.nlmsg_type = family;
	m->head.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	m->head.nlmsg_len = NLMSG_LENGTH(GENL_HDRLEN);
	m->genl.cmd = command;
	m->genl.version = version;
}

/* Our attributes are few and short: they fit (the backend's name is bounded). */
static struct nlattr *put(struct message *m, uint16_t type, const void *data,
			  size_t len)
{
	struct nlattr *a = (void *)((uint8_t *)m + PADDED(m->head.nlmsg_len));

	a->nla_type = type;
	a->nla_len = (uint16_t)(HEAD + len);
	if (len)
		memcpy((uint8_t *)a + HEAD, data, len);
	m->head.nlmsg_len = PADDED(m->head.nlmsg_len) + PADDED(a->nla_len);
	return a;
}

static void put_text(struct message *m, uint16_t type, const char *text)
{
	put(m, type, text, strnlen(text, 127) + 1);
}

static void put64(struct message *m, uint16_t type, uint64_t value)
{
	put(m, type, &value, sizeof(value));
}

static void put_socket(struct message *m, int fd)
{
	struct nlattr *list = put(m, NBD_ATTR_SOCKETS | NLA_F_NESTED, NULL, 0);
	struct nlattr *item = put(m, NBD_SOCK_ITEM | NLA_F_NESTED, NULL, 0);
	uint32_t number = (uint32_t)fd;
	uint8_t *end;

	put(m, NBD_SOCK_FD, &number, sizeof(number));
	end = (uint8_t *)m + m->head.nlmsg_len;
	list->nla_len = (uint16_t)(end - (uint8_t *)list);
	item->nla_len = (uint16_t)(end - (uint8_t *)item);
}

/* ---- its answer ---- */

/* A 16- or 32-bit attribute of an answer; false: it is not there. */
static bool get(const struct nlmsghdr *head, uint16_t type, uint32_t *ret)
{
	const uint8_t *at = (const uint8_t *)NLMSG_DATA(head) + GENL_HDRLEN;
	const uint8_t *end = (const uint8_t *)head + head->nlmsg_len;
	uint16_t small;

	while (at < end && (size_t)(end - at) >= HEAD) {
		const struct nlattr *a = (const void *)at;

		if (a->nla_len < HEAD || a->nla_len > end - at)
			return false;
		if ((a->nla_type & NLA_TYPE_MASK) != type) {
			at += PADDED(a->nla_len);
			continue;
		}
		if (a->nla_len == HEAD + sizeof(small)) {
			memcpy(&small, at + HEAD, sizeof(small));
			*ret = small;
		} else if (a->nla_len == HEAD + sizeof(*ret)) {
			memcpy(ret, at + HEAD, sizeof(*ret));
		}
		return true;
	}
	return false;
}

/* True: it ends the exchange, with *rc. */
static bool look_at(const struct nlmsghdr *head, uint16_t wanted, uint32_t *ret,
		    int *rc)
{
	const struct nlmsgerr *e = NLMSG_DATA(head);

	if (head->nlmsg_type != NLMSG_ERROR) {
		if (ret && head->nlmsg_len >= NLMSG_LENGTH(GENL_HDRLEN))
			get(head, wanted, ret);
		return false;
	}
	*rc = head->nlmsg_len < NLMSG_LENGTH(sizeof(*e)) ? -EPROTO : e->error;
	return true;
}

/* The messages of one packet; true when one of them ends the exchange. */
static bool look_through(const union answer *answer, size_t len,
			 uint32_t sequence, uint16_t wanted, uint32_t *ret,
			 int *rc)
{
	const struct nlmsghdr *head;

	for (size_t at = 0; len - at >= sizeof(*head);
	     at += PADDED(head->nlmsg_len)) {
		head = (const void *)(answer->bytes + at);
		if (head->nlmsg_len < sizeof(*head) ||
		    head->nlmsg_len > len - at)
			return false;
		/* Else one that came too late. */
		if (head->nlmsg_seq == sequence &&
		    look_at(head, wanted, ret, rc))
			return true;
		if (PADDED(head->nlmsg_len) > len - at)
			return false;
	}
	return false;
}

/* Sends, and waits until it was carried out; an attribute of the answer in
 * *ret, when ret is not NULL. */
static int ask(int link, struct message *m, uint16_t wanted, uint32_t *ret)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	union answer answer;
	ssize_t n;
	int rc;

	if (sendto(link, m, m->head.nlmsg_len, 0, (struct sockaddr *)&kernel,
		   sizeof(kernel)) < 0)
		return -errno;
	for (;;) {
		n = recv(link, &answer, sizeof(answer), 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		if (n == 0)
			return -ECONNRESET;
		if (look_through(&answer, (size_t)n, m->head.nlmsg_seq, wanted,
				 ret, &rc))
			return rc;
	}
}

/* ---- requests ---- */

static int family(int link, uint16_t *ret)
{
	struct message m;
	uint32_t id = 0;
	int rc;

	begin(&m, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 1);
	put_text(&m, CTRL_ATTR_FAMILY_NAME, FAMILY);
	rc = ask(link, &m, CTRL_ATTR_FAMILY_ID, &id);
	*ret = (uint16_t)id;
	return rc < 0 ? rc : id ? 0 : -ENOENT;
}

int pl_nbdlink_probe(int link)
{
	uint16_t id;

	return family(link, &id);
}

static int begin_nbd(int link, struct message *m, uint8_t command)
{
	uint16_t id;
	int rc = family(link, &id);

	if (rc == 0)
		begin(m, id, command, NBD_GENL_VERSION);
	return rc;
}

int pl_nbdlink_connect(int link, const struct pl_nbdlink_disk *disk, int socket,
		       uint32_t *ret_index)
{
	struct message m;
	int rc = begin_nbd(link, &m, NBD_CMD_CONNECT);

	if (rc < 0)
		return rc;
	put64(&m, NBD_ATTR_SIZE_BYTES, disk->size);
	put64(&m, NBD_ATTR_BLOCK_SIZE_BYTES, disk->sector_size);
	/* 0: the kernel never takes a connection for dead because of a slow
	 * request, and never repeats one that is still under way here. */
	put64(&m, NBD_ATTR_TIMEOUT, 0);
	put64(&m, NBD_ATTR_DEAD_CONN_TIMEOUT, disk->dead_s);
	put64(&m, NBD_ATTR_SERVER_FLAGS, disk->server_flags);
	put64(&m, NBD_ATTR_CLIENT_FLAGS, 0);
	put_text(&m, NBD_ATTR_BACKEND_IDENTIFIER, disk->backend);
	put_socket(&m, socket);
	*ret_index = NO_INDEX;
	rc = ask(link, &m, NBD_ATTR_INDEX, ret_index);
	return rc < 0 ? rc : *ret_index == NO_INDEX ? -EPROTO : 0;
}

static int reconfigure(int link, struct message *m, uint32_t index,
		       const char *backend)
{
	int rc = begin_nbd(link, m, NBD_CMD_RECONFIGURE);

	if (rc < 0)
		return rc;
	put(m, NBD_ATTR_INDEX, &index, sizeof(index));
	put_text(m, NBD_ATTR_BACKEND_IDENTIFIER, backend);
	return 0;
}

/* All that the kernel finds wrong with our few attributes is the device. */
static int no_device(int rc)
{
	return rc == -EINVAL || rc == -ENOENT || rc == -ENXIO ? -ENODEV : rc;
}

int pl_nbdlink_reconnect(int link, uint32_t index, const char *backend,
			 int socket)
{
	struct message m;
	int rc = reconfigure(link, &m, index, backend);

	if (rc < 0)
		return rc;
	put_socket(&m, socket);
	return no_device(ask(link, &m, 0, NULL));
}

/* One attribute of a device gets another value. */
static int change(int link, uint32_t index, const char *backend, uint16_t what,
		  uint64_t value)
{
	struct message m;
	int rc = reconfigure(link, &m, index, backend);

	if (rc < 0)
		return rc;
	put64(&m, what, value);
	return no_device(ask(link, &m, 0, NULL));
}

int pl_nbdlink_resize(int link, uint32_t index, const char *backend,
		      uint64_t size)
{
	return change(link, index, backend, NBD_ATTR_SIZE_BYTES, size);
}

int pl_nbdlink_end_on_close(int link, uint32_t index, const char *backend,
			    bool end)
{
	return change(link, index, backend, NBD_ATTR_CLIENT_FLAGS,
		      end ? (uint64_t)NBD_CFLAG_DISCONNECT_ON_CLOSE : 0);
}

int pl_nbdlink_disconnect(int link, uint32_t index)
{
	struct message m;
	int rc = begin_nbd(link, &m, NBD_CMD_DISCONNECT);

	if (rc < 0)
		return rc;
	put(&m, NBD_ATTR_INDEX, &index, sizeof(index));
	return no_device(ask(link, &m, 0, NULL));
}
