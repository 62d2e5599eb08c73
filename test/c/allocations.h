/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands in for the allocator of the whole program (linked with --wrap, see
 * CMakeLists.txt): each allocation asks allocation_fails() first.
 */
#ifndef PL_TEST_ALLOCATIONS_H
#define PL_TEST_ALLOCATIONS_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

/* The test's own: counts, and tells whether this one gets no memory. */
static bool allocation_fails(void);

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
int __real_posix_memalign(void **p, size_t align, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
int __wrap_posix_memalign(void **p, size_t align, size_t size);

void *__wrap_malloc(size_t size)
{
	return allocation_fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return allocation_fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
	return allocation_fails() ? NULL : __real_realloc(p, size);
}

int __wrap_posix_memalign(void **p, size_t align, size_t size)
{
	return allocation_fails() ? ENOMEM :
				    __real_posix_memalign(p, align, size);
}

#endif
