/* SPDX-License-Identifier: Apache-2.0 */
/* What an image gives back to the host when blocks are discarded. */
#include <string.h>

#include "image/image_int.h"

static const char *const names[] = {
	[PL_DISCARD_BLOCK] = "block",
	[PL_DISCARD_CLUSTER] = "cluster",
	[PL_DISCARD_OFF] = "off",
};

bool pl_discard_parse(const char *word, enum pl_discard *ret)
{
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(names[i], word)) {
			*ret = (enum pl_discard)i;
			return true;
		}
	return false;
}

const char *pl_discard_name(enum pl_discard discard)
{
	return names[discard];
}

int pl_image_set_discard(struct pl_image *img, struct pl_chain *live,
			 enum pl_discard discard, struct pl_err *err)
{
	struct pl_image_desc next;
	int rc = need_writable(img, err);

	if (rc < 0)
		return rc;
	if (discard != img->desc.discard) {
		rc = descriptor_copy(&img->desc, &next);
		if (rc < 0)
			return pl_err_sys(err, rc, "discard");
		next.discard = discard;
		rc = descriptor_commit(img, &next, err);
	}
	if (live && img->desc.discard == discard)
		pl_chain_set_discard(live, discard);
	return rc;
}
