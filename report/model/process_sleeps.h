// ProcessSleeps: what the threads of each of the subject's processes slept on, summed from their
// rows. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/tick/sample.h"

namespace topspin {

struct ProcessSleeps {
  int32_t pid = 0;
  std::string name;  // of its leader if known, else of any thread: hostile text
  uint64_t threads = 0;
  std::array<OffCpuTime, kBlockedByCount> blocked_by;  // by BlockedBy
  std::optional<uint64_t> busy_stretch_max_ns;         // the longest of its threads

  uint64_t blocked_ns() const;  // of all reasons
};

/// Sums the rows of threads, one by one.
class ProcessSums {
 public:
  void add(const ThreadRow& thread);
  /// The processes whose sleeps were measured, those with the longest total first.
  std::vector<ProcessSleeps> take();

 private:
  std::map<int32_t, ProcessSleeps> processes_;
};

/// "poll 1.9 s, futex 12 ms": the reasons with the most time, at most `most`.
std::vector<std::pair<BlockedBy, OffCpuTime>> longest_sleeps(
    const std::array<OffCpuTime, kBlockedByCount>& blocked_by, size_t most);

}  // namespace topspin
