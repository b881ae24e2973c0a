#include "store/retention/retention.h"

#include <algorithm>
#include <filesystem>
#include <tuple>

#include <fmt/format.h>

#include "core/base/text.h"
#include "core/run/run.h"
#include "store/run_store.h"
#include "store/runs/gate_log.h"
#include "store/runs/run_edit.h"
#include "store/sqlite/packet_files.h"

namespace topspin {
namespace {

bool may_go(const RunToKeep& run) { return !run.is_recording && !run.is_baseline; }

std::vector<RunToKeep> oldest_first(std::span<const RunToKeep> runs) {
  std::vector<RunToKeep> sorted(runs.begin(), runs.end());
  std::stable_sort(sorted.begin(), sorted.end(), [](const RunToKeep& a, const RunToKeep& b) {
    return std::tie(a.started_wall_ns, a.number) < std::tie(b.started_wall_ns, b.number);
  });
  return sorted;
}

Result<std::vector<RunToKeep>> read_runs_to_keep(const std::string& path) {
  TOPSPIN_ASSIGN(const auto accepted, read_acceptances(path));
  TOPSPIN_ASSIGN(const auto store, RunStore::open(path));
  std::vector<Error> unreadable;  // these stay
  TOPSPIN_ASSIGN(const auto stored, store->list_runs(&unreadable));
  std::vector<RunToKeep> runs;
  for (const StoredRun& run : stored) {
    RunToKeep& one = runs.emplace_back();
    one.id = run.info.id;
    one.number = run.number;
    one.started_wall_ns = run.info.started_wall_ns;
    // One whose writer was killed is no less an incident.
    one.is_incident = run.end.status == RunStatus::kIncident ||
                      (run.end.status == RunStatus::kInterrupted &&
                       run.info.labels.contains(std::string(kIncidentLabel)));
    one.is_recording = run.end.status == RunStatus::kRunning;
    one.is_baseline = std::any_of(accepted.begin(), accepted.end(), [&](const Acceptance& a) {
      return a.kind == Acceptance::Kind::kBaseline && a.run_id == run.info.id;
    });
    one.packet_bytes = packet_file_bytes(path, one.id);
  }
  return runs;
}

uint64_t file_bytes_of(const std::string& path) {
  std::error_code error;
  const auto bytes = std::filesystem::file_size(path, error);
  return error ? 0 : bytes;
}

/// Removes the runs and drops them from the list.
Status remove_and_forget(const std::string& path, std::vector<RunToKeep>& runs,
                         const std::vector<std::string>& ids, RemovedRuns& removed) {
  if (ids.empty()) return {};
  TOPSPIN_ASSIGN(const RemovedRuns now, remove_runs(path, ids));
  removed.bytes_unused = now.bytes_unused;
  removed.packet_files_left += now.packet_files_left;
  std::erase_if(runs, [&](const RunToKeep& run) {
    return std::find(ids.begin(), ids.end(), run.id) != ids.end();
  });
  return {};
}

std::string runs_text(size_t count) { return count == 1 ? "1 run" : fmt::format("{} runs", count); }

}  // namespace

RunsToRemove choose_runs(std::span<const RunToKeep> runs, const RetentionLimits& limits,
                         int64_t now_wall_ns) {
  RunsToRemove chosen;
  std::vector<RunToKeep> incidents;
  for (const RunToKeep& run : oldest_first(runs)) {
    const bool is_old = limits.keep_ns && run.started_wall_ns < now_wall_ns - *limits.keep_ns;
    if (is_old && run.is_baseline) ++chosen.baselines_kept;
    if (is_old && may_go(run))
      chosen.for_age.push_back(run.id);
    else if (run.is_incident)
      incidents.push_back(run);
  }
  if (!limits.max_incidents) return chosen;
  size_t left = incidents.size();
  for (const RunToKeep& run : incidents) {
    if (left <= *limits.max_incidents) break;
    if (!may_go(run)) continue;
    chosen.for_number.push_back(run.id);
    --left;
  }
  return chosen;
}

std::optional<std::string> choose_for_size(std::span<const RunToKeep> runs,
                                           const RetentionLimits& limits) {
  std::vector<RunToKeep> sorted = oldest_first(runs);
  if (!sorted.empty()) sorted.pop_back();
  for (const RunToKeep& run : sorted) {
    if (may_go(run) && (run.is_incident || !limits.size_is_of_incidents)) return run.id;
  }
  return std::nullopt;
}

Result<RetentionReport> retain_runs(const std::string& path, const RetentionLimits& limits,
                                    int64_t now_wall_ns) {
  RetentionReport report;
  if (!limits.keep_ns && !limits.max_bytes && !limits.max_incidents) return report;
  if (std::error_code error; !std::filesystem::exists(path, error)) return report;
  TOPSPIN_ASSIGN(std::vector<RunToKeep> runs, read_runs_to_keep(path));
  const RunsToRemove chosen = choose_runs(runs, limits, now_wall_ns);
  report.removed_for_age = chosen.for_age.size();
  report.removed_for_number = chosen.for_number.size();
  report.baselines_kept = chosen.baselines_kept;
  std::vector<std::string> ids = chosen.for_age;
  ids.insert(ids.end(), chosen.for_number.begin(), chosen.for_number.end());
  RemovedRuns removed;
  TOPSPIN_TRY(remove_and_forget(path, runs, ids, removed));
  const auto used_bytes = [&] {
    const uint64_t bytes = file_bytes_of(path);
    uint64_t packet_bytes = 0;
    for (const RunToKeep& run : runs) packet_bytes += run.packet_bytes;
    return bytes - std::min(bytes, removed.bytes_unused) + packet_bytes;
  };
  while (limits.max_bytes && used_bytes() > *limits.max_bytes) {
    const auto oldest = choose_for_size(runs, limits);
    if (!oldest) {
      report.is_still_too_large = true;
      break;
    }
    TOPSPIN_TRY(remove_and_forget(path, runs, {*oldest}, removed));
    ++report.removed_for_size;
  }
  report.bytes = used_bytes();
  report.packet_files_left = removed.packet_files_left;
  return report;
}

std::vector<std::string> retention_sentences(const RetentionReport& report,
                                             const RetentionLimits& limits) {
  const auto oldest_removed = [](size_t count) {
    return count == 1 ? std::string("the oldest run was removed")
                      : fmt::format("the oldest {} runs were removed", count);
  };
  const std::string size = format_bytes(static_cast<int64_t>(limits.max_bytes.value_or(0)));
  std::vector<std::string> sentences;
  if (report.removed_for_age > 0) {
    sentences.push_back(fmt::format("{} older run{} removed", report.removed_for_age,
                                    report.removed_for_age == 1 ? " was" : "s were"));
  }
  if (report.removed_for_number > 0) {
    sentences.push_back(fmt::format("{}: at most {} incidents are kept",
                                    oldest_removed(report.removed_for_number),
                                    limits.max_incidents.value_or(0)));
  }
  if (report.removed_for_size > 0) {
    sentences.push_back(
        fmt::format("{}: the database may take {}", oldest_removed(report.removed_for_size), size));
  }
  if (report.packet_files_left > 0) {
    sentences.push_back(
        fmt::format("{} of the removed runs' files of packets (DATABASE-RUN.pcapng) could not be "
                    "removed; remove them by hand",
                    report.packet_files_left));
  }
  if (report.baselines_kept > 0) {
    sentences.push_back(
        fmt::format("kept for gate --history, which has accepted them as baselines: "
                    "{} older than {}",
                    runs_text(report.baselines_kept), format_duration(limits.keep_ns.value_or(0))));
  }
  if (report.is_still_too_large) {
    sentences.push_back(
        fmt::format("the database takes {}, more than the {} of --max-size, and {} may be removed",
                    format_bytes(static_cast<int64_t>(report.bytes)), size,
                    limits.size_is_of_incidents ? "no other incident" : "no other run"));
  }
  return sentences;
}

}  // namespace topspin
