/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole image of one or three layers with edits in its layer files. Input:
 * which sample, what the exercise ends with, how much is written, the edits,
 * the writes.
 */
#include "sandbox.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { data, size };
	struct sandbox s;

	sandbox_open(&s, (enum sandbox_sample)(fuzz_take(&in, 1) % SAMPLES));
	sandbox_edit(&s, &in);
	sandbox_exercise(&s, &in);
	sandbox_close(&s);
	return 0;
}
