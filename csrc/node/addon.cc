/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Node-API addon: what it exports. Translation only; src/native is its
 * only caller and checks all arguments before they get here. Loads in worker
 * threads: everything it keeps belongs to the environment.
 */
#include <napi.h>

#include "node/job.h"
#include "node/operations.h"
#include "node/reader.h"

namespace ploop
{

static Napi::Object init(Napi::Env env, Napi::Object exports)
{
	/* The environment frees it at its end. */
	auto *data = new AddonData;
	env.SetInstanceData<AddonData>(data);
	define_reader(env, data);

	exports["create"] = Napi::Function::New<create>(env);
	exports["info"] = Napi::Function::New<info>(env);
	exports["openReader"] = Napi::Function::New<open_reader>(env);
	exports["map"] = Napi::Function::New<map>(env);
	exports["space"] = Napi::Function::New<space>(env);
	exports["diff"] = Napi::Function::New<diff>(env);
	exports["check"] = Napi::Function::New<check>(env);
	exports["addChecksums"] = Napi::Function::New<add_checksums>(env);
	exports["snapshot"] = Napi::Function::New<snapshot>(env);
	exports["clone"] = Napi::Function::New<clone>(env);
	exports["newId"] = Napi::Function::New<new_id>(env);
	exports["switchTo"] = Napi::Function::New<switch_to>(env);
	exports["deleteSnapshot"] = Napi::Function::New<delete_snapshot>(env);
	exports["adoptTop"] = Napi::Function::New<adopt_top>(env);
	exports["resize"] = Napi::Function::New<resize>(env);
	exports["shrink"] = Napi::Function::New<shrink>(env);
	exports["setDiscard"] = Napi::Function::New<set_discard>(env);
	exports["compact"] = Napi::Function::New<compact>(env);
	exports["reclaim"] = Napi::Function::New<reclaim>(env);
	exports["isLocked"] = Napi::Function::New<is_locked>(env);
	exports["stopFlag"] = Napi::Function::New<new_stop_flag>(env);
	exports["stop"] = Napi::Function::New<raise_stop_flag>(env);
	return exports;
}

NODE_API_MODULE(ploop, init)

} // namespace ploop
