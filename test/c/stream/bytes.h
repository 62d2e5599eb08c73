/* SPDX-License-Identifier: Apache-2.0 */
/* A stream in memory: what pl_send() writes and pl_receive_*() reads. */
#ifndef PL_TEST_STREAM_BYTES_H
#define PL_TEST_STREAM_BYTES_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "stream/stream.h"

struct bytes {
	char *p;
	size_t len, cap, at;
	size_t stop_at; /* writing fails from here on; 0 = never */
};

static inline int bytes_write(void *arg, const void *buf, size_t len)
{
	struct bytes *b = arg;

	if (b->stop_at && b->len + len > b->stop_at)
		return -EPIPE;
	while (b->len + len > b->cap) {
		b->cap = b->cap ? b->cap * 2 : 1 << 16;
		b->p = realloc(b->p, b->cap);
		if (!b->p)
			abort();
	}
	memcpy(b->p + b->len, buf, len);
	b->len += len;
	return 0;
}

/* In pieces, as a pipe gives them. */
static inline int64_t bytes_read(void *arg, void *buf, size_t len)
{
	struct bytes *b = arg;
	size_t n = b->len - b->at;

	n = n < len ? n : len;
	n = n > 9973 ? 9973 : n;
	if (n)
		memcpy(buf, b->p + b->at, n);
	b->at += n;
	return (int64_t)n;
}

static inline struct pl_stream_io bytes_io(struct bytes *b)
{
	return (struct pl_stream_io){ .write = bytes_write,
				      .read = bytes_read,
				      .arg = b };
}

static inline void bytes_free(struct bytes *b)
{
	free(b->p);
	memset(b, 0, sizeof(*b));
}

#endif
