// `topspin accept`: marks changes as intended.
#include <algorithm>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "app/commands/commands.h"
#include "app/commands/gate/gate_options.h"
#include "app/commands/gate/gate_runs.h"
#include "app/commands/gate/gate_series.h"
#include "app/host/outlet.h"
#include "app/options/observe_options.h"
#include "app/options/option_group.h"
#include "ci/metrics/run_metrics.h"
#include "ci/run_selection.h"
#include "core/base/clock.h"
#include "report/text/text_report.h"
#include "store/runs/gate_log.h"

namespace topspin {
namespace {

struct AcceptOptions {
  GateOptions gate;  // selects the history
  std::string run;
  std::optional<size_t> change;
  std::string metric;
  std::string because;
};

/// The log entry for an accepted change of a judged history.
struct AcceptedChange {
  Acceptance acceptance;
  std::string text;  // for people
};

/// Finds the changes to accept. Only a change that the history shows can be accepted.
Result<std::vector<AcceptedChange>> find_changes(const AcceptOptions& o, const Judgement& judgement,
                                                 const std::string& series) {
  std::vector<AcceptedChange> found;
  std::string there;
  for (const HistoryChange& c : judgement.changes) {
    there += fmt::format("{}{} ({})", there.empty() ? "" : ", ", c.index, c.metric);
    if (c.index != *o.change || (!o.metric.empty() && o.metric != c.metric)) continue;
    AcceptedChange& change = found.emplace_back();
    change.acceptance.kind = Acceptance::Kind::kChange;
    change.acceptance.run_id = c.run_id;
    change.acceptance.series = series;
    change.acceptance.row_index = c.index;
    change.acceptance.metric = c.metric;
    change.text =
        fmt::format("{} at index {}, {}", c.metric, c.index, format_change(c.point.change));
  }
  if (found.empty()) {
    return make_error(
        ErrorCode::kUsage,
        fmt::format("the history shows no change at index {}{}; there are: {}", *o.change,
                    o.metric.empty() ? "" : " of " + o.metric, there.empty() ? "none" : there));
  }
  return found;
}

Result<std::vector<AcceptedChange>> accepted_changes(const AcceptOptions& o) {
  if (!o.gate.series.empty()) {
    TOPSPIN_ASSIGN(const JudgedSeries series, judge_series(o.gate));
    TOPSPIN_ASSIGN(auto found, find_changes(o, series.judgement, series.name));
    for (AcceptedChange& change : found) change.acceptance.run_id.clear();
    return found;
  }
  if (o.change) {
    TOPSPIN_ASSIGN(const Judgement judgement, judge_stored_history(o.gate));
    return find_changes(o, judgement, "");
  }
  TOPSPIN_ASSIGN(const auto store, RunStore::open(database_path(o.gate.db)));
  TOPSPIN_ASSIGN(const StoredRun run, select_run(*store, o.run));
  AcceptedChange baseline;
  baseline.acceptance.kind = Acceptance::Kind::kBaseline;
  baseline.acceptance.run_id = run.info.id;
  baseline.acceptance.metric = o.metric;
  baseline.text = fmt::format("run #{} ({}) as the baseline{}", run.number, run.info.id,
                              o.metric.empty() ? "" : fmt::format(" of {}", o.metric));
  return std::vector<AcceptedChange>{std::move(baseline)};
}

Status check_accept(const AcceptOptions& o) {
  if (o.run.empty() == !o.change.has_value()) {
    return make_error(ErrorCode::kUsage,
                      "give either a RUN, which becomes the baseline, or --change INDEX");
  }
  if (o.because.empty())
    return make_error(ErrorCode::kUsage,
                      "give the reason with --because TEXT; it is stored with the change");
  if (!o.run.empty() && (!o.gate.sides.empty() || !o.gate.column.empty() ||
                         !o.gate.margin.empty() || !o.gate.better.empty())) {
    return make_error(ErrorCode::kUsage,
                      "--of, --column, --margin and --better need --change; a RUN becomes the "
                      "baseline of everything that it measured");
  }
  if (!o.gate.series.empty() && (!o.change || o.gate.db.empty() || !o.gate.sides.empty())) {
    return make_error(
        ErrorCode::kUsage,
        "--series needs --change INDEX, and --db for the database that keeps the log");
  }
  return {};
}

Status check_metric(const std::string& name) {
  std::vector<std::string> names;
  for (const RunMetric& m : run_metrics()) names.push_back(m.metric.name);
  if (std::find(names.begin(), names.end(), name) != names.end()) return {};
  return make_error(ErrorCode::kUsage, fmt::format("--metric: {}", not_one_of(name, names)));
}

int run_accept(AcceptOptions o) {
  if (auto status = check_accept(o); !status.ok()) return fail(status.error());
  if (auto status = load_config(o.gate, true); !status.ok()) return fail(status.error());
  if (!o.metric.empty() && o.gate.series.empty()) {
    if (auto status = check_metric(o.metric); !status.ok()) return fail(status.error());
  }
  const auto changes = accepted_changes(o);
  if (!changes.ok()) return fail(changes.error());
  for (AcceptedChange change : *changes) {
    change.acceptance.accepted_wall_ns = wall_now_ns();
    change.acceptance.because = o.because;
    if (auto status = log_acceptance(database_path(o.gate.db), change.acceptance); !status.ok())
      return fail(status.error());
    say(fmt::format("accepted {}", change.text));
  }
  return 0;
}

}  // namespace

void add_accept_command(CLI::App& root, Action& action) {
  CLI::App* command =
      root.add_subcommand("accept", "Mark a change as intended, so that gate --history passes it");
  auto o = std::make_shared<AcceptOptions>();
  command->add_option(
      "RUN", o->run,
      fmt::format("The new baseline: every change up to this run was intended. It is {}",
                  kRunHelp));
  const OptionGroup options(*command, "Options");
  options.option("--change", o->change, "INDEX",
                 "The change that gate --history shows at this index");
  options.option("--because", o->because, "TEXT", "The reason; it is stored in the database");
  options.option("--metric", o->metric, "NAME", "Only this metric (default: all)");
  options
      .option("--of", o->gate.sides, "RUNS",
              "With --change: the runs of the history (default: all)")
      ->expected(1);
  options.option("--series", o->gate.series, "FILE.csv",
                 "With --change: the CSV file of the history; needs --db");
  add_gate_options(*command, o->gate);
  command->footer(
      "Examples:\n"
      "  topspin accept last --because 'TLS is on from here'\n"
      "  topspin accept --change 112 --of main --metric cpu_ns_per_flow \\\n"
      "    --because checksums\n"
      "  topspin accept --change 40 --series nightly.csv --column cpu_us --db log.db \\\n"
      "    --because 'new allocator'");
  command->callback([o, &action] { action = [o] { return run_accept(*o); }; });
}

}  // namespace topspin
