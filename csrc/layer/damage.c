/* SPDX-License-Identifier: Apache-2.0 */
/* The list of damage as a table. See damage.h. */
#include "layer/damage.h"

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
