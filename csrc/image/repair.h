/* SPDX-License-Identifier: Apache-2.0 */
/* What repair.c and report.c share. */
#ifndef PLOOP_IMAGE_REPAIR_H
#define PLOOP_IMAGE_REPAIR_H

#include "image/image_int.h"

#define REPORT_FINDINGS 10000u /* that a report lists */

struct repair_work {
	bool salvage; /* something has no one right answer */
	bool exact; /* something has */
	bool blocked; /* the layer can't be opened, or is not the right one */
	bool header_only; /* nothing but a header copy is wrong */
	struct check_layer_state state;
};

struct repair {
	struct checkup c;
	struct pl_finding *list; /* .layer points into desc, or is "" */
	unsigned n, cap;
	struct repair_work *work; /* by layer of the descriptor */
	struct repair_work *current;
	bool no_memory;
};

/*
 * Makes the repair's directory with a copy of each layer that will be
 * salvaged, and a first report; durable. The name is in c.ret->report.
 */
int report_begin(struct repair *r, struct pl_err *err);
/* The report with the outcomes. */
int report_end(struct repair *r, struct pl_err *err);

#endif
