// Counters: what perf events count in the subject's threads. The probe "counters", on request,
// since each context switch of the subject then saves and restores them.
//
// An event is opened on each thread that is there, and the kernel carries it on to every thread and
// process that those start; of a cgroup, on each CPU for the group. Software events always;
// hardware events where the machine has them, else the reason is in reason(). Nothing is opened
// later, so privileges may be given up. Owned by Probes, on its thread.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/base/result.h"
#include "core/base/unique_fd.h"
#include "core/tick/sample.h"
#include "probes/proc/proc_reader.h"
#include "probes/proc/subject.h"

namespace topspin {

class Counters {
 public:
  /// Fails if not even the task clock can be counted.
  static Result<Counters> open(const Subject& subject, ProcReader& proc);

  /// Since the previous call, or open().
  CounterInterval take_interval();

  /// Threads that were there at open() and could not be counted.
  uint64_t threads_missed() const { return threads_missed_; }
  /// What is not counted and why; empty: everything is.
  const std::string& reason() const { return reason_; }

 private:
  using Member = std::optional<EventCount> CounterInterval::*;
  struct Event {
    Member member;
    std::vector<UniqueFd> fds;
  };

  CounterInterval read() const;

  std::vector<Event> events_;
  CounterInterval previous_;
  uint64_t threads_missed_ = 0;
  std::string reason_;
};

}  // namespace topspin
