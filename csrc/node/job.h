/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One call from JavaScript: work on a pool thread, then a promise settled on
 * the thread that asked.
 *
 * Work captures copies of its arguments and fills a result that only it and
 * `reply` see; it never touches JavaScript values. A failure becomes an Error
 * with `code` (the name of the pl_code) and `sysErrno`.
 *
 * Relies on src/native/index.ts having checked every argument.
 */
#ifndef PLOOP_NODE_JOB_H
#define PLOOP_NODE_JOB_H

#include <atomic>
#include <functional>
#include <memory>

#include <napi.h>

#include "node/core.h"

namespace ploop
{

using Work = std::function<int(pl_err *)>;
using Reply = std::function<Napi::Value(Napi::Env)>;

/* reply may be empty: the promise then gives undefined. */
Napi::Promise start(Napi::Env env, Work work, Reply reply = nullptr);

/* What another thread looks at to learn that it should stop. */
using StopFlag = std::shared_ptr<std::atomic<bool>>;

Napi::Value new_stop_flag(const Napi::CallbackInfo &info);
void raise_stop_flag(const Napi::CallbackInfo &info);
StopFlag stop_flag_of(const Napi::Value &value);

/*
 * Progress of long work: step() runs on the pool thread and hands the latest
 * figures to the JavaScript function without waiting for it; figures that come
 * faster than it is called are left out. Created, and destroyed, on the thread
 * that asked.
 */
class Progress
{
      public:
	Progress(const Napi::Value &on_progress, const Napi::Value &stop_flag);
	~Progress();
	Progress(const Progress &) = delete;
	Progress &operator=(const Progress &) = delete;

	bool stopped() const;
	/* A pl_progress_fn; arg is the Progress. */
	static bool step(void *arg, uint64_t done, uint64_t total);

      private:
	struct Latest {
		std::atomic<uint64_t> done{ 0 }, total{ 0 };
		std::atomic<bool> queued{ false };
	};

	StopFlag stop_;
	std::shared_ptr<Latest> latest_;
	Napi::ThreadSafeFunction fn_;
	bool reports_ = false;
};

Napi::Number number(Napi::Env env, uint64_t value);

/* "" for null. */
std::string text_or_empty(const Napi::Value &value);

} // namespace ploop

#endif
