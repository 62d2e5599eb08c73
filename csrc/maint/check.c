/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Check of one layer file: reads every piece of metadata and says what does
 * not hold. Whatever a crash can leave behind is not damage and not reported.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "maint/maint.h"

static enum pl_damage header_kind(const struct pl_err *err)
{
	return err->code == PL_E_UNSUPPORTED_FEATURE ? PL_DAMAGE_FEATURE :
						       PL_DAMAGE_HEADER;
}

/*
 * A header copy may be torn by a crash; but a layer that was closed in order
 * has two good ones. *ret_usable: the layer can be opened.
 */
static int check_headers(struct pl_store *st, const struct pl_damage_sink *sink,
			 bool *ret_usable)
{
	char pages[2][PL_PAGE];
	struct pl_header hdr, best;
	struct pl_err err;
	unsigned slot;
	int rc = pl_store_read(st, pages, sizeof(pages), 0, PL_IO_META);

	*ret_usable = false;
	if (rc < 0)
		return rc;
	if (pl_header_choose(pages[0], pages[1], &best, &slot, &err) < 0) {
		pl_damage_tell(sink, header_kind(&err), 0, "%s", err.msg);
		return 0;
	}
	*ret_usable = true;
	if (best.flags & PL_HEADER_CLEAN &&
	    pl_header_decode(pages[!slot], &hdr, &err) < 0)
		pl_damage_tell(sink, PL_DAMAGE_HEADER_COPY, !slot * PL_PAGE,
			       "header copy %c: %s (the other copy is good)",
			       'A' + !slot, err.msg);
	return 0;
}

static int count(struct pl_layer *ly, struct pl_check_layer *ret)
{
	struct pl_entry entries[PL_PAGE_ENTRIES];
	int rc = 0;

	for (uint64_t p = 0; p < pl_layer_page_count(ly) && rc == 0; p++) {
		if (!pl_layer_page_present(ly, p))
			continue;
		rc = pl_layer_page(ly, p, entries);
		ret->map_pages++;
		for (unsigned i = 0; i < PL_PAGE_ENTRIES && rc == 0; i++)
			ret->clusters += entries[i].where != 0;
	}
	return rc;
}

int pl_check_layer_file(struct pl_store *st, bool data,
			const struct pl_damage_sink *sink,
			struct pl_check_layer *ret, struct pl_err *err)
{
	struct pl_layer *ly;
	bool usable;
	int rc;

	memset(ret, 0, sizeof(*ret));
	rc = check_headers(st, sink, &usable);
	if (rc < 0)
		pl_err_sys(err, rc, "header");
	if (rc == 0 && usable)
		rc = pl_layer_open_damaged(&ly, st, 0, sink,
					   &ret->journal_records, err);
	if (rc < 0 || !usable) {
		pl_store_close(st);
		return rc;
	}
	ret->hdr = *pl_layer_header(ly);
	ret->opened = true;
	rc = count(ly, ret);
	if (rc < 0)
		pl_err_sys(err, rc, "map");
	if (rc == 0)
		rc = pl_checksums_verify(ly, data, sink, ret, err);
	pl_layer_abandon(ly);
	return rc;
}
