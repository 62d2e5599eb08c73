/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One virtual disk as a ublk device (user-space block device): the kernel hands
 * requests out through io_uring commands on /dev/ublkcN and copies their data
 * into and out of our memory. Whoever has the file open is the device's server;
 * when it dies the kernel keeps the device and its requests for the next one
 * (UBLK_F_USER_RECOVERY, UBLK_F_USER_RECOVERY_REISSUE).
 *
 * Adding, starting and removing the device are control commands and not in
 * here (ublk_control.h), nor is recovery: it begins before the file is opened.
 */
#ifndef PLOOP_EXPORT_UBLK_UBLK_EXPORT_H
#define PLOOP_EXPORT_UBLK_UBLK_EXPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct pl_engine;
struct pl_loop;
struct pl_ublk;

/* What we add devices with; what a device has is in its dev_info. */
#define PL_UBLK_DEPTH 128u /* requests in flight */
#define PL_UBLK_DATA_MAX (512u << 10) /* bytes of one request */

/* The functions that look at a ublk export or stop it accept NULL: none. */
struct pl_ublk_params {
	struct pl_loop *loop; /* of pl_loop_new_commands() */
	int fd; /* /dev/ublkcN, O_RDWR; stays the caller's */
	unsigned depth; /* of the device's one queue */
	uint32_t max_bytes; /* of one request */
	/* The device was stopped or deleted. */
	void (*gone)(void *arg);
	/* Something worth a line in the log. */
	void (*note)(void *arg, const char *text);
	void *arg;
};

/*
 * Asks the kernel for requests, which makes us the device's server: it can be
 * started, or its recovery ended, when this has returned. -errno when the
 * kernel does not take us.
 */
int pl_ublk_new(struct pl_ublk **ret, const struct pl_ublk_params *params,
		struct pl_err *err);

/* From now on requests go there; those that came before as well. */
void pl_ublk_serve(struct pl_ublk *ublk, struct pl_engine *engine);

/* Requests taken and not yet answered. */
unsigned pl_ublk_inflight(const struct pl_ublk *ublk);

/*
 * Takes no more requests; those in flight are still answered. What the kernel
 * hands out from now on waits for the next server.
 */
void pl_ublk_stop(struct pl_ublk *ublk);

#endif
