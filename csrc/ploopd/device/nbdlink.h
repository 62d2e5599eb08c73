/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel's NBD client is told by netlink, one request and its answer
 * at a time. Allocates nothing, so that a keeper may call it. A library for
 * this (libnl) would cost every keeper and worker its pages, for four messages.
 */
#ifndef PLOOP_PLOOPD_DEVICE_NBDLINK_H
#define PLOOP_PLOOPD_DEVICE_NBDLINK_H

#include <stdbool.h>
#include <stdint.h>

struct pl_nbdlink_disk {
	uint64_t size, sector_size, server_flags; /* NBD_FLAG_... */
	uint64_t dead_s; /* how long requests wait for another connection */
	const char *backend; /* who we are */
};

/* A netlink socket that this process may keep, or -errno. */
int pl_nbdlink_open(void);

/* Is there such a client? 0, or -errno: -ENOENT = the module is not loaded. */
int pl_nbdlink_probe(int link);

/* A free device with this connection; *ret_index is N of /dev/nbdN. */
int pl_nbdlink_connect(int link, const struct pl_nbdlink_disk *disk, int socket,
		       uint32_t *ret_index);

/*
 * Another connection in the place of one that is dead. The kernel also answers
 * with success when none is dead yet, and has not taken the socket then.
 * -ENODEV: there is no such device, or it is another backend's.
 */
int pl_nbdlink_reconnect(int link, uint32_t index, const char *backend,
			 int socket);

/* Another size. */
int pl_nbdlink_resize(int link, uint32_t index, const char *backend,
		      uint64_t size);

/* Is it to be disconnected when the last one closes it? */
int pl_nbdlink_end_on_close(int link, uint32_t index, const char *backend,
			    bool end);

/* At once; whatever waits for it fails. */
int pl_nbdlink_disconnect(int link, uint32_t index);

#endif
