/* SPDX-License-Identifier: Apache-2.0 */
/* Which blocks of a detached image cost space: see src/native/binding.ts. */
#include <cstring>
#include <string>
#include <vector>

#include "node/job.h"
#include "node/operations.h"

namespace ploop
{

namespace
{

constexpr size_t PAGE_BYTES = 2 * 256 * 8; /* two masks of 256 clusters */

struct Space {
	uint64_t block_size = 0, size = 0;
	std::vector<uint64_t> pages;
	std::string masks;

	static bool add(void *arg, const struct pl_space_page *page)
	{
		auto *self = static_cast<Space *>(arg);

		self->pages.push_back(page->page_no);
		self->masks.append(reinterpret_cast<const char *>(page->top),
				   sizeof(page->top));
		self->masks.append(reinterpret_cast<const char *>(page->below),
				   sizeof(page->below));
		return true;
	}
};

struct SpaceRequest {
	std::string path;
	uint64_t first, count;
	bool lock;
};

int collect(Space &out, const SpaceRequest &want, pl_err *err)
{
	Opened opened;
	int rc = opened.open(want.path, want.lock ? 0 : PL_IMAGE_NO_LOCK,
			     "ploop info", err);

	if (rc == 0)
		rc = opened.open_chain("", err);
	if (rc < 0)
		return rc;
	out.block_size = pl_chain_block_size(opened.chain.get());
	out.size = pl_chain_size(opened.chain.get());
	return pl_image_space(opened.image.get(), opened.chain.get(),
			      want.first, want.count, Space::add, &out, err);
}

Napi::Value space_object(Napi::Env env, const Space &space)
{
	Napi::Object out = Napi::Object::New(env);
	Napi::Array pages = Napi::Array::New(env, space.pages.size());

	for (size_t i = 0; i < space.pages.size(); i++) {
		Napi::Object one = Napi::Object::New(env);
		one["page"] = number(env, space.pages[i]);
		one["masks"] = Napi::Buffer<char>::Copy(
			env, space.masks.data() + i * PAGE_BYTES, PAGE_BYTES);
		pages[static_cast<uint32_t>(i)] = one;
	}
	out["blockSize"] = number(env, space.block_size);
	out["size"] = number(env, space.size);
	out["pages"] = pages;
	return out;
}

uint64_t whole(const Napi::Value &value)
{
	return static_cast<uint64_t>(value.As<Napi::Number>().Int64Value());
}

} // namespace

/* (dir, first, count, lock) */
Napi::Value space(const Napi::CallbackInfo &info)
{
	SpaceRequest want = { text_or_empty(info[0]), whole(info[1]),
			      whole(info[2]), info[3].As<Napi::Boolean>() };
	auto found = std::make_shared<Space>();

	return start(
		info.Env(),
		[found, want](pl_err *err) {
			return collect(*found, want, err);
		},
		[found](Napi::Env env) { return space_object(env, *found); });
}

} // namespace ploop
