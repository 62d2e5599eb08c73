/* SPDX-License-Identifier: Apache-2.0 */
/* Changed blocks of a detached image: see src/native/binding.ts. */
#include <string>
#include <vector>

#include "node/job.h"
#include "node/operations.h"

namespace ploop
{

namespace
{

struct DiffClose {
	void operator()(pl_diff *diff) const
	{
		pl_diff_close(diff);
	}
};

struct DiffRequest {
	std::string path, from, to;
	uint64_t off, len;
	bool compare, lock;
};

/* Keeps at most `limit` extents and where to go on. */
struct Diff {
	std::vector<pl_diff_extent> extents;
	std::string from, to;
	uint64_t size = 0, limit = 0, next = 0;
	bool more = false;
	StopFlag stop;

	static bool add(void *arg, const pl_diff_extent *extent)
	{
		auto *self = static_cast<Diff *>(arg);

		if (self->extents.size() == self->limit) {
			self->next = extent->off;
			self->more = true;
			return false;
		}
		self->extents.push_back(*extent);
		return true;
	}

	static bool step(void *arg, uint64_t)
	{
		return !static_cast<Diff *>(arg)->stop->load();
	}
};

int collect(Diff &out, const DiffRequest &want, pl_err *err)
{
	Opened opened;
	pl_diff *raw = nullptr;
	int rc = opened.open(want.path, want.lock ? 0 : PL_IMAGE_NO_LOCK,
			     "ploop diff", err);

	if (rc == 0)
		rc = pl_diff_open(&raw, opened.image.get(), or_null(want.from),
				  or_null(want.to), nullptr, err);
	std::unique_ptr<pl_diff, DiffClose> diff(raw);
	if (rc < 0)
		return rc;
	out.from = pl_diff_from(raw);
	out.to = pl_diff_to(raw);
	out.size = pl_diff_size(raw);
	return pl_diff_extents(raw, want.off,
			       want.len > 0 ? want.len : UINT64_MAX,
			       want.compare ? PL_DIFF_COMPARE : 0, Diff::add,
			       Diff::step, &out, nullptr, err);
}

Napi::Value text_or_null(Napi::Env env, const std::string &text)
{
	if (text.empty())
		return env.Null();
	return Napi::String::New(env, text);
}

Napi::Value diff_object(Napi::Env env, const Diff &diff)
{
	Napi::Object out = Napi::Object::New(env);
	Napi::Array extents = Napi::Array::New(env, diff.extents.size());

	for (size_t i = 0; i < diff.extents.size(); i++) {
		Napi::Object one = Napi::Object::New(env);
		one["offset"] = number(env, diff.extents[i].off);
		one["length"] = number(env, diff.extents[i].len);
		one["zero"] = Napi::Boolean::New(env, diff.extents[i].zero);
		extents[static_cast<uint32_t>(i)] = one;
	}
	out["from"] = text_or_null(env, diff.from);
	out["to"] = text_or_null(env, diff.to);
	out["size"] = number(env, diff.size);
	out["extents"] = extents;
	if (diff.more)
		out["next"] = number(env, diff.next);
	else
		out["next"] = env.Null();
	return out;
}

uint64_t bytes(const Napi::Value &value)
{
	return static_cast<uint64_t>(value.As<Napi::Number>().Int64Value());
}

} // namespace

/* (dir, from | null, to | null, offset, length, limit, compare, lock, stop) */
Napi::Value diff(const Napi::CallbackInfo &info)
{
	DiffRequest want = { info[0].As<Napi::String>(),
			     text_or_empty(info[1]),
			     text_or_empty(info[2]),
			     bytes(info[3]),
			     bytes(info[4]),
			     info[6].As<Napi::Boolean>(),
			     info[7].As<Napi::Boolean>() };
	auto found = std::make_shared<Diff>();

	found->limit = bytes(info[5]);
	found->stop = stop_flag_of(info[8]);
	return start(
		info.Env(),
		[found, want](pl_err *err) {
			return collect(*found, want, err);
		},
		[found](Napi::Env env) { return diff_object(env, *found); });
}

} // namespace ploop
