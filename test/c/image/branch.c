/* SPDX-License-Identifier: Apache-2.0 */
/* Shapes that random operations hardly meet: see model_branch(), model_cut(). */
#include "model.h"

static bool write_much(struct model *m)
{
	bool fine = true;

	for (unsigned i = 0; fine && i < 12; i++)
		fine = model_do(m, MODEL_OP_WRITE);
	return fine && model_do(m, MODEL_OP_DISCARD);
}

bool model_branch(struct model *m)
{
	unsigned trunk = m->n_snap;

	if (m->n_snap + 2 > m->max_snap)
		return true;
	return write_much(m) && model_do(m, MODEL_OP_SNAPSHOT) &&
	       write_much(m) && model_do(m, MODEL_OP_SNAPSHOT) &&
	       model_switch(m, trunk) && write_much(m) &&
	       model_delete_live(m, trunk);
}

bool model_cut(struct model *m)
{
	unsigned large = m->n_snap;
	bool live = model_random(m, 2);

	if (m->n_snap == m->max_snap || m->sectors < 1024)
		return true;
	if (!write_much(m) || !model_do(m, MODEL_OP_SNAPSHOT) ||
	    !model_do(m, MODEL_OP_SHRINK) || !model_do(m, MODEL_OP_WRITE))
		return false;
	return live ? model_delete_live(m, large) : model_delete(m, large);
}
