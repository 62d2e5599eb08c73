/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs, their errors and their progress: see job.h. */
#include "node/job.h"

#include <utility>

namespace ploop
{

namespace
{

Napi::Value to_error(Napi::Env env, const pl_err &err)
{
	Napi::Error error = Napi::Error::New(env, err.msg);

	error.Set("code", Napi::String::New(env, pl_code_name(err.code)));
	error.Set("sysErrno", Napi::Number::New(env, err.sys_errno));
	return error.Value();
}

/* Deletes itself when the promise is settled. */
class Job : public Napi::AsyncWorker
{
      public:
	Job(Napi::Env env, Work work, Reply reply)
	    : AsyncWorker(env, "ploop"), work_(std::move(work)),
	      reply_(std::move(reply)),
	      deferred_(Napi::Promise::Deferred::New(env))
	{
	}

	Napi::Promise promise() const
	{
		return deferred_.Promise();
	}

      protected:
	void Execute() override
	{
		rc_ = work_(&err_);
		if (rc_ < 0 && err_.code == PL_E_OK)
			pl_err_set(&err_, PL_E_INTERNAL, -rc_,
				   "failed without saying why");
	}

	void OnOK() override
	{
		if (rc_ < 0)
			deferred_.Reject(to_error(Env(), err_));
		else
			deferred_.Resolve(reply_ ? reply_(Env()) :
						   Env().Undefined());
	}

	/* A C++ exception of the work: only std::bad_alloc is possible. */
	void OnError(const Napi::Error &error) override
	{
		pl_err_set(&err_, PL_E_NO_MEMORY, 0, "%s",
			   error.Message().c_str());
		deferred_.Reject(to_error(Env(), err_));
	}

      private:
	Work work_;
	Reply reply_;
	Napi::Promise::Deferred deferred_;
	pl_err err_{};
	int rc_ = 0;
};

} // namespace

Napi::Promise start(Napi::Env env, Work work, Reply reply)
{
	auto *job = new Job(env, std::move(work), std::move(reply));
	Napi::Promise promise = job->promise();

	job->Queue();
	return promise;
}

Napi::Value new_stop_flag(const Napi::CallbackInfo &info)
{
	return Napi::External<StopFlag>::New(
		info.Env(),
		new StopFlag(std::make_shared<std::atomic<bool>>(false)),
		[](Napi::Env, StopFlag *flag) { delete flag; });
}

void raise_stop_flag(const Napi::CallbackInfo &info)
{
	info[0].As<Napi::External<StopFlag>>().Data()->get()->store(true);
}

StopFlag stop_flag_of(const Napi::Value &value)
{
	return *value.As<Napi::External<StopFlag>>().Data();
}

Progress::Progress(const Napi::Value &on_progress, const Napi::Value &stop_flag)
    : latest_(std::make_shared<Latest>())
{
	stop_ = stop_flag_of(stop_flag);
	if (on_progress.IsNull())
		return;
	fn_ = Napi::ThreadSafeFunction::New(on_progress.Env(),
					    on_progress.As<Napi::Function>(),
					    "ploop progress", 0, 1);
	reports_ = true;
}

Progress::~Progress()
{
	if (reports_)
		fn_.Release();
}

bool Progress::stopped() const
{
	return stop_->load(std::memory_order_relaxed);
}

bool Progress::step(void *arg, uint64_t done, uint64_t total)
{
	auto *self = static_cast<Progress *>(arg);

	if (self->stopped())
		return false;
	if (!self->reports_)
		return true;
	std::shared_ptr<Latest> latest = self->latest_;
	latest->done = done;
	latest->total = total;
	if (latest->queued.exchange(true))
		return true;
	self->fn_.NonBlockingCall([latest](Napi::Env env, Napi::Function fn) {
		latest->queued = false;
		fn.Call({ number(env, latest->done),
			  number(env, latest->total) });
	});
	return true;
}

Napi::Number number(Napi::Env env, uint64_t value)
{
	return Napi::Number::New(env, static_cast<double>(value));
}

std::string text_or_empty(const Napi::Value &value)
{
	return value.IsNull() ? std::string() :
				value.As<Napi::String>().Utf8Value();
}

} // namespace ploop
