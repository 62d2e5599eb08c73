/* SPDX-License-Identifier: Apache-2.0 */
/* Listening sockets of exports: see offer_socket.h. */
#include "ploopd/exports/offer_socket.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 32
#define PORT "10809" /* IANA's for nbd */

static int new_socket(int family)
{
	return socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* ---- unix ---- */

/* A path has 107 characters: through its directory, if it need be. */
static int unix_address(const char *path, struct sockaddr_un *ret, int *ret_dir)
{
	const char *slash = strrchr(path, '/');
	char dir[PATH_MAX];
	int n;

	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	*ret_dir = -1;
	if (strlen(path) < sizeof(ret->sun_path)) {
		memcpy(ret->sun_path, path, strlen(path));
		return 0;
	}
	snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path), path);
	*ret_dir = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	n = snprintf(ret->sun_path, sizeof(ret->sun_path),
		     "/proc/self/fd/%d%.70s", *ret_dir, slash);
	if (*ret_dir < 0)
		return -errno;
	return n < (int)sizeof(ret->sun_path) && strlen(slash) <= 70 ?
		       0 :
		       -ENAMETOOLONG;
}

static bool nobody_listens(const struct sockaddr_un *addr)
{
	int fd = new_socket(AF_UNIX);
	bool refused;

	refused = fd >= 0 &&
		  connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) <
			  0 &&
		  errno == ECONNREFUSED;
	if (fd >= 0)
		close(fd);
	return refused;
}

static int bind_unix(int fd, const struct sockaddr_un *addr)
{
	const struct sockaddr *a = (const struct sockaddr *)addr;
	struct stat sb;
	mode_t mask = umask(0177);
	int rc = bind(fd, a, sizeof(*addr)) < 0 ? -errno : 0;

	if (rc == -EADDRINUSE && lstat(addr->sun_path, &sb) == 0 &&
	    S_ISSOCK(sb.st_mode) && nobody_listens(addr) &&
	    unlink(addr->sun_path) == 0)
		rc = bind(fd, a, sizeof(*addr)) < 0 ? -errno : 0;
	umask(mask);
	if (rc == 0 && listen(fd, BACKLOG) < 0)
		rc = -errno;
	return rc;
}

int pl_offer_unix(struct pl_offer_socket *ret, const char *path,
		  struct pl_failure *f)
{
	struct sockaddr_un addr;
	int dir, rc;

	memset(ret, 0, sizeof(*ret));
	ret->loopback = true;
	ret->fd = new_socket(AF_UNIX);
	if (path[0] != '/' || strlen(path) >= sizeof(ret->path))
		return pl_err_set(&f->err, PL_E_INVALID_ARGUMENT, EINVAL,
				  "--socket: %.200s is not an absolute path",
				  path);
	memcpy(ret->path, path, strlen(path) + 1);
	rc = ret->fd < 0 ? -errno : unix_address(path, &addr, &dir);
	if (rc == 0)
		rc = bind_unix(ret->fd, &addr);
	ret->bound = rc == 0;
	if (ret->fd >= 0 && dir >= 0)
		close(dir);
	if (rc == -EADDRINUSE)
		return pl_hint(f,
			       pl_err_set(&f->err, PL_E_EXISTS, EEXIST,
					  "--socket: %s is there already",
					  path),
			       "Give another path, or remove it when nothing "
			       "needs it");
	return rc < 0 ? pl_err_sys(&f->err, rc, "--socket: %s", path) : 0;
}

/* ---- TCP ---- */

static int split(const char *listen, char host[256], char port[16])
{
	const char *end = listen, *colon;
	size_t len;

	if (*listen == '[') {
		end = strchr(++listen, ']');
		colon = end ? end + 1 : NULL;
	} else {
		colon = strrchr(listen, ':');
		/* More than one: an IPv6 address without a port. */
		if (colon && strchr(listen, ':') != colon)
			colon = NULL;
		end = colon ? colon : listen + strlen(listen);
	}
	len = end ? (size_t)(end - listen) : 256;
	if (len >= 256 || (colon && *colon && *colon != ':'))
		return -EINVAL;
	memcpy(host, listen, len);
	host[len] = '\0';
	snprintf(port, 16, "%s", colon && *colon ? colon + 1 : PORT);
	return *port && strspn(port, "0123456789") == strlen(port) ? 0 :
								     -EINVAL;
}

static bool is_loopback(const struct sockaddr *sa)
{
	const struct sockaddr_in *in4 = (const void *)sa;
	const struct sockaddr_in6 *in6 = (const void *)sa;

	if (sa->sa_family == AF_INET)
		return ntohl(in4->sin_addr.s_addr) >> 24 == 127;
	return sa->sa_family == AF_INET6 &&
	       IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
}

static int listen_at(struct pl_offer_socket *ret, const struct addrinfo *ai)
{
	const int on = 1;
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	char host[128], port[16];

	ret->fd = new_socket(ai->ai_family);
	if (ret->fd < 0)
		return -errno;
	setsockopt(ret->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(ret->fd, ai->ai_addr, ai->ai_addrlen) < 0 ||
	    listen(ret->fd, BACKLOG) < 0 ||
	    getsockname(ret->fd, (struct sockaddr *)&sa, &len) < 0)
		return -errno;
	if (getnameinfo((struct sockaddr *)&sa, len, host, sizeof(host), port,
			sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		return -EINVAL;
	snprintf(ret->address, sizeof(ret->address),
		 sa.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
	ret->loopback = is_loopback((struct sockaddr *)&sa);
	return 0;
}

int pl_offer_tcp(struct pl_offer_socket *ret, const char *listen,
		 struct pl_failure *f)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
				  .ai_flags = AI_PASSIVE };
	struct addrinfo *ai = NULL;
	char host[256], port[16];
	int rc;

	memset(ret, 0, sizeof(*ret));
	ret->fd = -1;
	if (split(listen, host, port) < 0)
		return pl_hint(
			f,
			pl_err_set(&f->err, PL_E_INVALID_ARGUMENT, EINVAL,
				   "--listen: %.200s is not an address",
				   listen),
			"Examples: 127.0.0.1:10809, [::1]:10809, :10809");
	rc = getaddrinfo(host[0] ? host : NULL, port, &hints, &ai);
	if (rc != 0)
		return pl_err_set(&f->err, PL_E_INVALID_ARGUMENT, EINVAL,
				  "--listen: %.200s: %s", listen,
				  gai_strerror(rc));
	rc = listen_at(ret, ai);
	freeaddrinfo(ai);
	return rc < 0 ? pl_err_sys(&f->err, rc, "--listen: %.200s", listen) : 0;
}

/* ---- URIs ---- */

/* Percent-encodes what is not plain; false: no room. */
static bool encode(char *ret, size_t size, const char *text, const char *plain)
{
	size_t at = strlen(ret);

	for (; *text; text++) {
		unsigned char ch = (unsigned char)*text;

		if (at + 4 > size)
			return false;
		if (isalnum(ch) || strchr(plain, ch))
			ret[at++] = (char)ch;
		else
			at += (size_t)snprintf(ret + at, size - at, "%%%02X",
					       ch);
		ret[at] = '\0';
	}
	return true;
}

int pl_offer_uri(const struct pl_offer_socket *s, const char *name, bool tls,
		 char *ret, size_t size)
{
	size_t n;
	bool fits;

	snprintf(ret, size, "nbd%s%s://%s/", tls ? "s" : "",
		 s->path[0] ? "+unix" : "", s->address);
	fits = encode(ret, size, name, "-._~");
	n = strlen(ret);
	if (fits && s->path[0]) {
		snprintf(ret + n, size - n, "?socket=");
		fits = encode(ret, size, s->path, "-._~/");
	}
	return fits ? 0 : -ENAMETOOLONG;
}
