/* SPDX-License-Identifier: Apache-2.0 */
/* Files in memory: see memfile.h. */
#include "store/memfile.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE MEMFILE_PAGE

struct mem_file *memfile_new(const char *name)
{
	struct mem_file *f = calloc(1, sizeof(*f));

	if (f) {
		snprintf(f->name, sizeof(f->name), "%s", name);
		f->refs = 1;
	}
	return f;
}

struct mem_file *memfile_clone(const struct mem_file *f)
{
	struct mem_file *c = memfile_new(f->name);

	if (!c)
		return NULL;
	c->size = f->size;
	c->n_pages = f->n_pages;
	c->pages =
		calloc(f->n_pages ? f->n_pages : 1, sizeof(struct mem_page *));
	if (!c->pages) {
		free(c);
		return NULL;
	}
	for (uint64_t i = 0; i < f->n_pages; i++) {
		c->pages[i] = f->pages[i];
		if (c->pages[i])
			c->pages[i]->refs++;
	}
	return c;
}

static void page_put(struct mem_page **page)
{
	if (*page && --(*page)->refs == 0)
		free(*page);
	*page = NULL;
}

void memfile_put(struct mem_file *f)
{
	if (--f->refs)
		return;
	for (uint64_t i = 0; i < f->n_pages; i++)
		page_put(&f->pages[i]);
	free(f->pages);
	free(f);
}

static int pages_for(struct mem_file *f, uint64_t end)
{
	uint64_t n = (end + PAGE - 1) / PAGE;
	struct mem_page **pages;

	if (n <= f->n_pages)
		return 0;
	n += n / 2;
	pages = realloc(f->pages, n * sizeof(*pages));
	if (!pages)
		return -ENOMEM;
	memset(pages + f->n_pages, 0, (n - f->n_pages) * sizeof(*pages));
	f->pages = pages;
	f->n_pages = n;
	return 0;
}

/* A page that nobody else sees, zeros when it was a hole. */
static struct mem_page *own_page(struct mem_file *f, uint64_t i)
{
	struct mem_page *old = f->pages[i], *page;

	if (old && old->refs == 1)
		return old;
	page = calloc(1, sizeof(*page));
	if (!page)
		return NULL;
	page->refs = 1;
	if (old)
		memcpy(page->data, old->data, PAGE);
	page_put(&f->pages[i]);
	f->pages[i] = page;
	return page;
}

static uint64_t step(uint64_t off, uint64_t end)
{
	uint64_t n = PAGE - off % PAGE;

	return n < end - off ? n : end - off;
}

int memfile_read(struct mem_file *f, uint8_t *buf, uint64_t off, uint64_t len)
{
	for (uint64_t end = off + len, n; off < end; off += n, buf += n) {
		n = step(off, end);
		if (off < f->size && off / PAGE < f->n_pages &&
		    f->pages[off / PAGE])
			memcpy(buf, f->pages[off / PAGE]->data + off % PAGE, n);
		else
			memset(buf, 0, n);
	}
	return 0;
}

int memfile_write(struct mem_file *f, const uint8_t *buf, uint64_t off,
		  uint64_t len)
{
	uint64_t end = off + len;
	struct mem_page *page;

	if (pages_for(f, end) < 0)
		return -ENOMEM;
	for (uint64_t n; off < end; off += n, buf += n) {
		n = step(off, end);
		page = own_page(f, off / PAGE);
		if (!page)
			return -ENOMEM;
		memcpy(page->data + off % PAGE, buf, n);
	}
	if (end > f->size)
		f->size = end;
	return 0;
}

int memfile_punch(struct mem_file *f, uint64_t off, uint64_t len)
{
	uint64_t end = off + len, n;
	struct mem_page *page;

	for (; off < end && off / PAGE < f->n_pages; off += n) {
		n = step(off, end);
		if (n == PAGE) {
			page_put(&f->pages[off / PAGE]);
		} else if (f->pages[off / PAGE]) {
			page = own_page(f, off / PAGE);
			if (!page)
				return -ENOMEM;
			memset(page->data + off % PAGE, 0, n);
		}
	}
	return 0;
}

int memfile_truncate(struct mem_file *f, uint64_t size)
{
	if (size < f->size && memfile_punch(f, size, f->size - size) < 0)
		return -ENOMEM;
	f->size = size;
	return 0;
}

void memfile_seek_data(struct mem_file *f, uint64_t off, uint64_t *ret_start,
		       uint64_t *ret_end)
{
	uint64_t i = off / PAGE;

	while (i < f->n_pages && !f->pages[i])
		i++;
	if (off >= f->size || i >= f->n_pages || i * PAGE >= f->size) {
		*ret_start = *ret_end = UINT64_MAX;
		return;
	}
	*ret_start = i * PAGE > off ? i * PAGE : off;
	while (i < f->n_pages && f->pages[i])
		i++;
	*ret_end = i * PAGE < f->size ? i * PAGE : f->size;
}

uint64_t memfile_usage(const struct mem_file *f)
{
	uint64_t bytes = 0;

	for (uint64_t i = 0; i < f->n_pages; i++)
		bytes += f->pages[i] ? PAGE : 0;
	return bytes;
}
