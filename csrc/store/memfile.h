/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files in memory: sparse, made of pages that clones share until one of them
 * writes. For memory.c and recording.c.
 */
#ifndef PLOOP_STORE_MEMFILE_H
#define PLOOP_STORE_MEMFILE_H

#include <stdint.h>

#include "store/store.h"

#define MEMFILE_PAGE 4096u

struct mem_page {
	uint32_t refs;
	uint8_t data[MEMFILE_PAGE];
};

struct mem_file {
	char name[96];
	unsigned refs; /* the directory's, one for each open store, ... */
	uint64_t size;
	struct mem_page **pages;
	uint64_t n_pages;
	struct mem_file *next; /* in its directory */
	struct mem_file *twin; /* recording.c: the same file elsewhere */
};

struct mem_file *memfile_new(const char *name); /* one reference */
/* The same content under the same name; one reference. */
struct mem_file *memfile_clone(const struct mem_file *f);
void memfile_put(struct mem_file *f);

int memfile_read(struct mem_file *f, uint8_t *buf, uint64_t off, uint64_t len);
int memfile_write(struct mem_file *f, const uint8_t *buf, uint64_t off,
		  uint64_t len);
int memfile_punch(struct mem_file *f, uint64_t off, uint64_t len);
int memfile_truncate(struct mem_file *f, uint64_t size);
void memfile_seek_data(struct mem_file *f, uint64_t off, uint64_t *ret_start,
		       uint64_t *ret_end);
uint64_t memfile_usage(const struct mem_file *f);

/* memory.c: takes over f's reference. */
void memdir_link(struct pl_dir *dir, struct mem_file *f);
struct mem_file *memdir_find(struct pl_dir *dir, const char *name);
struct mem_file *memdir_first(struct pl_dir *dir);
struct mem_file *memstore_file(struct pl_store *st);

#endif
