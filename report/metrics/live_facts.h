// What leaves a recording while it runs, beside the numbers of its ticks: facts about the recording
// itself, and events. Plain values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace topspin {

/// Counts since the recording began; absent: there is no such thing in it.
struct LiveFacts {
  std::optional<uint64_t> incidents, incidents_lost, held_off;  // of a flight recorder
  /// What no collector took (--otlp).
  std::optional<uint64_t> otlp_points_dropped, otlp_logs_dropped, otlp_retries;
};

/// Something that happened, for a log.
struct LiveEvent {
  enum class Severity : uint8_t { kWarning, kError };

  int64_t wall_ns = 0;           // when it happened
  int64_t observed_wall_ns = 0;  // when it was known
  Severity severity = Severity::kWarning;
  std::string name;  // "topspin.incident"
  std::string text;
  std::vector<std::pair<std::string, std::string>> attributes;
};

}  // namespace topspin
