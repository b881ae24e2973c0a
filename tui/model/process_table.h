// ProcessTable: the processes that the screen Processes shows beside the Samples. Whoever owns the
// screen reads them and hands them in. Plain values; no OS.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>

namespace topspin {

/// A process at one moment. Its identity is (pid, start_ticks).
struct ProcessReading {
  uint64_t start_ticks = 0;         // since boot
  std::string name;                 // hostile text
  uint64_t cpu_ns = 0;              // user and system, since it began
  std::optional<uint64_t> wait_ns;  // of its threads, for a CPU; absent: not read
  int64_t rss_bytes = 0;
};

/// One look at them.
struct ProcessReadings {
  int64_t read_ns = 0;                          // monotonic
  std::map<int32_t, ProcessReading> processes;  // by pid
  uint64_t left_out = 0;                        // processes beyond the limit of a look
};

/// The last two looks.
class ProcessTable {
 public:
  void update(ProcessReadings next) { before_ = std::exchange(now_, std::move(next)); }

  /// nullopt: nobody has looked yet.
  const std::optional<ProcessReadings>& now() const { return now_; }

  /// Between the two looks; 1.0: one CPU all the time. nullopt: not known.
  std::optional<double> cpu(int32_t pid) const {
    return share(pid, [](const ProcessReading& one) { return std::optional(one.cpu_ns); });
  }
  /// 1.0: one thread waited for a CPU all the time.
  std::optional<double> wait(int32_t pid) const {
    return share(pid, [](const ProcessReading& one) { return one.wait_ns; });
  }

 private:
  template <typename Sum>
  std::optional<double> share(int32_t pid, Sum sum) const {
    if (!now_ || !before_ || now_->read_ns <= before_->read_ns) return std::nullopt;
    const auto now = now_->processes.find(pid), before = before_->processes.find(pid);
    if (now == now_->processes.end() || before == before_->processes.end() ||
        now->second.start_ticks != before->second.start_ticks)
      return std::nullopt;
    const auto later = sum(now->second), earlier = sum(before->second);
    // A sum that shrank has lost threads.
    if (!later || !earlier || *later < *earlier) return std::nullopt;
    return static_cast<double>(*later - *earlier) /
           static_cast<double>(now_->read_ns - before_->read_ns);
  }

  std::optional<ProcessReadings> now_, before_;
};

}  // namespace topspin
