/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the bytes of one FUSE request to a checked struct. No system calls, no
 * allocation; the result points into the request's bytes.
 */
#ifndef PLOOP_EXPORT_FUSE_FUSE_PARSE_H
#define PLOOP_EXPORT_FUSE_FUSE_PARSE_H

#include <stddef.h>
#include <stdint.h>

#include "export/fuse/fuse_wire.h"

struct pl_fuse_msg {
	uint32_t opcode; /* FUSE_READ ... */
	uint64_t unique; /* as received, FUSE_UNIQUE_RESEND included */
	uint64_t nodeid;
	union {
		struct {
			uint32_t major, minor, max_readahead;
			uint64_t flags;
		} init;
		struct {
			uint64_t fh, off;
			uint32_t len, flags; /* flags: of open(2) */
			const void *data; /* WRITE only */
		} io; /* READ, WRITE */
		struct {
			uint64_t fh, off, len;
			uint32_t mode;
		} fallocate;
		struct {
			uint64_t fh, off;
			uint32_t whence;
		} lseek;
		struct {
			uint32_t valid;
			uint64_t size;
		} setattr;
		struct {
			uint32_t flags;
		} open;
		struct {
			uint64_t fh;
		} handle; /* RELEASE, FLUSH, FSYNC */
		const char *name; /* LOOKUP: ends with NUL */
	} u;
};

/*
 * 0; -EBADMSG: not even a header that can be answered; -EINVAL: unique is
 * set, the rest of the request is not what its opcode demands.
 */
int pl_fuse_parse(const void *buf, size_t len, struct pl_fuse_msg *ret);

#endif
