/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images in memory for the targets that open whole layers: samples that are
 * built once and copied for each input, edits with right checksums, and the
 * exercise that every edited image has to go through.
 */
#ifndef PL_FUZZ_SANDBOX_H
#define PL_FUZZ_SANDBOX_H

#include "format/format.h"
#include "fuzz.h"
#include "store/store.h"

#define SANDBOX_LAYERS 3u
/* Files may get this long; beyond it the host is full. */
#define SANDBOX_FILE_MAX (256ull << 20)

enum sandbox_sample {
	SAMPLE_ONE, /* one layer, clean */
	SAMPLE_CRASHED, /* one layer, records in the journal */
	SAMPLE_CHAIN, /* three layers, the top clean */
	SAMPLE_CHAIN_CRASHED, /* three layers, records in the top's journal */
	SAMPLE_LARGE_BLOCKS, /* one layer with 64 KiB blocks */
	SAMPLES
};

struct sandbox {
	struct pl_dir *dir;
	unsigned n; /* layers, base first */
	char file[SANDBOX_LAYERS][96];
};

void sandbox_open(struct sandbox *s, enum sandbox_sample sample);
void sandbox_close(struct sandbox *s);

/* Layer i's file. */
struct pl_store *sandbox_file(struct sandbox *s, unsigned i);
/* Is every file as it is in the other? */
bool sandbox_equal(struct sandbox *a, struct sandbox *b);
void sandbox_copy(struct sandbox *to, const struct sandbox *from);

/* layer_edit.c: edits as the input says, until it says stop. */
void sandbox_edit(struct sandbox *s, struct fuzz_in *in);

/*
 * exercise.c: looks at the image, then changes it; how is taken from the input.
 */
void sandbox_exercise(struct sandbox *s, struct fuzz_in *in);

#endif
