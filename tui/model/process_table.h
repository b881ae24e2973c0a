// ProcessTable: the processes for the screen Processes, in addition to the Samples. The owner of
// the screen reads them and passes them in. Plain values; no OS.
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
  std::optional<uint64_t> wait_ns;  // for a CPU, of all its threads; absent: not read
  int64_t rss_bytes = 0;
};

/// All processes at one moment.
struct ProcessReadings {
  int64_t read_ns = 0;                          // monotonic
  std::map<int32_t, ProcessReading> processes;  // by pid
  uint64_t left_out = 0;                        // processes beyond the limit
};

/// The last two readings.
class ProcessTable {
 public:
  void update(ProcessReadings next) { before_ = std::exchange(now_, std::move(next)); }

  /// nullopt if there is no reading yet.
  const std::optional<ProcessReadings>& now() const { return now_; }

  /// CPU use between the two readings; 1.0 is one CPU all the time. nullopt if not known.
  std::optional<double> cpu(int32_t pid) const {
    return share(pid, [](const ProcessReading& one) { return std::optional(one.cpu_ns); });
  }
  /// 1.0 means that one thread waited for a CPU all the time.
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
    // If a sum shrank, threads have ended.
    if (!later || !earlier || *later < *earlier) return std::nullopt;
    return static_cast<double>(*later - *earlier) /
           static_cast<double>(now_->read_ns - before_->read_ns);
  }

  std::optional<ProcessReadings> now_, before_;
};

}  // namespace topspin
