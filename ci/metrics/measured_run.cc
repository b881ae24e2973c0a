#include "ci/metrics/measured_run.h"

#include <algorithm>
#include <map>
#include <optional>

#include <fmt/format.h>

#include "core/run/run_reasons.h"

namespace topspin {

std::vector<std::string> reasons_not_to_judge(const MeasuredRun& run) {
  return standing_of(run.run.info, run.run.end, run.totals).reasons;
}

std::string fault_of_subject(const RunEnd& end) {
  if (end.status == RunStatus::kInterrupted || end.status == RunStatus::kRunning) return {};
  const std::string silence = std::string(kLoadReason) + std::string(kLoadSilence);
  for (const std::string& reason : end.invalid_reasons) {
    if (reason.starts_with(kSubjectReason) || reason.starts_with(silence)) return reason;
  }
  return {};
}

Status check_sides(const std::vector<StoredRun>& a, const std::vector<StoredRun>& b) {
  for (const StoredRun& run : a) {
    if (std::none_of(b.begin(), b.end(),
                     [&](const StoredRun& other) { return other.info.id == run.info.id; }))
      continue;
    return make_error(ErrorCode::kUsage,
                      fmt::format("run {} is on both sides; name two different runs", run.info.id));
  }
  return {};
}

Result<std::vector<MeasuredRun>> measure_runs(RunStore& store, const std::vector<StoredRun>& runs) {
  std::vector<MeasuredRun> measured(runs.size());
  TOPSPIN_TRY(store.for_each_fold(runs, RunPart::kMeasured, RunTotals::distributions(),
                                  [&](size_t i, const RunFold& fold) {
                                    measured[i] = {runs[i], RunTotals(fold)};
                                  }));
  TOPSPIN_TRY(store.expect(runs));
  for (MeasuredRun& one : measured) {
    TOPSPIN_ASSIGN(const auto load, store.load_load(one.run.info.id));
    if (load) one.totals.set_load(*load);
  }
  return measured;
}

Status measure_costs(RunStore& store, std::vector<MeasuredRun>& runs) {
  for (MeasuredRun& run : runs) {
    TOPSPIN_ASSIGN(run.totals.costs, read_costs(store, run.run));
  }
  return {};
}

Result<std::vector<RunPair>> pair_runs(std::vector<MeasuredRun> a, std::vector<MeasuredRun> b) {
  const auto label = [](const MeasuredRun& run) -> std::optional<std::string> {
    const auto found = run.run.info.labels.find("pair");
    return found == run.run.info.labels.end() ? std::nullopt : std::optional(found->second);
  };
  const auto labelled = [&](const std::vector<MeasuredRun>& side) {
    return std::all_of(side.begin(), side.end(), [&](const auto& run) { return label(run); });
  };
  std::vector<RunPair> pairs;
  if (labelled(a) && labelled(b)) {
    std::map<std::string, MeasuredRun> waiting;
    for (MeasuredRun& run : b) {
      const std::string name = *label(run);
      if (!waiting.emplace(name, std::move(run)).second)
        return make_error(ErrorCode::kUsage, fmt::format("two runs of B have pair={}", name));
    }
    for (MeasuredRun& run : a) {
      const std::string name = *label(run);
      const auto partner = waiting.find(name);
      if (partner == waiting.end()) {
        return make_error(ErrorCode::kUsage,
                          fmt::format("pair={} has one run of A and none of B, or two of A", name));
      }
      pairs.push_back({std::move(run), std::move(partner->second)});
      waiting.erase(partner);
    }
    if (!waiting.empty()) {
      return make_error(ErrorCode::kUsage, fmt::format("pair={} has a run of B and none of A",
                                                       waiting.begin()->first));
    }
    return pairs;
  }
  const auto start = [](const MeasuredRun& run) { return run.run.info.started_wall_ns; };
  bool in_turn = a.size() == b.size();
  for (size_t i = 0; in_turn && i + 1 < a.size(); ++i)
    in_turn = std::max(start(a[i]), start(b[i])) < std::min(start(a[i + 1]), start(b[i + 1]));
  if (!in_turn) {
    return make_error(
        ErrorCode::kUsage,
        "the runs of A and B were not recorded in turn and have no label pair=N; record "
        "them in turn, or see the difference with topspin compare");
  }
  for (size_t i = 0; i < a.size(); ++i) pairs.push_back({std::move(a[i]), std::move(b[i])});
  return pairs;
}

}  // namespace topspin
