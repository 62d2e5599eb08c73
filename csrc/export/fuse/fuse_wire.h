/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What <linux/fuse.h> of older systems lacks. Flags are numbered as in the
 * kernel's 64-bit flag space: the upper half travels in flags2.
 */
#ifndef PLOOP_EXPORT_FUSE_FUSE_WIRE_H
#define PLOOP_EXPORT_FUSE_FUSE_WIRE_H

#include <linux/fuse.h>
#include <stdint.h>

/* Linux 6.9: requests that a dead server took are handed out again. */
#define PL_FUSE_HAS_RESEND (UINT64_C(1) << 39)
#define PL_FUSE_NOTIFY_RESEND 7

/* In in_header.unique of a request that is handed out again. The answer
 * carries it as received: the kernel looks the request up by all 64 bits. */
#define PL_FUSE_UNIQUE_RESEND (UINT64_C(1) << 63)

/* The largest data of one READ or WRITE: 256 pages, the kernel's default. */
#define PL_FUSE_DATA_MAX (1u << 20)

/* What precedes the data of a WRITE. */
#define PL_FUSE_WRITE_HEAD \
	(sizeof(struct fuse_in_header) + sizeof(struct fuse_write_in))

#define PL_FUSE_MSG_MAX (PL_FUSE_WRITE_HEAD + PL_FUSE_DATA_MAX)

#endif
