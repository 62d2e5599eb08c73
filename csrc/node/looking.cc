/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at an image without changing it: info, map, check, isLocked. */
#include "node/operations.h"

#include <cerrno>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>
#include <vector>

#include "node/job.h"

namespace ploop
{

namespace
{

Napi::String string(Napi::Env env, const char *value)
{
	return Napi::String::New(env, value);
}

/* ---- info ---- */

/* Everything is copied out, so that the image is closed before the reply. */
struct Info {
	ImageDesc desc{};
	std::vector<pl_image_layer> layers;
	std::vector<ImageSnapshot> snapshots;
	std::vector<pl_layer_usage> usage;
};

int collect(Info &out, const std::string &path, bool usage, bool lock,
	    pl_err *err)
{
	Opened opened;
	int rc = opened.open(path, lock ? 0 : PL_IMAGE_NO_LOCK, "ploop info",
			     err);

	if (rc < 0)
		return rc;
	const ImageDesc *desc = pl_image_desc(opened.image.get());
	out.desc = *desc;
	out.layers.assign(desc->layers, desc->layers + desc->n_layers);
	out.snapshots.assign(desc->snapshots,
			     desc->snapshots + desc->n_snapshots);
	for (size_t i = 0; usage && i < out.layers.size(); i++) {
		pl_layer_usage one = {};
		rc = pl_image_layer_usage(opened.image.get(), nullptr,
					  out.layers[i].id, &one, err);
		if (rc < 0)
			return rc;
		out.usage.push_back(one);
	}
	return 0;
}

Napi::Object layer_object(Napi::Env env, const Info &info, size_t i)
{
	const pl_image_layer &layer = info.layers[i];
	Napi::Object out = Napi::Object::New(env);

	out["id"] = string(env, layer.id);
	if (layer.parent[0])
		out["parent"] = string(env, layer.parent);
	else
		out["parent"] = env.Null();
	out["size"] = number(env, layer.size);
	if (i < info.usage.size()) {
		Napi::Object usage = Napi::Object::New(env);
		usage["hostBytes"] = number(env, info.usage[i].host_bytes);
		usage["length"] = number(env, info.usage[i].length);
		usage["clusters"] = number(env, info.usage[i].clusters);
		usage["ownedBytes"] = number(env, info.usage[i].owned_bytes);
		usage["dataBytes"] = number(env, info.usage[i].data_bytes);
		Napi::Array full = Napi::Array::New(env, 8);
		for (uint32_t k = 0; k < 8; k++)
			full[k] = number(env, info.usage[i].fullness[k]);
		usage["fullness"] = full;
		out["usage"] = usage;
	}
	return out;
}

Napi::Object snapshot_object(Napi::Env env, const ImageSnapshot &one)
{
	Napi::Object out = Napi::Object::New(env);

	out["id"] = string(env, one.id);
	out["layer"] = string(env, one.layer);
	out["name"] = string(env, one.name);
	out["description"] = string(env, one.description);
	out["created"] = string(env, one.created);
	out["hidden"] = Napi::Boolean::New(env, one.hidden);
	out["holder"] = string(env, one.holder);
	return out;
}

Napi::Value info_object(Napi::Env env, const Info &info)
{
	Napi::Object out = Napi::Object::New(env);
	Napi::Array layers = Napi::Array::New(env, info.layers.size());
	Napi::Array snapshots = Napi::Array::New(env, info.snapshots.size());

	for (size_t i = 0; i < info.layers.size(); i++)
		layers[static_cast<uint32_t>(i)] = layer_object(env, info, i);
	for (size_t i = 0; i < info.snapshots.size(); i++)
		snapshots[static_cast<uint32_t>(i)] =
			snapshot_object(env, info.snapshots[i]);
	out["id"] = string(env, info.desc.id);
	out["label"] = string(env, info.desc.label);
	out["fs"] = string(env, info.desc.fs);
	out["created"] = string(env, info.desc.created);
	out["size"] = number(env, info.desc.size);
	out["blockSize"] = number(env, info.desc.block_size);
	out["top"] = string(env, info.desc.top);
	out["checksums"] = Napi::Boolean::New(env, info.desc.checksums);
	out["discard"] = string(env, pl_discard_name(info.desc.discard));
	out["layers"] = layers;
	out["snapshots"] = snapshots;
	return out;
}

/* ---- map ---- */

struct Extent {
	pl_map_extent extent;
	std::string layer;
};

/* Keeps at most `limit` extents (0 = all) and where to go on. */
struct Map {
	std::vector<Extent> extents;
	uint64_t limit = 0, next = 0;
	bool more = false;

	static bool add(void *arg, const pl_map_extent *extent)
	{
		auto *self = static_cast<Map *>(arg);

		if (self->limit > 0 && self->extents.size() == self->limit) {
			self->next = extent->off;
			self->more = true;
			return false;
		}
		self->extents.push_back(
			{ *extent, extent->layer ? extent->layer : "" });
		return true;
	}
};

struct MapRequest {
	std::string path, key;
	uint64_t off, len;
	bool lock;
};

int collect_map(Map &out, const MapRequest &want, pl_err *err)
{
	Opened opened;
	int rc = opened.open(want.path, want.lock ? 0 : PL_IMAGE_NO_LOCK,
			     "ploop map", err);

	if (rc == 0)
		rc = opened.open_chain(want.key, err);
	if (rc < 0)
		return rc;
	uint64_t size = pl_chain_size(opened.chain.get());
	if (want.off > size)
		return pl_err_set(err, PL_E_INVALID_ARGUMENT, 0,
				  "map: offset %llu is beyond the disk's %llu "
				  "bytes",
				  static_cast<unsigned long long>(want.off),
				  static_cast<unsigned long long>(size));
	uint64_t rest = size - want.off;
	uint64_t len = want.len > 0 && want.len < rest ? want.len : rest;
	if (len == 0)
		return 0;
	return pl_image_map(opened.image.get(), opened.chain.get(), want.off,
			    len, Map::add, &out, err);
}

Napi::Object extent_object(Napi::Env env, const Extent &one)
{
	Napi::Object out = Napi::Object::New(env);
	bool owned = !one.layer.empty();

	out["offset"] = number(env, one.extent.off);
	out["length"] = number(env, one.extent.len);
	if (owned)
		out["layer"] = Napi::String::New(env, one.layer);
	else
		out["layer"] = env.Null();
	out["zero"] = Napi::Boolean::New(env, one.extent.zero);
	if (owned && !one.extent.zero)
		out["hostOffset"] = number(env, one.extent.host_off);
	else
		out["hostOffset"] = env.Null();
	return out;
}

Napi::Value map_object(Napi::Env env, const Map &map)
{
	Napi::Object out = Napi::Object::New(env);
	Napi::Array extents = Napi::Array::New(env, map.extents.size());

	for (size_t i = 0; i < map.extents.size(); i++)
		extents[static_cast<uint32_t>(i)] =
			extent_object(env, map.extents[i]);
	out["extents"] = extents;
	if (map.more)
		out["next"] = number(env, map.next);
	else
		out["next"] = env.Null();
	return out;
}

/* ---- check ---- */

struct Finding {
	pl_code code;
	pl_damage kind;
	pl_outcome outcome;
	std::string layer, text;
	uint64_t offset;
};

struct CheckRequest {
	std::string path;
	bool data, repair;
};

/* Counts all findings, keeps the first `limit`. */
struct Check {
	pl_check_result result{};
	std::vector<Finding> findings;
	size_t limit = 0;

	static bool add(void *arg, const pl_finding *finding)
	{
		auto *self = static_cast<Check *>(arg);

		if (self->findings.size() < self->limit)
			self->findings.push_back(
				{ finding->code, finding->kind,
				  finding->outcome,
				  finding->layer ? finding->layer : "",
				  finding->text, finding->offset });
		return true;
	}
};

int run_check(Check &out, const CheckRequest &want, pl_err *err)
{
	unsigned flags = want.data ? PL_CHECK_DATA : 0;
	pl_dir *raw = nullptr;
	int rc = pl_dir_open(&raw, want.path.c_str(), 0, nullptr, err);
	Dir dir(raw);

	if (rc < 0)
		return rc;
	return (want.repair ? pl_image_repair : pl_image_check_deep)(
		raw, flags, Check::add, &out, &out.result, err);
}

const char *outcome_name(pl_outcome outcome)
{
	switch (outcome) {
	case PL_FIXED:
		return "fixed";
	case PL_SALVAGED:
		return "salvaged";
	case PL_LEFT:
		return "left";
	default:
		return "found";
	}
}

Napi::Value check_object(Napi::Env env, const Check &check)
{
	Napi::Object out = Napi::Object::New(env);
	Napi::Array findings = Napi::Array::New(env, check.findings.size());

	for (size_t i = 0; i < check.findings.size(); i++) {
		const Finding &one = check.findings[i];
		Napi::Object item = Napi::Object::New(env);
		item["code"] = string(env, pl_code_name(one.code));
		item["kind"] = string(env, pl_damage_name(one.kind));
		item["meaning"] = string(env, pl_damage_meaning(one.kind));
		item["outcome"] = string(env, outcome_name(one.outcome));
		item["layer"] = Napi::String::New(env, one.layer);
		item["offset"] = number(env, one.offset);
		item["text"] = Napi::String::New(env, one.text);
		findings[static_cast<uint32_t>(i)] = item;
	}
	out["layers"] = number(env, check.result.layers);
	out["leftovers"] = number(env, check.result.leftovers);
	out["mapPages"] = number(env, check.result.map_pages);
	out["clusters"] = number(env, check.result.clusters);
	out["journalRecords"] = number(env, check.result.journal_records);
	out["unclean"] = number(env, check.result.unclean);
	out["layersWithChecksums"] = number(env, check.result.layers_with_sums);
	out["blocksVerified"] = number(env, check.result.verified);
	out["blocksNotCovered"] = number(env, check.result.uncovered);
	out["fixed"] = number(env, check.result.fixed);
	out["salvaged"] = number(env, check.result.salvaged);
	out["left"] = number(env, check.result.left);
	if (check.result.report[0])
		out["report"] = string(env, check.result.report);
	else
		out["report"] = env.Null();
	out["findingsTotal"] = number(env, check.result.findings);
	out["findings"] = findings;
	return out;
}

uint64_t bytes(const Napi::Value &value)
{
	return static_cast<uint64_t>(value.As<Napi::Number>().Int64Value());
}

} // namespace

/* (dir, usage, lock) */
Napi::Value info(const Napi::CallbackInfo &info)
{
	std::string path = info[0].As<Napi::String>();
	bool usage = info[1].As<Napi::Boolean>();
	bool lock = info[2].As<Napi::Boolean>();
	auto found = std::make_shared<Info>();

	return start(
		info.Env(),
		[found, path, usage, lock](pl_err *err) {
			return collect(*found, path, usage, lock, err);
		},
		[found](Napi::Env env) { return info_object(env, *found); });
}

/* (dir, offset, length, limit, snapshot | null, lock) */
Napi::Value map(const Napi::CallbackInfo &info)
{
	MapRequest want = { info[0].As<Napi::String>(), text_or_empty(info[4]),
			    bytes(info[1]), bytes(info[2]),
			    info[5].As<Napi::Boolean>() };
	auto found = std::make_shared<Map>();

	found->limit = bytes(info[3]);
	return start(
		info.Env(),
		[found, want](pl_err *err) {
			return collect_map(*found, want, err);
		},
		[found](Napi::Env env) { return map_object(env, *found); });
}

/* (dir, limit, data, repair) */
Napi::Value check(const Napi::CallbackInfo &info)
{
	CheckRequest want = { info[0].As<Napi::String>(),
			      info[2].As<Napi::Boolean>(),
			      info[3].As<Napi::Boolean>() };
	auto found = std::make_shared<Check>();

	found->limit = bytes(info[1]);
	return start(
		info.Env(),
		[found, want](pl_err *err) {
			return run_check(*found, want, err);
		},
		[found](Napi::Env env) { return check_object(env, *found); });
}

/* (path, shared): does somebody hold an exclusive (or any) flock on it? */
Napi::Value is_locked(const Napi::CallbackInfo &info)
{
	std::string path = info[0].As<Napi::String>();
	int probe = info[1].As<Napi::Boolean>() ? LOCK_EX : LOCK_SH;
	auto locked = std::make_shared<bool>(false);

	return start(
		info.Env(),
		[path, probe, locked](pl_err *err) {
			int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
			if (fd < 0)
				return errno == ENOENT ?
					       0 :
					       pl_err_sys(err, -errno, "%s",
							  path.c_str());
			*locked = flock(fd, probe | LOCK_NB) < 0 &&
				  errno == EWOULDBLOCK;
			close(fd);
			return 0;
		},
		[locked](Napi::Env env) -> Napi::Value {
			return Napi::Boolean::New(env, *locked);
		});
}

} // namespace ploop
