/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the model share. All: false = it failed, see m->what. */
#ifndef PL_TEST_MODEL_INT_H
#define PL_TEST_MODEL_INT_H

#include "model.h"

#define MODEL_MAX_OP (700u << 10) /* bytes of one read or write */

/* ---- model.c ---- */

bool model_open(struct model *m);
bool model_close(struct model *m);
/* All that was done is durable: no other value is allowed any more. */
void model_settle(struct model *m);
void model_settle_sector(struct model_sector *s);

/* ---- model_data.c: operations with random arguments, as those below ---- */

bool op_write(struct model *m);
bool op_zero(struct model *m);
bool op_discard(struct model *m);
bool op_flush(struct model *m);
bool op_read(struct model *m);

/* ---- model_tree.c ---- */

bool op_snapshot(struct model *m);
bool op_switch(struct model *m);
bool op_switch_keeping(struct model *m);
bool op_delete(struct model *m);
bool op_delete_live(struct model *m);
bool op_grow(struct model *m);
bool op_shrink(struct model *m);
bool op_compact(struct model *m);
bool op_reclaim_hidden(struct model *m);

/* ---- model_check.c ---- */

/* The image, which is closed, has no finding. */
bool model_check_closed(struct model *m);
/* Sectors of a chain, with these values or (NULL) those of the disk. */
bool model_compare(struct model *m, struct pl_chain *ch, uint64_t first,
		   uint64_t n, const uint32_t *values);
/* After a crash: every sector holds a value its history allows, and keeps it. */
bool model_adopt(struct model *m);
bool op_verify_snapshot(struct model *m);

#endif
