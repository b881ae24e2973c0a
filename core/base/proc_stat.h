// Parses /proc/PID/stat. Pure.
#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace topspin {

/// The decimal number at the front of a word of a file of /proc or of a cgroup, whatever follows
/// it. nullopt if there is none, or if it does not fit.
template <typename Number>
std::optional<Number> parse_number(std::string_view text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end == text.data()) return std::nullopt;
  return number;
}

/// /proc/PID/stat, or /proc/PID/task/TID/stat for a thread.
struct ProcStat {
  int32_t pid = 0;
  std::string name;
  char state = '?';  // 'Z' and 'X': has ended
  int32_t parent_pid = 0;
  uint64_t minor_faults = 0;
  uint64_t reaped_minor_faults = 0;  // of children that ended and were waited for, and theirs
  uint64_t major_faults = 0;
  uint64_t reaped_major_faults = 0;
  uint64_t cpu_ticks = 0;  // user and system, in clock ticks
  int64_t threads = 0;
  uint64_t start_ticks = 0;  // since boot, in clock ticks
  int64_t rss_pages = 0;

  bool ended() const { return state == 'Z' || state == 'X'; }
};
/// Names of processes are hostile, so the text is parsed from its last ')'. nullopt if the text is
/// incomplete.
std::optional<ProcStat> parse_proc_stat(std::string_view text);

}  // namespace topspin
