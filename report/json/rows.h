// Rows of a report as JSON. Private to the room.
#pragma once

#include "ci/metrics/long_stretches.h"
#include "core/flow/flow_owner.h"
#include "core/run/growth.h"
#include "core/run/load_result.h"
#include "core/tick/sample.h"
#include "report/json/values.h"
#include "report/model/process_sleeps.h"

namespace topspin {

/// One element of `threads`. `run_queue_wait_ns` and `on_cpu_ns` have the fields of every latency.
/// On rungs that know only sums, all fields except `sum` are null.
Json thread_json(const ThreadRow& thread);
/// One of `processes`: what its threads slept on, by reason.
Json process_json(const ProcessSleeps& process);
/// One of `busy_stretches`. `of`: whose frames its stacks have.
Json busy_stretch_json(const BusyStretch& stretch, const LongStretches& of,
                       int64_t started_monotonic_ns);
/// One of `sleep_stacks`.
Json sleep_stack_json(const SleepStackRow& stack);
/// One of `cpu_holders`.
Json cpu_holder_json(const CpuHolderRow& holder);
Json socket_json(const SocketRow& socket);
Json syscall_json(const SyscallRow& syscall);
Json called_json(const CalledRow& called);
Json slow_reply_json(const SlowReply& reply, int64_t started_monotonic_ns);
/// Null if there are too few replies, or if none of them is slow.
Json tail_json(const std::optional<TailBlame>& tail);
/// One flow, with the owners of its ends (null: not known).
Json flow_json(const FlowRow& flow, const OwnerTable& owners);

/// The whole load. `topspin export` has its stages and buckets.
Json load_json(const LoadResult& load);

/// Members "per_flow", "headroom" and "leak" of a summary.
void add_growth(const Growth& growth, Json& json);

}  // namespace topspin
