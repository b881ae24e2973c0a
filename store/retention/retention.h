// Retention: which runs of a database are kept, by their age, their number and its size.
//
// What goes is removed as `topspin rm` removes it (store/runs/run_edit.h). A run that is being
// recorded stays, and so does one that the gate's history has accepted as a baseline; the report
// says how many stayed for that. The choice is pure: the time is a parameter.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/base/result.h"

namespace topspin {

struct RetentionLimits {
  std::optional<int64_t> keep_ns;       // runs that started longer ago go
  std::optional<uint64_t> max_bytes;    // of the database and its packets; the oldest runs go first
  std::optional<size_t> max_incidents;  // the oldest incidents go first
  bool size_is_of_incidents = false;    // for max_bytes only incidents go
};

/// A run as far as it matters for its removal.
struct RunToKeep {
  std::string id;
  uint64_t number = 0;
  int64_t started_wall_ns = 0;
  bool is_incident = false;
  bool is_recording = false;
  bool is_baseline = false;   // accepted by the gate's history
  uint64_t packet_bytes = 0;  // of its file of packets
};

/// The runs that age and number remove, oldest first. `runs` are in any order.
struct RunsToRemove {
  std::vector<std::string> for_age, for_number;
  size_t baselines_kept = 0;  // that are old enough
};
RunsToRemove choose_runs(std::span<const RunToKeep> runs, const RetentionLimits& limits,
                         int64_t now_wall_ns);

/// The next run to remove while the database is too large: the oldest one that may go. The newest
/// run stays. nullopt if there is none.
std::optional<std::string> choose_for_size(std::span<const RunToKeep> runs,
                                           const RetentionLimits& limits);

struct RetentionReport {
  size_t removed_for_age = 0;
  size_t removed_for_number = 0;
  size_t removed_for_size = 0;
  size_t baselines_kept = 0;
  size_t packet_files_left = 0;  // of removed runs; could not be removed
  uint64_t bytes = 0;            // of the database and its packets afterwards
  bool is_still_too_large = false;

  size_t removed() const { return removed_for_age + removed_for_number + removed_for_size; }
};

/// Removes what the limits do not keep. A database that does not exist is empty.
Result<RetentionReport> retain_runs(const std::string& path, const RetentionLimits& limits,
                                    int64_t now_wall_ns);

/// What was removed and what stayed, one sentence each; empty if there is nothing to say.
std::vector<std::string> retention_sentences(const RetentionReport& report,
                                             const RetentionLimits& limits);

}  // namespace topspin
