/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The C core as C++ sees it: headers, and owners that close what they hold.
 *
 * Nothing here touches JavaScript: these objects live on pool threads.
 */
#ifndef PLOOP_NODE_CORE_H
#define PLOOP_NODE_CORE_H

#include <cstdint>
#include <memory>
#include <string>

/* C lets a struct and a function share a name, which C++ calls shadowing. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
extern "C" {
#include "base/err.h"
#include "chain/chain.h"
#include "image/diff.h"
#include "image/adopt.h"
#include "image/image.h"
#include "store/store.h"
}
#pragma GCC diagnostic pop

namespace ploop
{

using ImageDesc = struct pl_image_desc;
using ImageSnapshot = struct pl_image_snapshot;

struct DirClose {
	void operator()(pl_dir *dir) const
	{
		pl_dir_close(dir);
	}
};
struct ImageClose {
	void operator()(pl_image *img) const
	{
		pl_image_close(img);
	}
};
struct ChainClose {
	void operator()(pl_chain *chain) const
	{
		pl_chain_close(chain, nullptr);
	}
};

using Dir = std::unique_ptr<pl_dir, DirClose>;
using Image = std::unique_ptr<pl_image, ImageClose>;
using Chain = std::unique_ptr<pl_chain, ChainClose>;

/* An open image; members are closed in the reverse order. */
struct Opened {
	Dir dir;
	Image image;
	Chain chain;

	/* flags: PL_IMAGE_*. `doing` tells others who holds the lock. */
	int open(const std::string &path, unsigned flags, const char *doing,
		 pl_err *err);
	/* The chain of the top (key empty) or of a snapshot, read-only. */
	int open_chain(const std::string &key, pl_err *err);
};

/* NULL for an empty string: how the C side spells "none". */
inline const char *or_null(const std::string &text)
{
	return text.empty() ? nullptr : text.c_str();
}

} // namespace ploop

#endif
