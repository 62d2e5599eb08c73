/* SPDX-License-Identifier: Apache-2.0 */
/* Opening images for the addon: see core.h. */
#include "node/core.h"

#include <cstdio>
#include <unistd.h>

namespace ploop
{

int Opened::open(const std::string &path, unsigned flags, const char *doing,
		 pl_err *err)
{
	pl_dir *raw_dir = nullptr;
	pl_image *raw_image = nullptr;
	char who[96];

	int rc = pl_dir_open(&raw_dir, path.c_str(), 0, nullptr, err);
	if (rc < 0)
		return rc;
	dir.reset(raw_dir);
	snprintf(who, sizeof(who), "%s (pid %d)", doing,
		 static_cast<int>(getpid()));
	rc = pl_image_open(&raw_image, raw_dir, flags, who, err);
	if (rc < 0)
		return rc;
	image.reset(raw_image);
	return 0;
}

int Opened::open_chain(const std::string &key, pl_err *err)
{
	pl_chain *raw = nullptr;
	int rc = pl_image_open_chain(image.get(), or_null(key), true, nullptr,
				     &raw, err);

	if (rc < 0)
		return rc;
	chain.reset(raw);
	return 0;
}

} // namespace ploop
