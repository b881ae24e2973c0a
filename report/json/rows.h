// Rows of a report as JSON. Private to the room.
#pragma once

#include "core/flow/flow_owner.h"
#include "core/run/growth.h"
#include "core/run/load_result.h"
#include "core/tick/sample.h"
#include "report/json/values.h"

namespace topspin {

/// One of `threads`. `run_queue_wait_ns` and `on_cpu_ns` have the fields of every latency; on rungs
/// that know sums alone, all but `sum` are null.
Json thread_json(const ThreadRow& thread);
Json socket_json(const SocketRow& socket);
Json syscall_json(const SyscallRow& syscall);
/// One flow, with the owners of its ends (null: not known).
Json flow_json(const FlowRow& flow, const OwnerTable& owners);

/// The whole of a load; `topspin export` has its stages and buckets.
Json load_json(const LoadResult& load);

/// Members "per_flow", "headroom" and "leak" of a summary.
void add_growth(const Growth& growth, Json& json);

}  // namespace topspin
