// RowBaseline: makes cumulative rows start at the beginning of the run.
//
// Probes count a thread, a system call or a stack from the moment they first see it. For a subject
// that is already running, that is before the run begins. The values of a row at the start are
// subtracted from each later version of it. Sockets are not changed: those that existed at the
// start are rows of the first interval. Pure. One thread.
#pragma once

#include <cstdint>
#include <map>
#include <tuple>

#include "core/tick/sample.h"

namespace topspin {

class RowBaseline {
 public:
  /// Takes the interval that ends where the run begins. May be called more than once; the last
  /// version of a row counts.
  void take(const Sample& before_start);

  /// Corrects the rows of an interval of the run. The first one also gets all threads and sockets
  /// that existed at the start.
  void apply(Sample& interval);

 private:
  using ThreadKey = std::tuple<int32_t, int32_t, int64_t>;
  static ThreadKey key(const ThreadRow& row) { return {row.pid, row.tid, row.start_time_ns}; }

  std::map<ThreadKey, ThreadRow> threads_;
  std::map<int32_t, SyscallRow> syscalls_;
  std::map<uint32_t, uint64_t> stack_samples_;
  std::map<uint32_t, std::pair<uint64_t, uint64_t>> slept_;  // sleeps, ns
  std::map<uint32_t, uint64_t> held_ns_;                     // of CPU holders
  std::map<uint64_t, SocketRow> sockets_;  // by cookie; moved out with the first interval
  bool first_ = true;
};

}  // namespace topspin
