/* SPDX-License-Identifier: Apache-2.0 */
/* Little-endian fields at byte offsets. */
#ifndef PLOOP_FORMAT_LE_H
#define PLOOP_FORMAT_LE_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t get16(const void *p, size_t off)
{
	uint16_t v;

	memcpy(&v, (const char *)p + off, sizeof(v));
	return le16toh(v);
}

static inline void put16(void *p, size_t off, uint16_t v)
{
	v = htole16(v);
	memcpy((char *)p + off, &v, sizeof(v));
}

static inline uint32_t get32(const void *p, size_t off)
{
	uint32_t v;

	memcpy(&v, (const char *)p + off, sizeof(v));
	return le32toh(v);
}

static inline uint64_t get64(const void *p, size_t off)
{
	uint64_t v;

	memcpy(&v, (const char *)p + off, sizeof(v));
	return le64toh(v);
}

static inline void put32(void *p, size_t off, uint32_t v)
{
	v = htole32(v);
	memcpy((char *)p + off, &v, sizeof(v));
}

static inline void put64(void *p, size_t off, uint64_t v)
{
	v = htole64(v);
	memcpy((char *)p + off, &v, sizeof(v));
}

#endif
