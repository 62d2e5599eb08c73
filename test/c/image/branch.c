/* SPDX-License-Identifier: Apache-2.0 */
/* A hidden layer below two branches: see model_branch(). */
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
