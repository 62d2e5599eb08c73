/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is attached, as launcher, keeper and worker pass it on, and how a
 * failure reaches the user: an error, a way out, and one JSON line.
 */
#ifndef PLOOP_PLOOPD_ATTACHMENT_H
#define PLOOP_PLOOPD_ATTACHMENT_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "engine/engine.h"
#include "image/image.h"

#define PL_ATTACHMENT_ID (2 * PL_ID_LEN + 2) /* uuid@uuid and the NUL */
#define PL_LOOP_NAME 64 /* LO_NAME_SIZE, with the NUL */

struct pl_via;

/* A block device as the kernel knows it. */
struct pl_blockdev {
	char path[32]; /* "/dev/loop3" */
	char devno[16]; /* "7:3" */
};

struct pl_attachment {
	char id[PL_ATTACHMENT_ID]; /* image UUID, or image@snapshot */
	char image[PL_ID_LEN + 1];
	char snapshot[PL_ID_LEN + 1]; /* "" = the top */
	char directory[PATH_MAX]; /* of the image, absolute */
	char folder[PATH_MAX]; /* run directory of this attachment */
	bool read_only;
	const struct pl_via *via; /* how its device is made; NULL = bare */
	bool loop; /* a device, not a visible file */
	bool bare; /* neither of them */
	uint32_t sector_size; /* of the device */
	enum pl_on_full on_full; /* at first; later see shared.h */
	struct pl_limits limits; /* as on_full */
};

/* An error and the way out. */
struct pl_failure {
	struct pl_err err;
	char hint[320]; /* "" = none */
};

/* The name that tells our device and our fuse file: "ploop:<id>". */
void pl_attachment_name(const char *id, char name[PL_LOOP_NAME]);

/* "pause" or "error"; and back, -EINVAL when it is neither. */
const char *pl_on_full_name(enum pl_on_full on_full);
int pl_on_full_parse(const char *word, enum pl_on_full *ret);

/* Whether a device may have such limits; the sentence why not otherwise. */
const char *pl_limits_wrong(struct pl_limits limits);

/* Sets image and snapshot from id; -EINVAL when it is not an attachment's. */
int pl_attachment_split(struct pl_attachment *att);

/* Fills the hint, returns rc. */
int pl_hint(struct pl_failure *f, int rc, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* {"ok":false,"error":...} and the exit status for it. */
int pl_report_failure(const struct pl_failure *f);

/* {"ok":true,"result":<json>}: json is a complete JSON value. */
int pl_report_result(const char *json);

#endif
