/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all exports of a process share: how many clients there are, and the
 * memory of the data under way.
 *
 * INVARIANTS
 *  1. No more than max bytes are handed out, but one request always fits.
 *  2. Who waits for memory gets it in the order of asking: a large request is
 *     not overtaken for ever by small ones. Nobody waits here for what is only
 *     his own connection's bound.
 *  3. Buffers that came back are kept for the next request, CACHE_MAX bytes at
 *     most, and only while there are clients.
 */
#include <errno.h>
#include <stdlib.h>

#include "export/nbd/nbd_int.h"

#define CLASS_MIN 12u /* 4 KiB */
#define CLASS_MAX 26u /* 32 MiB and the sectors around it */
#define CACHE_MAX (16u << 20)

struct spare {
	struct spare *next;
};

struct pl_nbd_share {
	size_t max, used, cached;
	unsigned clients;
	struct pl_comutex turn; /* whose turn it is to wait for room */
	struct pl_waitq room;
	struct spare *spare[CLASS_MAX + 1];
	unsigned changes; /* under way, which may overlap others */
	bool alone; /* one that may not: wanted or under way */
	struct pl_waitq changed;
};

int pl_nbd_share_new(struct pl_nbd_share **ret, size_t max_bytes)
{
	struct pl_nbd_share *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->max = max_bytes;
	*ret = s;
	return 0;
}

static unsigned class_of(size_t len)
{
	unsigned class = CLASS_MIN;

	while (((size_t)1 << class) < len)
		class ++;
	return class;
}

static void drop_cache(struct pl_nbd_share *s)
{
	struct spare *spare;

	for (unsigned class = CLASS_MIN; class <= CLASS_MAX; class ++)
		while ((spare = s->spare[class]) != NULL) {
			s->spare[class] = spare->next;
			free(spare);
		}
	s->cached = 0;
}

void pl_nbd_share_free(struct pl_nbd_share *s)
{
	if (!s)
		return;
	drop_cache(s);
	free(s);
}

static void *take_buffer(struct pl_nbd_share *s, size_t len)
{
	unsigned class = class_of(len);
	struct spare *spare = s->spare[class];
	void *buf;

	if (spare) {
		s->spare[class] = spare->next;
		s->cached -= (size_t)1 << class;
		return spare;
	}
	return posix_memalign(&buf, 4096, (size_t)1 << class) == 0 ? buf : NULL;
}

void *nbd_share_get(struct nbd_conn *c, size_t len)
{
	struct pl_nbd_share *s = c->nbd->p.share;
	void *buf;

	while (c->bytes && c->bytes + len > PL_NBD_BYTES)
		pl_waitq_wait(&c->room);
	pl_comutex_lock(&s->turn);
	while (s->used && s->used + len > s->max)
		pl_waitq_wait(&s->room);
	pl_comutex_unlock(&s->turn);
	buf = take_buffer(s, len);
	if (!buf)
		return NULL;
	s->used += len;
	c->bytes += len;
	return buf;
}

void nbd_share_put(struct nbd_conn *c, void *buf, size_t len)
{
	struct pl_nbd_share *s = c->nbd->p.share;
	unsigned class = class_of(len);
	struct spare *spare = buf;

	if (!buf)
		return;
	s->used -= len;
	c->bytes -= len;
	if (s->cached + ((size_t)1 << class) <= CACHE_MAX) {
		spare->next = s->spare[class];
		s->spare[class] = spare;
		s->cached += (size_t)1 << class;
	} else {
		free(buf);
	}
	pl_waitq_wake_all(&s->room);
	pl_waitq_wake_all(&c->room);
}

bool nbd_share_enter(struct pl_nbd_share *s)
{
	if (s->clients == PL_NBD_CLIENTS_ALL)
		return false;
	s->clients++;
	return true;
}

void nbd_share_leave(struct pl_nbd_share *s)
{
	if (--s->clients == 0)
		drop_cache(s);
}

/* ---- changes of parts of sectors exclude all others ---- */

void nbd_change_begin(struct pl_nbd_share *s, bool alone)
{
	while (s->alone)
		pl_waitq_wait(&s->changed);
	if (!alone) {
		s->changes++;
		return;
	}
	s->alone = true;
	while (s->changes)
		pl_waitq_wait(&s->changed);
}

void nbd_change_end(struct pl_nbd_share *s, bool alone)
{
	if (alone)
		s->alone = false;
	else
		s->changes--;
	if (alone || !s->changes)
		pl_waitq_wake_all(&s->changed);
}
