#include "app/commands/gate/gate_runs.h"

#include <fmt/format.h>

#include "app/host/outlet.h"
#include "app/options/observe_options.h"
#include "app/plan/plan.h"
#include "ci/judgement/run_history.h"
#include "ci/judgement/stored_judgement.h"
#include "ci/run_selection.h"
#include "ci/slo/slo_gate.h"
#include "store/runs/gate_log.h"

namespace topspin {
namespace {

/// Refuses options about CSV files, which have no meaning for stored runs.
Status refuse_csv_options(const GateOptions& o) {
  if (o.column.empty() && o.time_column.empty() && o.margin.empty() && o.unit.empty() &&
      o.better.empty() && !o.paired)
    return {};
  return make_error(ErrorCode::kUsage,
                    "--column, --time-column, --margin, --unit, --better and --paired are for CSV "
                    "files; stored runs have their own metrics, which gate.toml changes");
}

/// The rules of gate.toml, and those of the plan that made a run.
RulesOfRun rules_of_runs(const GateConfig& config) {
  return [&config](const StoredRun& run) -> Result<std::vector<SloRule>> {
    std::vector<SloRule> rules = config.slo;
    TOPSPIN_ASSIGN(auto of_plan, plan_rules(run));
    rules.insert(rules.end(), std::make_move_iterator(of_plan.begin()),
                 std::make_move_iterator(of_plan.end()));
    return rules;
  };
}

/// The judged database, with the metrics and rules to apply.
struct Records {
  std::unique_ptr<RunStore> store;
  std::vector<StoredRun> runs;
  std::vector<RunMetric> metrics;
};

/// Says so if there are any.
void leave_incidents_out(std::vector<StoredRun>& runs) {
  const size_t count = std::erase_if(
      runs, [](const StoredRun& run) { return run.end.status == RunStatus::kIncident; });
  if (count > 0) say(fmt::format("{} incident{} left out", count, count == 1 ? " is" : "s are"));
}

Result<Records> open_records(const GateOptions& o) {
  TOPSPIN_TRY(refuse_csv_options(o));
  Records records;
  TOPSPIN_ASSIGN(records.metrics, configured_metrics(o.config));
  TOPSPIN_ASSIGN(records.store, RunStore::open(database_path(o.db)));
  const bool all = o.sides_are_default || o.sides.empty();
  TOPSPIN_ASSIGN(records.runs,
                 all ? records.store->list_runs() : list_runs_named(*records.store, o.sides));
  return records;
}

struct MeasuredSides {
  std::vector<MeasuredRun> a;
  std::vector<MeasuredRun> b;
};

/// The runs of the two sides of the last plan. kUsage, with what to name instead, if a side has
/// none.
Result<std::vector<StoredRun>> runs_of_last_plan(std::vector<StoredRun> all,
                                                 const std::vector<std::string>& sides) {
  const size_t count = all.size();
  std::vector<StoredRun> runs = newest_session(std::move(all));
  std::string missing;
  for (const std::string& side : sides) {
    if (!runs.empty() && !select_runs(runs, side).ok())
      missing += (missing.empty() ? "" : " or ") + side;
  }
  if (!missing.empty()) {
    const bool any_plan = runs.back().info.plan.has_value();
    return make_error(
        ErrorCode::kUsage,
        fmt::format("without names, gate judges the two sides of the last `topspin run`, side=a "
                    "and side=b; {} has no run of {}. Name two sides, the baseline first, such as "
                    "`topspin gate "
                    "last~1 last`; or look for changes over all runs with --history",
                    any_plan ? "that session" : "this database", missing));
  }
  if (runs.size() < count) {
    say(
        fmt::format("judging the {} runs of the last session of topspin run; {} other runs in "
                    "the database are left out",
                    runs.size(), count - runs.size()));
  }
  return runs;
}

/// REQUIRES: two sides were named.
Result<MeasuredSides> measure_sides(const GateOptions& o, Records& records) {
  if (o.sides_are_default) {
    leave_incidents_out(records.runs);
    TOPSPIN_ASSIGN(records.runs, runs_of_last_plan(std::move(records.runs), o.sides));
  }
  TOPSPIN_ASSIGN(const auto a, select_runs(records.runs, o.sides[0]));
  TOPSPIN_ASSIGN(const auto b, select_runs(records.runs, o.sides[1]));
  TOPSPIN_TRY(check_sides(a, b));
  MeasuredSides sides;
  TOPSPIN_ASSIGN(sides.a, measure_runs(*records.store, a));
  TOPSPIN_ASSIGN(sides.b, measure_runs(*records.store, b));
  TOPSPIN_TRY(measure_costs(*records.store, sides.a));
  TOPSPIN_TRY(measure_costs(*records.store, sides.b));
  return sides;
}

/// The ids of the acknowledged runs, which may be named by any selector.
Result<std::vector<std::string>> ids_of(const std::vector<std::string>& selectors,
                                        RunStore& store) {
  std::vector<std::string> ids;
  TOPSPIN_ASSIGN(const auto runs, select_runs(store, selectors));
  for (const StoredRun& run : runs) ids.push_back(run.info.id);
  return ids;
}

/// Keeps only the runs of the named side, or all if none was named. Incidents are not of a history:
/// a flight recorder kept them because something was wrong, and the newest one must not take the
/// place of the newest run.
Status keep_named(const GateOptions& o, Records& records) {
  if (!o.sides.empty()) {
    TOPSPIN_ASSIGN(records.runs, select_runs(records.runs, o.sides[0]));
  }
  leave_incidents_out(records.runs);
  return {};
}

}  // namespace

Result<Judgement> compare_stored(const GateOptions& o) {
  TOPSPIN_ASSIGN(Records records, open_records(o));
  TOPSPIN_ASSIGN(const MeasuredSides sides, measure_sides(o, records));
  return compare_runs(sides.a, sides.b, o.seed, o.strict, records.metrics);
}

Result<StoredPairs> read_stored_pairs(const GateOptions& o) {
  TOPSPIN_ASSIGN(Records records, open_records(o));
  TOPSPIN_ASSIGN(MeasuredSides sides, measure_sides(o, records));
  StoredPairs stored;
  TOPSPIN_ASSIGN(stored.slos, judge_candidates(*records.store, sides.b, rules_of_runs(o.config)));
  TOPSPIN_ASSIGN(stored.pairs, pair_runs(std::move(sides.a), std::move(sides.b)));
  stored.metrics = std::move(records.metrics);
  return stored;
}

Judgement judge(const StoredPairs& stored, const GateOptions& o, double level, bool failures_only) {
  std::vector<RunMetric> metrics = stored.metrics;
  if (failures_only) std::erase_if(metrics, [](const RunMetric& m) { return !m.metric.absolute; });
  Judgement judgement = judge_pairs(stored.pairs, o.seed, o.strict, metrics, level);
  apply_slos(judgement, stored.slos, o.strict);
  return judgement;
}

Result<Judgement> judge_stored_pairs(const GateOptions& o) {
  TOPSPIN_ASSIGN(const StoredPairs stored, read_stored_pairs(o));
  return judge(stored, o);
}

Result<Judgement> judge_stored_history(const GateOptions& o) {
  TOPSPIN_ASSIGN(Records records, open_records(o));
  TOPSPIN_TRY(keep_named(o, records));
  TOPSPIN_ASSIGN(const auto measured, measure_runs(*records.store, records.runs));
  TOPSPIN_ASSIGN(const auto accepted, read_acceptances(database_path(o.db)));
  TOPSPIN_ASSIGN(const auto acknowledged, ids_of(o.acknowledged, *records.store));
  Judgement judgement =
      judge_run_history(measured, acknowledged, o.seed, o.strict, records.metrics, accepted);
  if (!measured.empty()) {  // only the newest run is the candidate
    TOPSPIN_ASSIGN(auto slos, judge_candidates(*records.store, std::span(measured).last(1),
                                               rules_of_runs(o.config)));
    apply_slos(judgement, std::move(slos), o.strict);
  }
  return judgement;
}

Result<AaCheck> check_stored_aa(const GateOptions& o) {
  TOPSPIN_ASSIGN(Records records, open_records(o));
  TOPSPIN_TRY(keep_named(o, records));
  if (o.sides.empty() && !records.runs.empty()) {
    const SourceInfo newest = records.runs.back().info.source;
    std::erase_if(records.runs, [&](const StoredRun& run) {
      const SourceInfo& source = run.info.source;
      return source.commit != newest.commit || source.dirty != newest.dirty;
    });
  }
  TOPSPIN_ASSIGN(const auto measured, measure_runs(*records.store, records.runs));
  return check_aa(measured, static_cast<size_t>(*o.aa_trials), o.seed, records.metrics);
}

}  // namespace topspin
