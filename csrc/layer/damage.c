/* SPDX-License-Identifier: Apache-2.0 */
/* The list of damage as a table, and how it is told. See damage.h. */
#include "layer/damage.h"

#include <stdio.h>

static const struct {
	const char *name, *meaning;
	enum pl_fix fix;
} table[] = {
#define PL_DAMAGE(name, text, how, what) \
	[PL_DAMAGE_##name] = { text, what, PL_FIX_##how },
	PL_DAMAGE_LIST(PL_DAMAGE)
#undef PL_DAMAGE
};

const char *pl_damage_name(enum pl_damage kind)
{
	return table[kind].name;
}

const char *pl_damage_meaning(enum pl_damage kind)
{
	return table[kind].meaning;
}

enum pl_fix pl_damage_fix(enum pl_damage kind)
{
	return table[kind].fix;
}

enum pl_code pl_damage_code(enum pl_damage kind)
{
	return kind == PL_DAMAGE_FEATURE ? PL_E_UNSUPPORTED_FEATURE :
					   PL_E_CORRUPT;
}

void pl_damage_vtell(const struct pl_damage_sink *sink, enum pl_damage kind,
		     uint64_t off, const char *fmt, va_list ap)
{
	char text[400];

	vsnprintf(text, sizeof(text), fmt, ap);
	sink->found(sink->arg, kind, off, text);
}

void pl_damage_tell(const struct pl_damage_sink *sink, enum pl_damage kind,
		    uint64_t off, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	pl_damage_vtell(sink, kind, off, fmt, ap);
	va_end(ap);
}
