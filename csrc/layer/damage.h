/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every kind of damage that a check can name: PL_DAMAGE(NAME, "name", fix,
 * meaning). "name" is what --json and repair reports say, and stays.
 *
 * fix: EXACT has one right answer and loses nothing; SALVAGE keeps what can be
 * proven and drops the rest, with a copy of the file kept before; NONE is left
 * as it is.
 */
#ifndef PLOOP_LAYER_DAMAGE_H
#define PLOOP_LAYER_DAMAGE_H

#include <stdarg.h>
#include <stdint.h>

#include "base/err.h"

#define PL_DAMAGE_LIST(X)                                                      \
	X(HEADER_COPY, "header-copy", EXACT,                                   \
	  "Nothing is lost, the other copy is good; but the next fault there " \
	  "would cost the layer.")                                             \
	X(HEADER, "header", NONE,                                              \
	  "The layer can't be opened, or only for reading, nor what builds "   \
	  "on it.")                                                            \
	X(FEATURE, "feature", NONE,                                            \
	  "The layer was written by a newer program and needs it; nothing "    \
	  "is wrong with it.")                                                 \
	X(SHORT_FILE, "short-file", EXACT,                                     \
	  "Nothing is lost: what is missing of the file held nothing.")        \
	X(TRUNCATED, "truncated", SALVAGE,                                     \
	  "What was beyond the file's end is lost: those blocks read as "      \
	  "zeros, and after a repair as the layers below have them.")          \
	X(DIRECTORY_USED, "directory-used", EXACT,                             \
	  "Until it is repaired, the blocks behind these pages read as the "   \
	  "layers below have them.")                                           \
	X(DIRECTORY_PAGE, "directory-page", SALVAGE,                           \
	  "Map pages that this page alone named are lost: their blocks read "  \
	  "as the layers below have them.")                                    \
	X(DIRECTORY_ENTRY, "directory-entry", SALVAGE,                         \
	  "The map page is lost: its blocks read as the layers below have "    \
	  "them.")                                                             \
	X(MAP_PAGE, "map-page", SALVAGE,                                       \
	  "Which blocks of these clusters the layer holds, and where, is not " \
	  "certain: some may read as older or as foreign data.")               \
	X(SHARED_PAGE, "shared-map-page", SALVAGE,                             \
	  "At most one of the two is right: the blocks of the other read as "  \
	  "foreign data.")                                                     \
	X(MAP_ENTRY, "map-entry", SALVAGE,                                     \
	  "What the entry said can't be so: these blocks read as the layers "  \
	  "below have them.")                                                  \
	X(BEYOND_END, "beyond-end", SALVAGE,                                   \
	  "The data is not in the file: these blocks read as the layers "      \
	  "below have them.")                                                  \
	X(SHARED_CLUSTER, "shared-cluster", EXACT,                             \
	  "A write to one of the two clusters would change the other, too; "   \
	  "one of them may hold the other's data already.")                    \
	X(UNOWNED_DATA, "unowned-data", EXACT,                                 \
	  "Nothing is lost yet; but when blocks near by are written, these "   \
	  "bytes may show where zeros belong.")                                \
	X(JOURNAL, "journal", SALVAGE,                                         \
	  "Changes of the last seconds before the crash are lost: some "       \
	  "blocks may read as before them.")                                   \
	X(LAYER_MISSING, "layer-missing", NONE,                                \
	  "The layer's data is gone: nothing that builds on it can be read.")  \
	X(LAYER_FOREIGN, "layer-foreign", NONE,                                \
	  "The file is another layer's: nothing that builds on this one can "  \
	  "be read.")                                                          \
	X(LAYER_MISFIT, "layer-misfit", NONE,                                  \
	  "The layer was made for another place: what builds on it would "     \
	  "read as a mixture.")                                                \
	X(DESCRIPTOR, "descriptor", NONE,                                      \
	  "Which layers make the disk is not known; the layers may be fine.")  \
	X(CHECKSUMS, "checksums", EXACT,                                       \
	  "The data may be fine, but part of it can't be verified.")           \
	X(DATA, "data", NONE,                                                  \
	  "The block's content is not what was sealed: the host's disk or "    \
	  "some program has changed it.")

enum pl_damage {
#define PL_DAMAGE(name, text, fix, meaning) PL_DAMAGE_##name,
	PL_DAMAGE_LIST(PL_DAMAGE)
#undef PL_DAMAGE
};

enum pl_fix { PL_FIX_NONE, PL_FIX_EXACT, PL_FIX_SALVAGE };

const char *pl_damage_name(enum pl_damage kind);
const char *pl_damage_meaning(enum pl_damage kind);
enum pl_fix pl_damage_fix(enum pl_damage kind);
enum pl_code pl_damage_code(enum pl_damage kind);

/* Where damage is told: the place is in the layer's file, bytes. */
struct pl_damage_sink {
	void (*found)(void *arg, enum pl_damage kind, uint64_t off,
		      const char *text);
	void *arg;
};

/* The text is built as printf does it, 399 bytes of it at most. */
void pl_damage_tell(const struct pl_damage_sink *sink, enum pl_damage kind,
		    uint64_t off, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
void pl_damage_vtell(const struct pl_damage_sink *sink, enum pl_damage kind,
		     uint64_t off, const char *fmt, va_list ap)
	__attribute__((format(printf, 4, 0)));

#endif
