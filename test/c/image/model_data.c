/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on the disk: write, zero, discard, flush, read. */
#include "model_int.h"

static char buf[MODEL_MAX_OP] __attribute__((aligned(4096)));

static void fill(char *p, uint64_t sectors, uint32_t value)
{
	uint32_t *w = (uint32_t *)(void *)p;

	for (uint64_t i = 0; i < sectors * 128; i++)
		w[i] = value;
}

static void note(struct model *m, uint64_t first, uint64_t n, uint32_t value)
{
	for (uint64_t i = first; i < first + n; i++) {
		struct model_sector *s = &m->s[i];

		s->value = value;
		if (s->n_allowed < MODEL_HISTORY)
			s->allowed[s->n_allowed++] = value;
	}
}

static void range(struct model *m, uint64_t *first, uint64_t *n)
{
	static const unsigned most[] = { 1, 8, 16, 64, 600, 1400 };
	uint64_t limit = most[model_random(m, 6)];

	*first = model_random(m, m->sectors);
	if (model_random(m, 2))
		*first = *first / 8 * 8;
	*n = 1 + model_random(m, limit);
	if (model_random(m, 2))
		*n = (*n + 7) / 8 * 8;
	if (*n > m->sectors - *first)
		*n = m->sectors - *first;
}

/* A full history would make the model forget: settle it first. */
bool op_flush(struct model *m)
{
	if (pl_chain_flush(m->ch) < 0)
		return model_trouble(m, "flush failed");
	model_settle(m);
	return true;
}

static bool room(struct model *m, uint64_t first, uint64_t n)
{
	for (uint64_t i = first; i < first + n; i++)
		if (m->s[i].n_allowed == MODEL_HISTORY)
			return op_flush(m);
	return true;
}

bool op_write(struct model *m)
{
	uint32_t value = m->next_value++;
	uint64_t first, n;

	range(m, &first, &n);
	if (!room(m, first, n))
		return false;
	fill(buf, n, value);
	note(m, first, n, value);
	if (pl_chain_write(m->ch, buf, n * 512, first * 512) < 0)
		return model_trouble(m, "write failed");
	return true;
}

/* Content must not depend on what is given back. */
static void any_policy(struct model *m, uint64_t seed)
{
	pl_chain_set_discard(m->ch, (enum pl_discard)(seed % 3));
}

bool op_zero(struct model *m)
{
	uint64_t first, n;

	range(m, &first, &n);
	if (!room(m, first, n))
		return false;
	note(m, first, n, 0);
	any_policy(m, first);
	if (pl_chain_zero(m->ch, n * 512, first * 512) < 0)
		return model_trouble(m, "zero failed");
	return true;
}

bool op_discard(struct model *m)
{
	uint64_t first, n, per = m->block_size / 512, start, end;

	range(m, &first, &n);
	if (!room(m, first, n))
		return false;
	start = (first + per - 1) / per * per;
	end = (first + n) / per * per;
	if (end > start)
		note(m, start, end - start, 0);
	any_policy(m, first);
	if (pl_chain_discard(m->ch, n * 512, first * 512) < 0)
		return model_trouble(m, "discard failed");
	return true;
}

bool op_read(struct model *m)
{
	uint64_t first, n;

	range(m, &first, &n);
	return model_compare(m, m->ch, first, n, NULL);
}
