/* SPDX-License-Identifier: Apache-2.0 */
/* What ps shows for keeper and worker, which are forks and not programs. */
#ifndef PLOOP_PLOOPD_TITLE_H
#define PLOOP_PLOOPD_TITLE_H

/* In main(), before argv is used; its memory is written over later. */
void pl_title_init(int argc, char **argv);

/* "ploopd: <who> of <directory>", as far as argv has room. argv is gone then. */
void pl_title_set(const char *who, const char *directory);

#endif
