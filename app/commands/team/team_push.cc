#include "app/commands/team/team_push.h"

#include <array>
#include <cstdlib>
#include <set>

#include <fmt/format.h>

#include "ci/metrics/measured_run.h"
#include "ci/run_selection.h"
#include "core/base/text.h"
#include "store/team_address.h"
#include "store/team_store.h"

namespace topspin {
namespace {

/// Splits "reply_latency_ns_p99" into its name, unit and statistic, as far as it has them.
TeamMetric named(const Metric& metric) {
  constexpr std::array<std::string_view, 5> kStatistics = {"p50", "p90", "p99", "mean", "max"};
  TeamMetric out;
  out.metric = metric.name;
  out.unit = metric.unit;
  out.better = better_name(metric.better);
  out.gating = metric.gating;
  std::string_view name = metric.name;
  for (const std::string_view statistic : kStatistics) {
    if (!name.ends_with(fmt::format("_{}", statistic))) continue;
    out.statistic = statistic;
    name.remove_suffix(statistic.size() + 1);
    if (const std::string unit = "_" + metric.unit; name.ends_with(unit))
      name.remove_suffix(unit.size());
    break;
  }
  out.name = name;
  return out;
}

std::vector<TeamMetric> metrics_of(const RunTotals& totals) {
  std::vector<TeamMetric> metrics;
  for (const RunMetric& m : run_metrics()) {
    const std::optional<double> value = m.take(totals);
    if (!value) continue;
    metrics.push_back(named(m.metric));
    metrics.back().value = *value;
  }
  return metrics;
}

}  // namespace

Result<std::string> team_address(const std::string& given, const char* option) {
  const char* variable = std::getenv("TOPSPIN_STORE");
  const std::string address = !given.empty() ? given : variable != nullptr ? variable : "";
  if (address.empty()) {
    return make_error(ErrorCode::kUsage,
                      fmt::format("give the team's store with {} or TOPSPIN_STORE, such as "
                                  "postgresql://ci@db.example/topspin#PROJECT",
                                  option));
  }
  TOPSPIN_ASSIGN([[maybe_unused]] const TeamAddress parsed, parse_team_address(address));
  return address;
}

Result<PushCounts> push_runs(const std::string& database, const std::vector<std::string>& words,
                             const std::string& address,
                             const std::function<void(const std::string&)>& tell) {
  TOPSPIN_ASSIGN(const auto store, RunStore::open(database));
  PushCounts counts;
  std::vector<StoredRun> runs;
  if (words.empty()) {
    std::vector<Error> damaged;
    TOPSPIN_ASSIGN(runs, store->list_runs(&damaged));
    counts.failed = damaged.size();
    for (const Error& error : damaged) counts.doubts.push_back(error.message);
  } else {
    TOPSPIN_ASSIGN(runs, select_runs(*store, words));
  }
  std::vector<std::string> ids;
  for (const StoredRun& run : runs) ids.push_back(run.info.id);
  TOPSPIN_ASSIGN(const auto there, runs_in_team_store(address, ids));
  const std::set<std::string> present(there.begin(), there.end());
  bool lacks_columns = false;
  for (const StoredRun& run : runs) {
    if (present.contains(run.info.id)) {
      ++counts.present;
      continue;
    }
    if (run.end.status == RunStatus::kRunning) {
      ++counts.recording;
      continue;
    }
    const auto leave_out = [&](const std::string& why) {
      ++counts.failed;
      counts.doubts.push_back(fmt::format("run #{} was left out: {}", run.number, why));
    };
    const auto measured = measure_runs(*store, {run});
    if (!measured.ok()) {
      leave_out(measured.error().message);
      continue;
    }
    TOPSPIN_ASSIGN(const Pushed pushed,
                   push_run(address, database, run.info.id, metrics_of(measured->front().totals)));
    if (!pushed.damage.empty()) {
      leave_out(pushed.damage);
      continue;
    }
    if (pushed.was_there) {
      ++counts.present;
      continue;
    }
    ++counts.pushed;
    lacks_columns = lacks_columns || pushed.columns_left_out > 0;
    tell(fmt::format("#{}  {}  {}", run.number, run.info.id,
                     format_bytes(static_cast<int64_t>(pushed.bytes))));
  }
  if (lacks_columns) {
    counts.doubts.push_back(
        "the store was made by an older topspin and lacks columns for some numbers, which are only "
        "in the runs' files; its owner should run `topspin store init`");
  }
  return counts;
}

}  // namespace topspin
