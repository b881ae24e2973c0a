// RowBaseline: makes cumulative rows begin with the run.
//
// Probes count a thread, a kind of system call or a stack from the moment they first see it, which
// for a subject that runs already is before the run begins. What a row held at the start is taken
// away from each later version of it. Sockets are as they stand, whenever they were made: those
// that were there at the start are rows of the first interval. Pure. One thread.
#pragma once

#include <cstdint>
#include <map>
#include <tuple>

#include "probes/probes.h"

namespace topspin {

class RowBaseline {
 public:
  /// The interval that ends where the run begins. May be called more than once: the last version of
  /// a row counts.
  void take(const ProbeInterval& before_start);

  /// Rows of an interval of the run. With the first one come all threads and sockets that were
  /// there at the start.
  void apply(ProbeInterval& interval);

 private:
  using ThreadKey = std::tuple<int32_t, int32_t, int64_t>;
  static ThreadKey key(const ThreadRow& row) { return {row.pid, row.tid, row.start_time_ns}; }

  std::map<ThreadKey, ThreadRow> threads_;
  std::map<int32_t, SyscallRow> syscalls_;
  std::map<uint32_t, uint64_t> stack_samples_;
  std::map<uint32_t, uint64_t> held_ns_;   // of CPU holders
  std::map<uint64_t, SocketRow> sockets_;  // by cookie; given up with the first interval
  bool first_ = true;
};

}  // namespace topspin
