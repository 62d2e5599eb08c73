/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Map changes that are not in the journal yet, in memory that may outlive this
 * process (see layer.h).
 *
 * A worker can be killed between any two instructions here. So an entry is
 * complete before `head` covers it, and a later change of one that is covered
 * is a single 8-byte store each: first the flags, then the owned bits.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "layer/layer_int.h"

#define PENDING_MAGIC 0x31444e45504c5000ull
/* 1: programs that knew one slot, the first; they refuse what says 2. */
#define PENDING_VERSION 2u
#define SLOT_SIZE (PL_PENDING_SIZE / PENDING_SLOTS)

_Static_assert(sizeof(struct pending_entry) == 32, "ABI between workers");
_Static_assert(4096 + PENDING_CAPACITY * sizeof(struct pending_entry) ==
		       SLOT_SIZE,
	       "the memfd holds the rings");

static int check_left_over(const struct pending_head *h, struct pl_err *err)
{
	if (h->magic == 0)
		return 0;
	if (h->magic != PENDING_MAGIC || h->version == 0 ||
	    h->version > PENDING_VERSION || h->capacity != PENDING_CAPACITY ||
	    h->head < h->tail || h->head - h->tail > PENDING_CAPACITY)
		return pl_err_set(err, PL_E_INTERNAL, EINVAL,
				  "the pending changes of the last worker "
				  "can't be read");
	return 0;
}

/* A program that knew one slot made it too short. */
static int make_room(int fd)
{
	struct stat sb;

	if (fstat(fd, &sb) < 0)
		return -errno;
	if (sb.st_size < (off_t)PL_PENDING_SIZE &&
	    ftruncate(fd, (off_t)PL_PENDING_SIZE) < 0)
		return -errno;
	return 0;
}

static int map_memory(int fd, char **ret)
{
	void *mem;
	int rc = fd >= 0 ? make_room(fd) : 0;

	if (rc < 0)
		return rc;
	mem = mmap(NULL, PL_PENDING_SIZE, PROT_READ | PROT_WRITE,
		   fd >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS, fd, 0);
	*ret = mem;
	return mem == MAP_FAILED ? -errno : 0;
}

int pl_pending_new(struct pl_pending **ret, int fd, struct pl_err *err)
{
	struct pl_pending *p = calloc(1, sizeof(*p));
	char *mem;
	int rc = p ? map_memory(fd, &mem) : -ENOMEM;

	if (rc < 0) {
		free(p);
		return pl_err_sys(err, rc, "pending changes");
	}
	for (unsigned i = 0; i < PENDING_SLOTS; i++) {
		void *at = mem + i * SLOT_SIZE;

		p->slot[i].head = at;
		p->slot[i].ring = (struct pending_entry *)((char *)at + 4096);
		if (rc == 0)
			rc = check_left_over(p->slot[i].head, err);
	}
	if (rc < 0) {
		pl_pending_free(p);
		return rc;
	}
	*ret = p;
	return 0;
}

void pl_pending_free(struct pl_pending *p)
{
	if (!p)
		return;
	munmap(p->slot[0].head, PL_PENDING_SIZE);
	free(p);
}

/* Empties it for another layer. */
static void reset(struct pending *p, const struct pl_uuid *layer)
{
	p->head->head = p->head->tail = 0;
	p->head->version = PENDING_VERSION;
	p->head->capacity = PENDING_CAPACITY;
	p->head->layer = *layer;
	__atomic_store_n(&p->head->magic, PENDING_MAGIC, __ATOMIC_RELEASE);
}

struct pending *pending_take(struct pl_pending *p, const struct pl_uuid *layer)
{
	struct pending *empty = NULL, *hit = NULL;

	for (unsigned i = PENDING_SLOTS; i-- > 0;) {
		struct pending *s = &p->slot[i];

		if (s->taken)
			continue;
		if (pl_uuid_equal(&s->head->layer, layer))
			hit = s;
		else if (s->head->head == s->head->tail)
			empty = s;
	}
	if (!hit && empty)
		reset(empty, layer);
	hit = hit ? hit : empty;
	if (hit)
		hit->taken = true;
	/* From now on both slots count. */
	if (p->slot[0].head->magic)
		p->slot[0].head->version = PENDING_VERSION;
	return hit;
}

void pending_give_back(struct pending *p)
{
	if (p)
		p->taken = false;
}

bool pending_full(const struct pending *p)
{
	return p->head->head - p->head->tail >= PENDING_CAPACITY;
}

void pending_add(struct pending *p, const struct pending_entry *e)
{
	uint64_t head = p->head->head;

	*pending_at(p, head) = *e;
	__atomic_store_n(&p->head->head, head + 1, __ATOMIC_RELEASE);
}

void pending_update(struct pending *p, uint64_t pos, uint64_t owned,
		    uint64_t flags)
{
	struct pending_entry *e = pending_at(p, pos);

	__atomic_store_n(&e->flags, e->flags | flags, __ATOMIC_RELEASE);
	__atomic_store_n(&e->entry.owned, owned, __ATOMIC_RELEASE);
}

void pending_advance(struct pending *p, uint64_t tail)
{
	__atomic_store_n(&p->head->tail, tail, __ATOMIC_RELEASE);
}
