/* SPDX-License-Identifier: Apache-2.0 */
/* The log of one attachment: stderr, a file of at most 1 MiB. */
#ifndef PLOOP_PLOOPD_LOG_H
#define PLOOP_PLOOPD_LOG_H

/* `who` goes before every line: "keeper", "worker". A constant string. */
void pl_log_init(const char *who);

/* One line with the time. Needs no memory. Cut at 1,000 bytes. */
void pl_log(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
