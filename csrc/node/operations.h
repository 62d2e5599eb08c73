/* SPDX-License-Identifier: Apache-2.0 */
/* The calls behind src/native/binding.ts; their arguments are named there. */
#ifndef PLOOP_NODE_OPERATIONS_H
#define PLOOP_NODE_OPERATIONS_H

#include <napi.h>

namespace ploop
{

/* operations.cc: what changes an image */
Napi::Value create(const Napi::CallbackInfo &info);
Napi::Value snapshot(const Napi::CallbackInfo &info);
Napi::Value clone(const Napi::CallbackInfo &info);
Napi::Value adopt_top(const Napi::CallbackInfo &info);
Napi::Value new_id(const Napi::CallbackInfo &info);
Napi::Value switch_to(const Napi::CallbackInfo &info);
Napi::Value delete_snapshot(const Napi::CallbackInfo &info);
Napi::Value resize(const Napi::CallbackInfo &info);
Napi::Value shrink(const Napi::CallbackInfo &info);
Napi::Value set_discard(const Napi::CallbackInfo &info);
Napi::Value compact(const Napi::CallbackInfo &info);
Napi::Value reclaim(const Napi::CallbackInfo &info);

/* looking.cc: what only looks */
Napi::Value info(const Napi::CallbackInfo &info);
Napi::Value map(const Napi::CallbackInfo &info);
Napi::Value check(const Napi::CallbackInfo &info);
Napi::Value add_checksums(const Napi::CallbackInfo &info);
Napi::Value is_locked(const Napi::CallbackInfo &info);

/* space.cc */
Napi::Value space(const Napi::CallbackInfo &info);

/* diff.cc */
Napi::Value diff(const Napi::CallbackInfo &info);

} // namespace ploop

#endif
