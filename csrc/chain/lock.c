/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locks on clusters, made when first taken and kept for reuse. Waiters are
 * woken all at once and look again: contention on one cluster is rare. Who
 * wants one exclusively goes before new sharers, or it might wait for ever.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "chain/chain_int.h"

static struct cluster_lock **find(struct pl_chain *ch, uint64_t cno)
{
	struct cluster_lock **l = &ch->locks[cno % LOCK_BUCKETS];

	while (*l && (*l)->cno != cno)
		l = &(*l)->next;
	return l;
}

static struct cluster_lock *get(struct pl_chain *ch, uint64_t cno)
{
	struct cluster_lock **l = find(ch, cno), *made;

	if (!*l) {
		made = ch->spare_locks;
		if (made)
			ch->spare_locks = made->next;
		else
			made = malloc(sizeof(*made));
		if (!made)
			return NULL;
		*made = (struct cluster_lock){ .cno = cno };
		*l = made;
	}
	(*l)->refs++;
	return *l;
}

static void put(struct pl_chain *ch, struct cluster_lock *lock)
{
	struct cluster_lock **l;

	if (--lock->refs)
		return;
	l = find(ch, lock->cno);
	assert(*l == lock);
	*l = lock->next;
	lock->next = ch->spare_locks;
	ch->spare_locks = lock;
}

int lock_shared(struct pl_chain *ch, uint64_t cno)
{
	struct cluster_lock *lock = get(ch, cno);

	if (!lock)
		return -ENOMEM;
	while (lock->exclusive || lock->wanted)
		pl_waitq_wait(&lock->waiters);
	lock->shared++;
	return 0;
}

int lock_exclusive(struct pl_chain *ch, uint64_t cno)
{
	struct cluster_lock *lock = get(ch, cno);

	if (!lock)
		return -ENOMEM;
	lock->wanted++;
	while (lock->exclusive || lock->shared)
		pl_waitq_wait(&lock->waiters);
	lock->wanted--;
	lock->exclusive = true;
	return 0;
}

void unlock(struct pl_chain *ch, uint64_t cno)
{
	struct cluster_lock *lock = *find(ch, cno);

	assert(lock && (lock->exclusive || lock->shared));
	if (lock->exclusive)
		lock->exclusive = false;
	else
		lock->shared--;
	if (!lock->shared)
		pl_waitq_wake_all(&lock->waiters);
	put(ch, lock);
}

void locks_fini(struct pl_chain *ch)
{
	struct cluster_lock *l;

	for (unsigned i = 0; i < LOCK_BUCKETS; i++)
		assert(!ch->locks[i]);
	while ((l = ch->spare_locks) != NULL) {
		ch->spare_locks = l->next;
		free(l);
	}
}
