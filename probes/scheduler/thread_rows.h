// Turns records of the scheduler's BPF programs into rows of threads, and keeps rows that wait for
// an interval with room. One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "core/tick/sample.h"
#include "probes/scheduler/bpf/scheduler_abi.h"

namespace topspin {

/// Keeps rows that do not fit into one interval for the next. Nothing of a thread is lost, because
/// rows are cumulative, and a newer row of a thread replaces the older one.
class RowQueue {
 public:
  explicit RowQueue(uint64_t limit) : limit_(limit) {}
  void push(ThreadRow row);
  std::vector<ThreadRow> take();
  /// The number of rows for which there was no room: at most kBacklog intervals' rows wait.
  uint64_t dropped() const { return dropped_; }

 private:
  static constexpr uint64_t kBacklog = 4;
  using Identity = std::pair<int32_t, int64_t>;  // tid, start time
  uint64_t limit_;
  uint64_t dropped_ = 0;
  std::vector<ThreadRow> rows_;  // oldest first
  std::map<Identity, size_t> places_;
};

ThreadRow make_row(const topspin_record& record, const topspin_times& times,
                   const topspin_thread_sleeps& sleeps);
/// Parses a record from the ring of exits; nullopt if the bytes are not a record.
std::optional<ThreadRow> make_exit_row(const void* data, size_t size);

}  // namespace topspin
