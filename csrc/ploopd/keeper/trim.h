/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A keeper that has nothing to do needs no code of the C library in its memory,
 * but it is locked there, with all that starting needed. What leaves it by this
 * is in the page cache, as every process of the host uses it, and comes back from
 * there when it is called. Our own code stays.
 */
#ifndef PLOOP_PLOOPD_TRIM_H
#define PLOOP_PLOOPD_TRIM_H

/* Allocates nothing. */
void pl_trim_libc(void);

#endif
