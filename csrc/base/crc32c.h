/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CRC-32C (Castagnoli, RFC 3720 B.4) by Intel's ISA-L, which picks the fastest
 * instructions of the machine. pl_crc32c(0, "123456789", 9) == 0xe3069283;
 * chains: pl_crc32c(pl_crc32c(0, a, n), b, m) is the sum over a then b.
 */
#ifndef PLOOP_BASE_CRC32C_H
#define PLOOP_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t pl_crc32c(uint32_t crc, const void *buf, size_t len);

#endif
