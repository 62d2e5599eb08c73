/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations that change an image: create, snapshot, switch, delete, resize,
 * compact. Each opens the image under its exclusive lock and closes it again.
 */
#include "node/operations.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "node/job.h"

namespace ploop
{

namespace
{

/* Opens the image at `path` for writing and runs fn(image, err) on it. */
template <typename Fn>
int with_image(const std::string &path, const char *doing, pl_err *err, Fn fn)
{
	Opened opened;
	int rc = opened.open(path, PL_IMAGE_WRITE, doing, err);

	return rc < 0 ? rc : fn(opened.image.get());
}

} // namespace

/* (dir, size, blockSize, label | null, fs, checksums) */
Napi::Value create(const Napi::CallbackInfo &info)
{
	auto size =
		static_cast<uint64_t>(info[1].As<Napi::Number>().Int64Value());
	uint32_t block_size = info[2].As<Napi::Number>();

	return start(
		info.Env(),
		[path = text_or_empty(info[0]), size, block_size,
		 label = text_or_empty(info[3]), fs = text_or_empty(info[4]),
		 checksums = info[5].As<Napi::Boolean>().Value()](pl_err *err) {
			pl_image_params params = {};
			pl_dir *raw = nullptr;
			int rc = pl_dir_open(&raw, path.c_str(), PL_OPEN_CREATE,
					     nullptr, err);
			Dir dir(raw);

			if (rc < 0)
				return rc;
			params.size = size;
			params.block_size = block_size;
			params.label = or_null(label);
			params.fs = fs.c_str();
			params.checksums = checksums;
			return pl_image_create(raw, &params, err);
		});
}

/* (dir, name | null, description | null, holder | null) -> id */
Napi::Value snapshot(const Napi::CallbackInfo &info)
{
	auto id = std::make_shared<std::string>(PL_ID_LEN + 1, '\0');

	return start(
		info.Env(),
		[path = text_or_empty(info[0]), name = text_or_empty(info[1]),
		 description = text_or_empty(info[2]),
		 holder = text_or_empty(info[3]), id](pl_err *err) {
			return with_image(path, "ploop snapshot", err,
					  [&](pl_image *img) {
						  return pl_image_snapshot(
							  img, nullptr,
							  or_null(name),
							  or_null(description),
							  or_null(holder),
							  id->data(), err);
					  });
		},
		[id](Napi::Env env) -> Napi::Value {
			return Napi::String::New(env, id->c_str());
		});
}

/* (from, snapshot, to, label | null, copy) */
Napi::Value clone(const Napi::CallbackInfo &info)
{
	return start(info.Env(), [from = text_or_empty(info[0]),
				  key = text_or_empty(info[1]),
				  to = text_or_empty(info[2]),
				  label = text_or_empty(info[3]),
				  copy = info[4].As<Napi::Boolean>().Value()](
					 pl_err *err) {
		pl_dir *raw = nullptr;
		int rc = pl_dir_open(&raw, from.c_str(), 0, nullptr, err);
		Dir source(raw), target;

		if (rc < 0)
			return rc;
		raw = nullptr;
		rc = pl_dir_open(&raw, to.c_str(), PL_OPEN_CREATE, nullptr,
				 err);
		target.reset(raw);
		return rc < 0 ? rc :
				pl_image_clone(source.get(), key.c_str(),
					       target.get(), or_null(label),
					       copy, err);
	});
}

/* (dir, clone) */
Napi::Value adopt_top(const Napi::CallbackInfo &info)
{
	return start(info.Env(), [path = text_or_empty(info[0]),
				  from = text_or_empty(info[1])](pl_err *err) {
		pl_dir *raw = nullptr;
		int rc = pl_dir_open(&raw, from.c_str(), 0, nullptr, err);
		Dir clone(raw);

		return rc < 0 ? rc :
				with_image(path, "ploop resize", err,
					   [&](pl_image *img) {
						   return pl_image_adopt_top(
							   img, clone.get(),
							   err);
					   });
	});
}

/* (dir) -> id */
Napi::Value new_id(const Napi::CallbackInfo &info)
{
	auto id = std::make_shared<std::string>(PL_ID_LEN + 1, '\0');

	return start(
		info.Env(),
		[path = text_or_empty(info[0]), id](pl_err *err) {
			return with_image(path, "ploop new-id", err,
					  [&](pl_image *img) {
						  return pl_image_new_id(
							  img, id->data(), err);
					  });
		},
		[id](Napi::Env env) -> Napi::Value {
			return Napi::String::New(env, id->c_str());
		});
}

/* (dir, snapshot, name, description) -> id of the kept state or ""; name "" =
 * nothing is kept */
Napi::Value switch_to(const Napi::CallbackInfo &info)
{
	auto id = std::make_shared<std::string>(PL_ID_LEN + 1, '\0');

	return start(
		info.Env(),
		[path = text_or_empty(info[0]), key = text_or_empty(info[1]),
		 name = text_or_empty(info[2]), text = text_or_empty(info[3]),
		 id](pl_err *err) {
			return with_image(
				path, "ploop snapshot-switch", err,
				[&](pl_image *img) {
					return name.empty() ?
						       pl_image_switch(
							       img, key.c_str(),
							       err) :
						       pl_image_switch_keeping(
							       img, key.c_str(),
							       name.c_str(),
							       text.c_str(),
							       id->data(), err);
				});
		},
		[id](Napi::Env env) -> Napi::Value {
			return Napi::String::New(env, id->c_str());
		});
}

namespace
{

/* What a deletion on a pool thread is told by and asked. */
struct Deletion {
	Progress *progress;
	uint64_t rate; /* bytes a second, 0 = no limit */
	std::chrono::steady_clock::time_point next;

	static constexpr auto LOOK = std::chrono::milliseconds(50);

	static bool step(void *arg, uint64_t done, uint64_t total)
	{
		return Progress::step(static_cast<Deletion *>(arg)->progress,
				      done, total);
	}

	static void pace(void *arg, uint64_t bytes)
	{
		auto *d = static_cast<Deletion *>(arg);
		auto now = std::chrono::steady_clock::now();

		if (d->next < now)
			d->next = now;
		d->next += std::chrono::nanoseconds(
			static_cast<int64_t>(static_cast<double>(bytes) * 1e9 /
					     static_cast<double>(d->rate)));
		/* At a low rate that is long: who stops it need not wait. */
		while ((now = std::chrono::steady_clock::now()) < d->next &&
		       !d->progress->stopped())
			std::this_thread::sleep_until(
				std::min(d->next, now + LOOK));
	}
};

int run_deletion(pl_image *img, const char *key, Progress *progress,
		 uint64_t rate, bool merge, pl_err *err)
{
	Deletion d = { progress, rate, {} };
	pl_image_work work = {};
	char id[PL_ID_LEN + 1];
	int rc = pl_image_hide(img, key, id, err);

	work.progress = Deletion::step;
	work.pace = rate ? Deletion::pace : nullptr;
	work.arg = &d;
	return rc < 0 || !merge ? rc : pl_image_tidy(img, nullptr, &work, err);
}

} // namespace

/* (dir, snapshot, onProgress | null, stopFlag | null, rate, merge) */
Napi::Value delete_snapshot(const Napi::CallbackInfo &info)
{
	auto progress = std::make_shared<Progress>(info[2], info[3]);
	auto rate =
		static_cast<uint64_t>(info[4].As<Napi::Number>().Int64Value());
	bool merge = info[5].ToBoolean();

	return start(info.Env(), [path = text_or_empty(info[0]),
				  key = text_or_empty(info[1]), progress, rate,
				  merge](pl_err *err) {
		return with_image(path, "ploop snapshot-delete", err,
				  [&](pl_image *img) {
					  return run_deletion(img, key.c_str(),
							      progress.get(),
							      rate, merge, err);
				  });
	});
}

/* (dir, onProgress | null, stopFlag | null) -> layers that got them */
Napi::Value add_checksums(const Napi::CallbackInfo &info)
{
	auto progress = std::make_shared<Progress>(info[1], info[2]);
	auto added = std::make_shared<unsigned>(0);

	return start(
		info.Env(),
		[path = text_or_empty(info[0]), progress, added](pl_err *err) {
			return with_image(path, "ploop check --add-checksums",
					  err, [&](pl_image *img) {
						  return pl_image_add_checksums(
							  img, nullptr,
							  Progress::step,
							  progress.get(),
							  added.get(), err);
					  });
		},
		[added](Napi::Env env) -> Napi::Value {
			return number(env, *added);
		});
}

namespace
{

/* (dir, size); by(image, size, err) */
template <typename By>
Napi::Value change_size(const Napi::CallbackInfo &info, By by)
{
	auto size =
		static_cast<uint64_t>(info[1].As<Napi::Number>().Int64Value());

	return start(info.Env(), [path = text_or_empty(info[0]), size,
				  by](pl_err *err) {
		return with_image(path, "ploop resize", err,
				  [&](pl_image *img) {
					  return by(img, size, err);
				  });
	});
}

} // namespace

/* (dir, size) */
Napi::Value resize(const Napi::CallbackInfo &info)
{
	return change_size(info, [](pl_image *img, uint64_t size, pl_err *err) {
		return pl_image_resize(img, nullptr, size, err);
	});
}

/* (dir, size) */
Napi::Value shrink(const Napi::CallbackInfo &info)
{
	return change_size(info, pl_image_shrink);
}

/* (dir, "block" | "cluster" | "off") */
Napi::Value set_discard(const Napi::CallbackInfo &info)
{
	std::string word = text_or_empty(info[1]);
	pl_discard discard = PL_DISCARD_BLOCK;

	pl_discard_parse(word.c_str(), &discard);
	return start(info.Env(), [path = text_or_empty(info[0]),
				  discard](pl_err *err) {
		return with_image(path, "ploop set", err, [&](pl_image *img) {
			return pl_image_set_discard(img, nullptr, discard, err);
		});
	});
}

namespace
{

/* `ploop compact` by one of its steps; to_js(result, object) fills the reply. */
template <typename Result, typename ToJs>
Napi::Value compact_by(const Napi::CallbackInfo &info,
		       int (*step)(pl_image *, pl_chain *, Result *,
				   const pl_image_work *, pl_err *),
		       ToJs to_js)
{
	auto progress = std::make_shared<Progress>(info[1], info[2]);
	auto result = std::make_shared<Result>();

	return start(
		info.Env(),
		[path = text_or_empty(info[0]), progress, result,
		 step](pl_err *err) {
			return with_image(
				path, "ploop compact", err, [&](pl_image *img) {
					pl_image_work work = {};

					work.progress = Progress::step;
					work.arg = progress.get();
					return step(img, nullptr, result.get(),
						    &work, err);
				});
		},
		[result, to_js](Napi::Env env) -> Napi::Value {
			Napi::Object out = Napi::Object::New(env);
			to_js(*result, out);
			return out;
		});
}

void set(Napi::Object &out, const char *name, uint64_t value)
{
	out[name] = number(out.Env(), value);
}

} // namespace

/* (dir, onProgress | null, stopFlag | null) */
Napi::Value compact(const Napi::CallbackInfo &info)
{
	return compact_by(info, pl_image_compact,
			  [](const pl_compact_result &r, Napi::Object &out) {
				  set(out, "hostBefore", r.host_before);
				  set(out, "hostAfter", r.host_after);
				  set(out, "lengthBefore", r.length_before);
				  set(out, "lengthAfter", r.length_after);
				  set(out, "clustersFreed", r.clusters_freed);
				  set(out, "clustersMoved", r.clusters_moved);
			  });
}

/* (dir, onProgress | null, stopFlag | null) */
Napi::Value reclaim(const Napi::CallbackInfo &info)
{
	return compact_by(info, pl_image_reclaim_hidden,
			  [](const pl_reclaim_result &r, Napi::Object &out) {
				  set(out, "layers", r.layers);
				  set(out, "inUse", r.in_use);
				  set(out, "punchedBytes", r.punched_bytes);
			  });
}

} // namespace ploop
