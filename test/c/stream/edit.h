/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams taken apart into frames, changed, and put together again with
 * numbers, checksums and the hash over all made right: what no sender writes.
 * For streams that are not compressed.
 */
#ifndef PL_TEST_STREAM_EDIT_H
#define PL_TEST_STREAM_EDIT_H

#include <xxhash.h>

#include "bytes.h"
#include "format/le.h"
#include "stream/wire.h"

#define EDIT_FRAMES 400

struct edit_frame {
	struct frame f;
	char *payload; /* malloc */
};

struct edited {
	char header[STREAM_HEADER];
	struct edit_frame frame[EDIT_FRAMES];
	unsigned n;
};

static inline void edit_free(struct edited *e)
{
	for (unsigned i = 0; i < e->n; i++)
		free(e->frame[i].payload);
	e->n = 0;
}

static inline bool edit_load(struct edited *e, const struct bytes *b)
{
	size_t at = STREAM_HEADER;

	e->n = 0;
	memcpy(e->header, b->p, STREAM_HEADER);
	while (at < b->len && e->n < EDIT_FRAMES) {
		struct edit_frame *f = &e->frame[e->n];

		if (frame_decode(b->p + at, e->n, &f->f, NULL) < 0)
			return false;
		f->payload = malloc(f->f.stored + 1u);
		memcpy(f->payload, b->p + at + FRAME_HEADER, f->f.stored);
		at += FRAME_HEADER + f->f.stored;
		e->n++;
	}
	return at == b->len;
}

static inline struct edit_frame *edit_find(struct edited *e,
					   enum frame_type type, unsigned nth)
{
	for (unsigned i = 0; i < e->n; i++)
		if (e->frame[i].f.type == type && nth-- == 0)
			return &e->frame[i];
	return NULL;
}

static inline void edit_remove(struct edited *e, struct edit_frame *f)
{
	free(f->payload);
	memmove(f, f + 1, (size_t)(&e->frame[--e->n] - f) * sizeof(*f));
}

static inline void edit_set_payload(struct edit_frame *f, const char *text)
{
	free(f->payload);
	f->payload = strdup(text);
	f->f.raw = f->f.stored = (uint32_t)strlen(text);
}

/* Replaces the first occurrence of a text in the manifest. */
static inline bool edit_manifest(struct edited *e, const char *from,
				 const char *to)
{
	struct edit_frame *m = edit_find(e, FRAME_MANIFEST, 0);
	size_t len = m->f.stored;
	char *text = malloc(len + strlen(to) + 1), *hit;

	m->payload[len] = '\0';
	hit = strstr(m->payload, from);
	if (hit) {
		size_t head = (size_t)(hit - m->payload);

		memcpy(text, m->payload, head);
		strcpy(text + head, to);
		strcat(text, hit + strlen(from));
		edit_set_payload(m, text);
	}
	free(text);
	return hit != NULL;
}

/* keep_end: the last frame as it is, but for its number and checksum. */
static inline void edit_store(struct edited *e, struct bytes *b, bool keep_end)
{
	char header[FRAME_HEADER];
	uint32_t crc = 0;

	bytes_free(b);
	bytes_write(b, e->header, STREAM_HEADER);
	for (unsigned i = 0; i < e->n; i++) {
		struct edit_frame *f = &e->frame[i];

		if (f->f.type == FRAME_END && !keep_end) {
			XXH128_canonical_t c;

			XXH128_canonicalFromHash(&c,
						 XXH3_128bits(b->p, b->len));
			put64(f->payload, 16, b->len);
			memcpy(f->payload + 24, c.digest, sizeof(c.digest));
		}
		f->f.number = i;
		crc = frame_encode(&f->f, crc, f->payload, header);
		bytes_write(b, header, sizeof(header));
		bytes_write(b, f->payload, f->f.stored);
	}
}

#endif
