/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtual disk opened for reading by JavaScript.
 *
 * The open chain is shared by the JavaScript object and by each job in flight,
 * so closing during a read is safe: the chain goes away when the last of them
 * lets go.
 */
#ifndef PLOOP_NODE_READER_H
#define PLOOP_NODE_READER_H

#include <napi.h>

namespace ploop
{

/* What belongs to one JavaScript environment (main thread or worker). */
struct AddonData {
	Napi::FunctionReference reader;
};

void define_reader(Napi::Env env, AddonData *data);
Napi::Value open_reader(const Napi::CallbackInfo &info);

} // namespace ploop

#endif
