#include "app/screen/recorded_run.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace topspin {
namespace {

/// The ticks of a stored run, with the rows that belong to each. A run has only the final state of
/// each row. A flow's row comes with the tick in which the flow began, those of threads and calls
/// with the last tick, and the slowest replies with the tick in which they were sent. Sockets come
/// with the first tick.
class StoredTicks {
 public:
  static Result<StoredTicks> open(std::shared_ptr<RunStore> store, std::string run_id) {
    StoredTicks ticks;
    TOPSPIN_ASSIGN(ticks.last_tick_, store->last_tick(run_id));
    const auto into = [](auto& rows) { return [&rows](const auto& row) { rows.push_back(row); }; };
    TOPSPIN_TRY(store->for_each_flow(run_id, into(ticks.flows_)));
    TOPSPIN_TRY(store->for_each_thread(run_id, into(ticks.threads_)));
    TOPSPIN_TRY(store->for_each_socket(run_id, into(ticks.sockets_)));
    TOPSPIN_TRY(store->for_each_syscall(run_id, into(ticks.syscalls_)));
    TOPSPIN_TRY(store->for_each_called(run_id, into(ticks.called_)));
    TOPSPIN_TRY(store->for_each_cpu_holder(run_id, into(ticks.cpu_holders_)));
    TOPSPIN_TRY(store->for_each_slow_reply(run_id, into(ticks.slow_replies_)));
    std::stable_sort(ticks.slow_replies_.begin(), ticks.slow_replies_.end(),
                     [](const SlowReply& a, const SlowReply& b) { return a.tick < b.tick; });
    std::stable_sort(ticks.flows_.begin(), ticks.flows_.end(), began_before);
    ticks.store_ = std::move(store);
    ticks.run_id_ = std::move(run_id);
    return ticks;
  }

  Result<std::vector<Sample>> read(uint64_t after, size_t most) const {
    // Include the tick before them, which shows when they begin.
    TOPSPIN_ASSIGN(auto ticks, store_->read_ticks(run_id_, after, most + (after > 0 ? 1 : 0)));
    // Ticks that were stored since the replay began are not shown.
    std::erase_if(ticks, [&](const Sample& tick) { return tick.tick > last_tick_; });
    auto flow = flows_.begin();
    if (!ticks.empty() && ticks.front().tick == after) {
      flow = first_flow_since(ticks.front().flows.end_ns);
      ticks.erase(ticks.begin());
    }
    for (Sample& tick : ticks) {
      const bool last = tick.tick == last_tick_;
      const auto end = last ? flows_.end() : first_flow_since(tick.flows.end_ns);
      if (flow < end) tick.changed_flows.assign(flow, end);
      flow = std::max(flow, end);
      SlowReply of_tick;
      of_tick.tick = tick.tick;
      const auto [first_slow, last_slow] =
          std::equal_range(slow_replies_.begin(), slow_replies_.end(), of_tick,
                           [](const SlowReply& a, const SlowReply& b) { return a.tick < b.tick; });
      tick.slowest_replies.assign(first_slow, last_slow);
      if (!last) continue;
      tick.changed_threads = threads_;
      tick.changed_syscalls = syscalls_;
      tick.changed_called = called_;
      tick.changed_cpu_holders = cpu_holders_;
    }
    if (after == 0 && !ticks.empty()) ticks.front().changed_sockets = sockets_;
    return ticks;
  }

 private:
  static bool began_before(const FlowRow& a, const FlowRow& b) { return a.first_ns < b.first_ns; }
  std::vector<FlowRow>::const_iterator first_flow_since(int64_t time_ns) const {
    FlowRow at;
    at.first_ns = time_ns;
    return std::lower_bound(flows_.begin(), flows_.end(), at, began_before);
  }

  std::shared_ptr<RunStore> store_;
  std::string run_id_;
  uint64_t last_tick_ = 0;
  std::vector<FlowRow> flows_;  // in the order of their begin; bounded (WriterOptions)
  std::vector<ThreadRow> threads_;
  std::vector<SocketRow> sockets_;
  std::vector<SyscallRow> syscalls_;
  std::vector<CalledRow> called_;
  std::vector<CpuHolderRow> cpu_holders_;
  std::vector<SlowReply> slow_replies_;  // by tick
};

}  // namespace

Result<Recorded> recorded_run(std::shared_ptr<RunStore> store, const StoredRun& run) {
  Recorded recorded;
  recorded.run = run.info;
  recorded.scene = make_scene(run.info);
  recorded.scene.flows_are_final = true;
  if (!recorded.scene.subject.empty()) {
    recorded.scene.subject_state = run.end.exit_status
                                       ? fmt::format("exited {}", *run.end.exit_status)
                                       : std::string(run_status_name(run.end.status));
  }
  TOPSPIN_ASSIGN(auto opened, StoredTicks::open(store, run.info.id));
  // Counted after the last tick was chosen, because a run that is still recorded has more by now.
  TOPSPIN_ASSIGN(const StoredRun counted, store->find_run(run.info.id));
  recorded.ticks = counted.ticks;
  recorded.read = [ticks = std::make_shared<const StoredTicks>(std::move(opened))](
                      uint64_t after, size_t most) { return ticks->read(after, most); };
  return recorded;
}

}  // namespace topspin
