/* SPDX-License-Identifier: Apache-2.0 */
/* What the image holds, compared with what the model says. */
#include "model_int.h"

#include <string.h>

static char buf[MODEL_MAX_OP] __attribute__((aligned(4096)));

static bool print_finding(void *arg, const struct pl_finding *f)
{
	model_trouble(arg, "check: layer %s: %s", f->layer, f->text);
	return true;
}

bool model_check_closed(struct model *m)
{
	struct pl_check_result res;
	struct pl_err err;

	if (pl_image_check(m->dir, print_finding, m, &res, &err) < 0)
		return model_trouble(m, "check: %s", err.msg);
	return res.findings == 0;
}

static bool compare_part(struct model *m, struct pl_chain *ch, uint64_t first,
			 uint64_t n, const uint32_t *values)
{
	const uint32_t *w = (const uint32_t *)(const void *)buf;
	uint32_t want;

	memset(buf, 0xee, n * 512);
	if (pl_chain_read(ch, buf, n * 512, first * 512) < 0)
		return model_trouble(m, "read failed");
	for (uint64_t i = 0; i < n; i++) {
		want = values ? values[first + i] : m->s[first + i].value;
		for (unsigned k = 0; k < 128; k++)
			if (w[i * 128 + k] != want)
				return model_trouble(
					m, "sector %llu is %u, not %u",
					(unsigned long long)(first + i),
					w[i * 128 + k], want);
	}
	return true;
}

bool model_compare(struct model *m, struct pl_chain *ch, uint64_t first,
		   uint64_t n, const uint32_t *values)
{
	uint64_t most = MODEL_MAX_OP / 512, part;

	for (; n; first += part, n -= part) {
		part = n < most ? n : most;
		if (!compare_part(m, ch, first, part, values))
			return false;
	}
	return true;
}

bool model_verify_all(struct model *m)
{
	return model_compare(m, m->ch, 0, m->sectors, NULL);
}

bool op_verify_snapshot(struct model *m)
{
	struct model_snapshot *s;
	struct pl_chain *ch;
	struct pl_err err;
	bool fine;

	if (!m->n_snap)
		return true;
	s = &m->snap[model_random(m, m->n_snap)];
	if (pl_image_open_chain(m->img, s->id, true, NULL, &ch, &err) < 0)
		return model_trouble(m, "snapshot chain: %s", err.msg);
	fine = pl_chain_size(ch) == s->sectors * 512 &&
	       model_compare(m, ch, 0, s->sectors, s->values);
	pl_chain_abandon(ch);
	return fine;
}

bool model_is_kept(const struct model *m)
{
	for (unsigned i = 0; i < m->n_snap; i++) {
		const struct model_snapshot *s = &m->snap[i];
		uint64_t n = 0;

		while (n < m->sectors && s->sectors == m->sectors &&
		       s->values[n] == m->s[n].value)
			n++;
		if (n == m->sectors)
			return true;
	}
	return false;
}

/* After a crash every sector holds a value its history allows. */
bool model_adopt(struct model *m)
{
	const uint32_t *w = (const uint32_t *)(const void *)buf;

	for (uint64_t i = 0; i < m->sectors; i++) {
		struct model_sector *s = &m->s[i];
		bool fine = false;

		if (i % 64 == 0 &&
		    pl_chain_read(m->ch, buf,
				  (m->sectors - i < 64 ? m->sectors - i : 64) *
					  512,
				  i * 512) < 0)
			return model_trouble(m, "read failed");
		for (unsigned k = 0; k < s->n_allowed; k++)
			fine |= s->allowed[k] == w[i % 64 * 128];
		if (!fine)
			return model_trouble(m,
					     "after a crash, sector %llu is %u",
					     (unsigned long long)i,
					     w[i % 64 * 128]);
		s->value = w[i % 64 * 128];
	}
	return true;
}
