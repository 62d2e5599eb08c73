/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operation `space` of the control socket: which blocks cost host space,
 * some map pages at a time. Pages without any are left out, so that a thin disk
 * takes few answers.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "chain/chain.h"
#include "engine/engine.h"
#include "image/image.h"
#include "ploopd/control/control_ops.h"

#define PAGES_LIMIT 16u /* in an answer: 90 KiB of text */
#define SCAN_LIMIT 4096u /* pages looked at for one answer */

#define MASK_BYTES 4096u /* two masks of 256 clusters */

struct spacing {
	struct pl_call *call;
	json_t *pages;
	uint64_t left, next; /* pages that fit; first one not told */
};

/* Standard base64 without line ends; ret has room for 4 * ceil(len / 3) + 1. */
static void base64(const unsigned char *from, size_t len, char *ret)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmno"
				     "pqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < len; i += 3) {
		unsigned v = (unsigned)from[i] << 16;

		v |= i + 1 < len ? (unsigned)from[i + 1] << 8 : 0;
		v |= i + 2 < len ? from[i + 2] : 0;
		*ret++ = digits[v >> 18];
		*ret++ = digits[v >> 12 & 63];
		*ret++ = i + 1 < len ? digits[v >> 6 & 63] : '=';
		*ret++ = i + 2 < len ? digits[v & 63] : '=';
	}
	*ret = '\0';
}

static bool add_page(void *arg, const struct pl_space_page *page)
{
	_Static_assert(sizeof(page->top) + sizeof(page->below) == MASK_BYTES,
		       "");
	struct spacing *s = arg;
	unsigned char masks[MASK_BYTES];
	char text[(MASK_BYTES + 2) / 3 * 4 + 1];
	json_t *j;

	if (s->left == 0 || s->call->cancelled) {
		s->next = page->page_no;
		return false;
	}
	s->left--;
	memcpy(masks, page->top, sizeof(page->top));
	memcpy(masks + sizeof(page->top), page->below, sizeof(page->below));
	base64(masks, sizeof(masks), text);
	j = json_object();
	pl_call_set_number(j, "page", page->page_no);
	pl_call_set_text(j, "masks", text);
	json_array_append_new(s->pages, j);
	return true;
}

int pl_op_space(struct pl_worker *w, struct pl_call *call, json_t **ret,
		struct pl_err *err)
{
	struct pl_chain *ch = pl_engine_chain(w->engine);
	uint64_t bs = pl_chain_block_size(ch);
	uint64_t pages = pl_div_up(pl_chain_size(ch),
				   bs * PL_CLUSTER_BLOCKS * PL_PAGE_ENTRIES);
	struct spacing s = { .call = call, .left = PAGES_LIMIT };
	uint64_t first;
	int rc;

	if (pl_call_get_number(call, "first", 0, &first, err) < 0)
		return -EINVAL;
	s.pages = json_array();
	s.next = first + SCAN_LIMIT;
	rc = pl_image_space(w->image, ch, first, SCAN_LIMIT, add_page, &s, err);
	*ret = json_object();
	pl_call_set_number(*ret, "blockSize", bs);
	pl_call_set_number(*ret, "size", pl_chain_size(ch));
	json_object_set_new(*ret, "pages", s.pages);
	if (s.next < pages)
		pl_call_set_number(*ret, "next", s.next);
	else
		json_object_set_new(*ret, "next", json_null());
	return rc;
}
