/* SPDX-License-Identifier: Apache-2.0 */
/* Readers: see reader.h. */
#include "node/reader.h"

#include <cstdlib>
#include <mutex>

#include "node/job.h"

namespace ploop
{

namespace
{

/* A chain serves one thread at a time: `busy` is held by whoever uses it. */
struct Disk {
	std::mutex busy;
	Opened opened;
	uint64_t size = 0;
};

using SharedDisk = std::shared_ptr<Disk>;

struct FreeBytes {
	void operator()(void *bytes) const
	{
		free(bytes);
	}
};
using Bytes = std::unique_ptr<void, FreeBytes>;

int read_disk(Disk &disk, Bytes &bytes, uint64_t off, uint64_t len, pl_err *err)
{
	bytes.reset(aligned_alloc(4096, (len + 4095) & ~UINT64_C(4095)));
	if (!bytes && len > 0)
		return pl_err_set(err, PL_E_NO_MEMORY, ENOMEM,
				  "no memory to read %llu bytes",
				  static_cast<unsigned long long>(len));
	std::lock_guard<std::mutex> hold(disk.busy);
	if (!disk.opened.chain)
		return pl_err_set(err, PL_E_INVALID_ARGUMENT, EBADF,
				  "the reader is closed");
	int rc = len == 0 ? 0 :
			    pl_chain_read(disk.opened.chain.get(), bytes.get(),
					  len, off);
	if (rc < 0)
		pl_err_sys(err, rc, "%s: cannot read %llu bytes at %llu",
			   disk.opened.dir->path,
			   static_cast<unsigned long long>(len),
			   static_cast<unsigned long long>(off));
	return rc;
}

class Reader : public Napi::ObjectWrap<Reader>
{
      public:
	explicit Reader(const Napi::CallbackInfo &info) : ObjectWrap(info)
	{
		if (info.Length() == 1 && info[0].IsExternal())
			disk_ = *info[0].As<Napi::External<SharedDisk>>().Data();
		else
			throw Napi::TypeError::New(info.Env(),
						   "use openReader()");
	}

	static Napi::Function define(Napi::Env env)
	{
		return DefineClass(env, "Reader",
				   { InstanceAccessor<&Reader::size>("size"),
				     InstanceMethod<&Reader::read>("read"),
				     InstanceMethod<&Reader::close>("close") });
	}

      private:
	Napi::Value size(const Napi::CallbackInfo &info)
	{
		return number(info.Env(), disk_->size);
	}

	Napi::Value read(const Napi::CallbackInfo &info)
	{
		auto off = info[0].As<Napi::Number>().Int64Value();
		auto len = info[1].As<Napi::Number>().Int64Value();
		auto bytes = std::make_shared<Bytes>();

		return start(
			info.Env(),
			[disk = disk_, bytes, off, len](pl_err *err) {
				return read_disk(*disk, *bytes,
						 static_cast<uint64_t>(off),
						 static_cast<uint64_t>(len),
						 err);
			},
			[bytes, len](Napi::Env env) -> Napi::Value {
				auto *raw = static_cast<uint8_t *>(
					bytes->release());
				return Napi::Buffer<uint8_t>::NewOrCopy(
					env, raw, static_cast<size_t>(len),
					[](Napi::Env, uint8_t *data) {
						free(data);
					});
			});
	}

	/* Waits for a read in flight; closing twice is fine. */
	Napi::Value close(const Napi::CallbackInfo &info)
	{
		return start(info.Env(), [disk = disk_](pl_err *) {
			std::lock_guard<std::mutex> hold(disk->busy);
			disk->opened.chain.reset();
			disk->opened.image.reset();
			disk->opened.dir.reset();
			return 0;
		});
	}

	SharedDisk disk_;
};

int open_disk(Disk &disk, const std::string &path, const std::string &key,
	      bool lock, pl_err *err)
{
	int rc = disk.opened.open(path, lock ? 0 : PL_IMAGE_NO_LOCK, "a reader",
				  err);

	if (rc == 0)
		rc = disk.opened.open_chain(key, err);
	if (rc == 0)
		disk.size = pl_chain_size(disk.opened.chain.get());
	return rc;
}

} // namespace

void define_reader(Napi::Env env, AddonData *data)
{
	data->reader = Napi::Persistent(Reader::define(env));
}

/* (dir, snapshot | null, lock) */
Napi::Value open_reader(const Napi::CallbackInfo &info)
{
	std::string path = info[0].As<Napi::String>();
	std::string key = text_or_empty(info[1]);
	bool lock = info[2].As<Napi::Boolean>();
	auto disk = std::make_shared<Disk>();

	return start(
		info.Env(),
		[disk, path, key, lock](pl_err *err) {
			return open_disk(*disk, path, key, lock, err);
		},
		[disk](Napi::Env env) -> Napi::Value {
			auto *data = env.GetInstanceData<AddonData>();
			auto *shared = new SharedDisk(disk);
			return data->reader.New(
				{ Napi::External<SharedDisk>::New(
					env, shared,
					[](Napi::Env, SharedDisk *one) {
						delete one;
					}) });
		});
}

} // namespace ploop
