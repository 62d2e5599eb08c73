/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is spoken with the kernel's ublk driver, as its documentation has it
 * (Documentation/block/ublk.rst of Linux 7.2 and the values of its
 * include/uapi/linux/ublk_cmd.h). <linux/ublk_cmd.h> of older systems lacks
 * half of it, so this stands on its own.
 *
 * Control commands go to /dev/ublk-control in entries of 128 bytes; commands
 * of the queue to /dev/ublkcN, in plain ones.
 */
#ifndef PLOOP_EXPORT_UBLK_UBLK_WIRE_H
#define PLOOP_EXPORT_UBLK_UBLK_WIRE_H

#include <stdint.h>
#include <sys/ioctl.h>

/* ---- control ---- */

struct pl_ublk_ctl_cmd {
	uint32_t dev_id;
	uint16_t queue_id; /* 0xffff: not about a queue */
	uint16_t len; /* bytes at addr */
	uint64_t addr;
	uint64_t data;
	uint16_t dev_path_len, pad;
	uint32_t reserved;
};

#define PL_UBLK_CTL(dir, nr) _IOC(dir, 'u', nr, sizeof(struct pl_ublk_ctl_cmd))
#define PL_UBLK_RW (_IOC_READ | _IOC_WRITE)

#define PL_UBLK_GET_DEV_INFO PL_UBLK_CTL(_IOC_READ, 0x02)
#define PL_UBLK_ADD_DEV PL_UBLK_CTL(PL_UBLK_RW, 0x04)
#define PL_UBLK_DEL_DEV PL_UBLK_CTL(PL_UBLK_RW, 0x05)
#define PL_UBLK_START_DEV PL_UBLK_CTL(PL_UBLK_RW, 0x06)
#define PL_UBLK_STOP_DEV PL_UBLK_CTL(PL_UBLK_RW, 0x07)
#define PL_UBLK_SET_PARAMS PL_UBLK_CTL(PL_UBLK_RW, 0x08)
#define PL_UBLK_START_USER_RECOVERY PL_UBLK_CTL(PL_UBLK_RW, 0x10)
#define PL_UBLK_END_USER_RECOVERY PL_UBLK_CTL(PL_UBLK_RW, 0x11)
#define PL_UBLK_GET_FEATURES PL_UBLK_CTL(_IOC_READ, 0x13) /* Linux 6.5 */
#define PL_UBLK_DEL_DEV_ASYNC PL_UBLK_CTL(_IOC_READ, 0x14) /* Linux 6.9 */
#define PL_UBLK_UPDATE_SIZE PL_UBLK_CTL(PL_UBLK_RW, 0x15) /* Linux 6.16 */
#define PL_UBLK_TRY_STOP_DEV PL_UBLK_CTL(PL_UBLK_RW, 0x17) /* Linux 7.0 */

/* Features, and flags of a device. */
#define PL_UBLK_F_USER_RECOVERY (UINT64_C(1) << 3)
#define PL_UBLK_F_USER_RECOVERY_REISSUE (UINT64_C(1) << 4)
#define PL_UBLK_F_CMD_IOCTL_ENCODE (UINT64_C(1) << 6)
#define PL_UBLK_F_UPDATE_SIZE (UINT64_C(1) << 10)
#define PL_UBLK_F_SAFE_STOP_DEV (UINT64_C(1) << 17)
#define PL_UBLK_F_NO_AUTO_PART_SCAN (UINT64_C(1) << 18)

/* States of a device. */
#define PL_UBLK_S_DEAD 0 /* not started, or stopped */
#define PL_UBLK_S_LIVE 1
#define PL_UBLK_S_QUIESCED 2 /* its server is gone; requests wait */

struct pl_ublk_dev_info {
	uint16_t nr_hw_queues, queue_depth, state, pad0;
	uint32_t max_io_buf_bytes, dev_id;
	int32_t ublksrv_pid;
	uint32_t pad1;
	uint64_t flags;
	uint64_t ublksrv_flags; /* ours: the kernel keeps it for us */
	uint32_t owner_uid, owner_gid;
	uint64_t reserved[2];
};

#define PL_UBLK_ATTR_READ_ONLY (1u << 0)
#define PL_UBLK_ATTR_VOLATILE_CACHE (1u << 2)
#define PL_UBLK_ATTR_FUA (1u << 3)

#define PL_UBLK_PARAM_BASIC (1u << 0)
#define PL_UBLK_PARAM_DISCARD (1u << 1)

struct pl_ublk_dev_params {
	uint32_t len, types;
	struct {
		uint32_t attrs;
		uint8_t logical_bs_shift, physical_bs_shift;
		uint8_t io_opt_shift, io_min_shift;
		uint32_t max_sectors, chunk_sectors;
		uint64_t dev_sectors, virt_boundary_mask;
	} basic;
	struct {
		uint32_t discard_alignment, discard_granularity;
		uint32_t max_discard_sectors, max_write_zeroes_sectors;
		uint16_t max_discard_segments, reserved0;
		uint32_t pad; /* of the kernel's struct, not of its member */
	} discard;
};

/* ---- the queue ---- */

struct pl_ublk_io_cmd {
	uint16_t q_id, tag;
	int32_t result; /* of COMMIT_AND_FETCH: bytes, or -errno */
	uint64_t addr; /* of the tag's buffer */
};

#define PL_UBLK_IO(nr) _IOC(PL_UBLK_RW, 'u', nr, sizeof(struct pl_ublk_io_cmd))
#define PL_UBLK_IO_FETCH PL_UBLK_IO(0x20)
#define PL_UBLK_IO_COMMIT_AND_FETCH PL_UBLK_IO(0x21)

/* What a fetch ends with: there is a request; the device is gone. */
#define PL_UBLK_IO_OK 0
#define PL_UBLK_IO_ABORT (-19) /* ENODEV */

/* A request, in memory that the kernel writes and we map read-only. */
struct pl_ublk_io_desc {
	uint32_t op_flags; /* bits 0-7 the operation, 8-31 flags */
	uint32_t nr_sectors; /* of 512 bytes, as start_sector */
	uint64_t start_sector;
	uint64_t addr;
};

#define PL_UBLK_OP_READ 0
#define PL_UBLK_OP_WRITE 1
#define PL_UBLK_OP_FLUSH 2
#define PL_UBLK_OP_DISCARD 3
#define PL_UBLK_OP_WRITE_ZEROES 5

#define PL_UBLK_IO_F_FUA (1u << 13)

#endif
