// Counters: counts perf events in the subject's threads. This is the probe "counters". It runs only
// on request, because each context switch of the subject then saves and restores the counters.
//
// An event is opened on each existing thread; the kernel extends it to every thread and process
// that these start. For a cgroup it is opened on each CPU. Software events are always counted.
// Hardware events are counted if the machine has them; otherwise reason() says why not. Nothing is
// opened later, so privileges may be given up. Owned by Probes, on its thread.
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

  /// The counts since the previous call, or since open().
  CounterInterval take_interval();

  /// The number of threads that existed at open() and could not be counted.
  uint64_t threads_missed() const { return threads_missed_; }
  /// What is not counted and why; empty if everything is.
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
