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

#include "layer/layer_int.h"

#define PENDING_MAGIC 0x31444e45504c5000ull
#define PENDING_VERSION 1u

_Static_assert(sizeof(struct pending_entry) == 32, "ABI between workers");
_Static_assert(4096 + PENDING_CAPACITY * sizeof(struct pending_entry) ==
		       PL_PENDING_SIZE,
	       "the memfd holds the ring");

static int check_left_over(const struct pending_head *h, struct pl_err *err)
{
	if (h->magic == 0)
		return 0;
	if (h->magic != PENDING_MAGIC || h->version != PENDING_VERSION ||
	    h->capacity != PENDING_CAPACITY || h->head < h->tail ||
	    h->head - h->tail > PENDING_CAPACITY)
		return pl_err_set(err, PL_E_INTERNAL, EINVAL,
				  "the pending changes of the last worker "
				  "can't be read");
	return 0;
}

int pl_pending_new(struct pl_pending **ret, int fd, struct pl_err *err)
{
	struct pl_pending *p = calloc(1, sizeof(*p));
	void *mem;
	int rc;

	if (!p)
		return pl_err_sys(err, -ENOMEM, "pending changes");
	mem = mmap(NULL, PL_PENDING_SIZE, PROT_READ | PROT_WRITE,
		   fd >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS, fd, 0);
	if (mem == MAP_FAILED) {
		rc = -errno;
		free(p);
		return pl_err_sys(err, rc, "pending changes");
	}
	p->head = mem;
	p->ring = (struct pending_entry *)((char *)mem + 4096);
	p->mapped_fd = fd >= 0;
	rc = check_left_over(p->head, err);
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
	munmap(p->head, PL_PENDING_SIZE);
	free(p);
}

void pending_reset(struct pl_pending *p, const struct pl_uuid *layer)
{
	p->head->head = p->head->tail = 0;
	p->head->version = PENDING_VERSION;
	p->head->capacity = PENDING_CAPACITY;
	p->head->layer = *layer;
	__atomic_store_n(&p->head->magic, PENDING_MAGIC, __ATOMIC_RELEASE);
}

bool pending_full(const struct pl_pending *p)
{
	return p->head->head - p->head->tail >= PENDING_CAPACITY;
}

void pending_add(struct pl_pending *p, const struct pending_entry *e)
{
	uint64_t head = p->head->head;

	*pending_at(p, head) = *e;
	__atomic_store_n(&p->head->head, head + 1, __ATOMIC_RELEASE);
}

void pending_update(struct pl_pending *p, uint64_t pos, uint64_t owned,
		    uint64_t flags)
{
	struct pending_entry *e = pending_at(p, pos);

	__atomic_store_n(&e->flags, e->flags | flags, __ATOMIC_RELEASE);
	__atomic_store_n(&e->entry.owned, owned, __ATOMIC_RELEASE);
}

void pending_advance(struct pl_pending *p, uint64_t tail)
{
	__atomic_store_n(&p->head->tail, tail, __ATOMIC_RELEASE);
}
