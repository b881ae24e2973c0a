// `topspin compare`, `topspin gate` and `topspin accept`: the difference, the verdict, and what was
// changed on purpose, of stored runs or of any numbers.
#include <charconv>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <set>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "app/commands/commands.h"
#include "app/commands/export_target.h"
#include "app/host/outlet.h"
#include "app/options/observe_options.h"
#include "app/plan/plan.h"
#include "ci/aa_check.h"
#include "ci/csv.h"
#include "ci/gate_config.h"
#include "ci/slo_gate.h"
#include "ci/stored_judgement.h"
#include "core/clock.h"
#include "core/read_file.h"
#include "report/export/export.h"
#include "report/json/reports.h"
#include "report/markdown/markdown_report.h"
#include "report/text/text_report.h"
#include "store/gate_log.h"

namespace topspin {
namespace {

constexpr const char* kDefaultConfig = "gate.toml";
constexpr int64_t kMostAaTrials = 1'000'000;

struct GateOptions {
  std::vector<std::string> sides;  // compare, A/B: which runs are A, which are B; history: all
  bool sides_are_default = false;  // then of the last topspin run alone
  std::string db;
  std::vector<std::string> samples;  // compare: two CSV files
  std::string series;                // history: one CSV file
  bool paired = false;
  bool history = false;
  std::string column;
  std::string time_column;
  std::string unit;
  std::string better;
  std::string margin;
  std::vector<std::string> acknowledged;  // indexes of a series, ids of runs
  std::optional<int64_t> given_seed;
  bool strict = false;
  std::optional<int64_t> aa_trials;
  std::string config_file;
  std::string format = "text";
  std::string output;

  GateConfig config;  // of config_file; loaded first
  uint64_t seed = kDefaultSeed;
};

/// Of --format and of -o's name.
Status check_format(const GateOptions& o, std::initializer_list<std::string_view> formats) {
  std::string names;
  bool known = false;
  for (const std::string_view name : formats) {
    known = known || o.format == name;
    names += fmt::format("{}{}", names.empty() ? "" : ", ", name);
  }
  if (known) return check_output_name(o.output, names);
  return make_error(ErrorCode::kUsage,
                    fmt::format("--format {} is not one of {}", o.format, names));
}

/// The file that was named, which must be there, or gate.toml, which need not.
Status load_config(GateOptions& o) {
  const std::string path = o.config_file.empty() ? kDefaultConfig : o.config_file;
  std::error_code ignored;
  if (!o.config_file.empty() || std::filesystem::exists(path, ignored)) {
    constexpr size_t kMostBytes = size_t{1} << 20;
    const auto text = read_file(path, kMostBytes);
    if (!text.ok())
      return make_error(ErrorCode::kInput, fmt::format("cannot read {}: {}; name it with --config",
                                                       path, text.error().message));
    TOPSPIN_ASSIGN(o.config, parse_gate_config(*text, path));
  }
  if (o.given_seed && *o.given_seed < 0) {
    return make_error(ErrorCode::kUsage,
                      fmt::format("--seed {} is not from 0 to 2^63 - 1", *o.given_seed));
  }
  o.seed =
      o.given_seed ? static_cast<uint64_t>(*o.given_seed) : o.config.seed.value_or(kDefaultSeed);
  o.strict = o.strict || o.config.strict.value_or(false);
  return {};
}

/// Of a column: what gate.toml says of its name, and then what the command line says.
Result<Metric> metric_of(const GateOptions& o, std::string name) {
  Metric metric;
  metric.name = std::move(name);
  apply_rules(o.config, metric);
  if (!o.unit.empty()) metric.unit = o.unit;
  if (o.better == "higher" || o.better == "lower") {
    metric.better = o.better == "higher" ? Better::kHigher : Better::kLower;
  } else if (!o.better.empty()) {
    return make_error(ErrorCode::kUsage,
                      fmt::format("--better {} is not one of lower, higher", o.better));
  }
  if (!o.margin.empty()) {
    const auto margin = parse_share(o.margin);
    if (!margin) {
      return make_error(ErrorCode::kUsage,
                        fmt::format("--margin {} is no share such as 3% or 0.03", o.margin));
    }
    metric.margin = *margin;
  }
  return metric;
}

struct Samples {
  std::string column;
  std::vector<double> values;
};

Result<Samples> read_samples(const std::string& path, const std::string& column) {
  TOPSPIN_ASSIGN(const CsvTable table, read_csv_file(path));
  TOPSPIN_ASSIGN(const size_t at, column.empty() ? only_column(table) : find_column(table, column));
  TOPSPIN_ASSIGN(std::vector<double> values, column_numbers(table, at));
  if (values.empty()) {
    return make_error(ErrorCode::kInput,
                      fmt::format("{} has no rows; there is nothing to compare", path));
  }
  if (values.size() > kMostValues) {
    return make_error(ErrorCode::kInput, fmt::format("{} has {} rows; at most {} can be compared",
                                                     path, values.size(), kMostValues));
  }
  return Samples{table.columns[at], std::move(values)};
}

Result<Judgement> compare_samples(const GateOptions& o) {
  TOPSPIN_ASSIGN(const Samples a, read_samples(o.samples[0], o.column));
  TOPSPIN_ASSIGN(const Samples b, read_samples(o.samples[1], o.column));
  TOPSPIN_ASSIGN(const Metric metric, metric_of(o, a.column));
  if (o.paired && a.values.size() != b.values.size()) {
    return make_error(ErrorCode::kInput,
                      fmt::format("{} has {} rows and {} has {}; --paired wants as many in both",
                                  o.samples[0], a.values.size(), o.samples[1], b.values.size()));
  }
  Judgement judgement;
  judgement.mode = "compare";
  judgement.seed = o.seed;
  judgement.metrics.push_back(
      measure(metric, a.values, b.values, o.paired ? Layout::kPaired : Layout::kUnpaired, o.seed));
  conclude(judgement, o.strict);
  return judgement;
}

/// The column that says when: as named, or "time" if there is one.
Result<std::optional<size_t>> time_column_of(const CsvTable& table, const std::string& name) {
  if (!name.empty()) {
    TOPSPIN_ASSIGN(const size_t at, find_column(table, name));
    return std::optional(at);
  }
  const auto time = find_column(table, "time");
  return time.ok() ? std::optional(*time) : std::nullopt;
}

Result<std::set<size_t>> parse_indexes(const std::vector<std::string>& texts) {
  std::set<size_t> indexes;
  for (const std::string& text : texts) {
    size_t index = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), index);
    if (error != std::errc() || end != text.data() + text.size()) {
      return make_error(ErrorCode::kUsage,
                        fmt::format("--acknowledge {} is no index of a row, counted from 0", text));
    }
    indexes.insert(index);
  }
  return indexes;
}

/// The series' name in the gate's log: the file's, without its directory, and the column's.
std::string series_name(const GateOptions& o, const std::string& column) {
  return fmt::format("{}:{}", std::filesystem::path(o.series).filename().string(), column);
}

struct Series {
  std::string name;
  History history;
};

Result<Series> read_series(const GateOptions& o) {
  TOPSPIN_ASSIGN(const CsvTable table, read_csv_file(o.series));
  TOPSPIN_ASSIGN(const size_t at,
                 o.column.empty() ? only_column(table) : find_column(table, o.column));
  TOPSPIN_ASSIGN(const std::optional<size_t> time_at, time_column_of(table, o.time_column));
  Series series;
  series.name = series_name(o, table.columns[at]);
  TOPSPIN_ASSIGN(series.history.metric, metric_of(o, table.columns[at]));
  TOPSPIN_ASSIGN(series.history.values, column_numbers(table, at));
  if (time_at) {
    for (const auto& row : table.rows) series.history.times.push_back(row[*time_at]);
  }
  return series;
}

/// A series from elsewhere has a log only in a database that was named.
Result<std::vector<Acceptance>> acceptances_for_series(const GateOptions& o) {
  if (o.db.empty()) return std::vector<Acceptance>();
  return read_acceptances(o.db);
}

Result<Judgement> judge_series(const GateOptions& o) {
  TOPSPIN_ASSIGN(const Series series, read_series(o));
  TOPSPIN_ASSIGN(const std::set<size_t> acknowledged, parse_indexes(o.acknowledged));
  TOPSPIN_ASSIGN(const auto accepted, acceptances_for_series(o));
  OnPurpose on_purpose;
  for (const size_t index : acknowledged) on_purpose.changes[index];
  for (const Acceptance& acceptance : accepted) {
    if (acceptance.series == series.name)
      on_purpose.changes[acceptance.row_index] = acceptance.because;
  }
  Judgement judgement;
  judgement.mode = "history";
  judgement.seed = o.seed;
  judge_history(judgement, series.history, on_purpose);
  conclude_history(judgement, o.strict);
  return judgement;
}

int64_t wall_now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::string formatted(const Judgement& judgement, const std::string& format) {
  if (format == "json") return judgement_json(judgement);
  if (format == "junit") return judgement_junit(judgement);
  if (format == "github") return judgement_github(judgement);
  if (format == "markdown") return judgement_markdown(judgement, kCommentBytes);
  return judgement_text(judgement);
}

/// Writes `text` to standard output or to -o's file.
Status deliver(const std::string& text, const GateOptions& o) {
  TOPSPIN_ASSIGN(ExportTarget target, ExportTarget::open(o.output, database_path(o.db)));
  TOPSPIN_TRY(target.write(text));
  return target.finish();
}

/// The report is written whatever the verdict; one that could not be written is an error of its
/// own.
int show(const Result<Judgement>& judgement, const GateOptions& o) {
  if (!judgement.ok()) return fail(judgement.error());
  const Status delivered = deliver(formatted(*judgement, o.format), o);
  return delivered.ok() ? judgement->exit_code : fail(delivered.error());
}

/// Of stored runs the gate also keeps its verdict beside them. A database that cannot be written
/// (an artifact, read-only) takes nothing away from the verdict, and is said.
int keep_and_show(const Result<Judgement>& judgement, const GateOptions& o) {
  if (judgement.ok()) {
    const Status logged = log_judgement(
        database_path(o.db),
        {wall_now_ns(), judgement->mode, std::string(verdict_name(judgement->verdict)),
         judgement->exit_code, judgement->seed, judgement_json(*judgement)});
    if (!logged.ok())
      say(fmt::format("the verdict is not kept in the database: {}", logged.error().message));
  }
  return show(judgement, o);
}

/// Options that say how to read a CSV file mean nothing for stored runs, whose metrics are a table.
Status refuse_csv_options(const GateOptions& o) {
  if (o.column.empty() && o.time_column.empty() && o.margin.empty() && o.unit.empty() &&
      o.better.empty() && !o.paired)
    return {};
  return make_error(
      ErrorCode::kUsage,
      "--column, --time-column, --margin, --unit, --better and --paired belong to CSV "
      "files; stored runs have their own metrics, and gate.toml changes them");
}

/// gate.toml's rules, and those of the plan that a run was made by.
RulesOfRun rules_of_runs(const GateConfig& config) {
  return [&config](const StoredRun& run) -> Result<std::vector<SloRule>> {
    std::vector<SloRule> rules = config.slo;
    TOPSPIN_ASSIGN(auto of_plan, plan_rules(run));
    rules.insert(rules.end(), std::make_move_iterator(of_plan.begin()),
                 std::make_move_iterator(of_plan.end()));
    return rules;
  };
}

struct MeasuredSides {
  std::vector<MeasuredRun> a;
  std::vector<MeasuredRun> b;
};

Result<MeasuredSides> measure_sides(const GateOptions& o) {
  TOPSPIN_TRY(refuse_csv_options(o));
  TOPSPIN_ASSIGN(const auto store, RunStore::open(database_path(o.db)));
  TOPSPIN_ASSIGN(auto runs, store->list_runs());
  if (o.sides_are_default) {
    const size_t all = runs.size();
    runs = newest_session(std::move(runs));
    if (runs.size() < all) {
      say(
          fmt::format("judges the {} runs of the last session of topspin run; {} other runs of the "
                      "database are left out",
                      runs.size(), all - runs.size()));
    }
  }
  TOPSPIN_ASSIGN(const auto a, select_runs(runs, o.sides[0]));
  TOPSPIN_ASSIGN(const auto b, select_runs(runs, o.sides[1]));
  TOPSPIN_TRY(check_sides(a, b));
  MeasuredSides sides;
  TOPSPIN_ASSIGN(sides.a, measure_runs(*store, a));
  TOPSPIN_ASSIGN(sides.b, measure_runs(*store, b));
  return sides;
}

Result<Judgement> compare_stored(const GateOptions& o) {
  TOPSPIN_ASSIGN(const auto metrics, configured_metrics(o.config));
  TOPSPIN_ASSIGN(const MeasuredSides sides, measure_sides(o));
  return compare_runs(sides.a, sides.b, o.seed, o.strict, metrics);
}

Result<Judgement> judge_stored_pairs(const GateOptions& o) {
  TOPSPIN_ASSIGN(const auto metrics, configured_metrics(o.config));
  TOPSPIN_ASSIGN(MeasuredSides sides, measure_sides(o));
  TOPSPIN_ASSIGN(const auto store, RunStore::open(database_path(o.db)));
  TOPSPIN_ASSIGN(auto slos, judge_candidates(*store, sides.b, rules_of_runs(o.config)));
  TOPSPIN_ASSIGN(const auto pairs, pair_runs(std::move(sides.a), std::move(sides.b)));
  Judgement judgement = judge_pairs(pairs, o.seed, o.strict, metrics);
  apply_slos(judgement, std::move(slos), o.strict);
  return judgement;
}

Result<Judgement> judge_stored_history(const GateOptions& o) {
  TOPSPIN_TRY(refuse_csv_options(o));
  TOPSPIN_ASSIGN(const auto metrics, configured_metrics(o.config));
  TOPSPIN_ASSIGN(const auto store, RunStore::open(database_path(o.db)));
  TOPSPIN_ASSIGN(auto runs, store->list_runs());
  if (!o.sides.empty()) {
    TOPSPIN_ASSIGN(runs, select_runs(runs, o.sides[0]));
  }
  TOPSPIN_ASSIGN(const auto measured, measure_runs(*store, runs));
  TOPSPIN_ASSIGN(const auto accepted, read_acceptances(database_path(o.db)));
  Judgement judgement =
      judge_run_history(measured, o.acknowledged, o.seed, o.strict, metrics, accepted);
  if (!measured.empty()) {  // the newest run alone is the candidate
    TOPSPIN_ASSIGN(auto slos,
                   judge_candidates(*store, std::span(measured).last(1), rules_of_runs(o.config)));
    apply_slos(judgement, std::move(slos), o.strict);
  }
  return judgement;
}

/// The runs of the newest run's commit, or of the selector that was given.
Result<AaCheck> check_stored_aa(const GateOptions& o) {
  TOPSPIN_TRY(refuse_csv_options(o));
  TOPSPIN_ASSIGN(const auto metrics, configured_metrics(o.config));
  TOPSPIN_ASSIGN(const auto store, RunStore::open(database_path(o.db)));
  TOPSPIN_ASSIGN(auto runs, store->list_runs());
  if (!o.sides.empty()) {
    TOPSPIN_ASSIGN(runs, select_runs(runs, o.sides[0]));
  } else if (!runs.empty()) {
    const SourceInfo newest = runs.back().info.source;
    std::erase_if(runs, [&](const StoredRun& run) {
      const SourceInfo& source = run.info.source;
      return source.commit != newest.commit || source.dirty != newest.dirty;
    });
  }
  TOPSPIN_ASSIGN(const auto measured, measure_runs(*store, runs));
  return check_aa(measured, static_cast<size_t>(*o.aa_trials), o.seed, metrics);
}

int run_aa(const GateOptions& o) {
  if (o.history || !o.series.empty() || o.sides.size() > 1) {
    return fail(make_error(ErrorCode::kUsage,
                           "--aa N takes the stored runs of one commit, or of one selector"));
  }
  if (*o.aa_trials < 1 || *o.aa_trials > kMostAaTrials) {
    return fail(make_error(ErrorCode::kUsage, fmt::format("--aa {} is not from 1 to {}",
                                                          *o.aa_trials, kMostAaTrials)));
  }
  const auto check = check_stored_aa(o);
  if (!check.ok()) return fail(check.error());
  const Status delivered =
      deliver(o.format == "json" ? aa_check_json(*check) : aa_check_text(*check), o);
  return delivered.ok() ? check->exit_code : fail(delivered.error());
}

int run_compare(GateOptions o) {
  if (auto status = check_format(o, {"text", "json", "markdown"}); !status.ok())
    return fail(status.error());
  if (auto status = load_config(o); !status.ok()) return fail(status.error());
  if (o.samples.empty() == o.sides.empty() || (!o.sides.empty() && o.sides.size() != 2)) {
    return fail(make_error(ErrorCode::kUsage,
                           "give two sides to compare: runs A B, or --samples A.csv B.csv"));
  }
  return show(o.samples.empty() ? compare_stored(o) : compare_samples(o), o);
}

int run_gate(GateOptions o) {
  const auto format = o.aa_trials
                          ? check_format(o, {"text", "json"})
                          : check_format(o, {"text", "json", "markdown", "junit", "github"});
  if (!format.ok()) return fail(format.error());
  if (auto status = load_config(o); !status.ok()) return fail(status.error());
  if (o.aa_trials) return run_aa(o);
  if (o.history) {
    if (o.sides.size() > 1 || (!o.series.empty() && !o.sides.empty())) {
      return fail(make_error(ErrorCode::kUsage,
                             "a history is --series FILE.csv, or the stored runs of one selector"));
    }
    return o.series.empty() ? keep_and_show(judge_stored_history(o), o) : show(judge_series(o), o);
  }
  if (!o.series.empty() || !o.acknowledged.empty()) {
    return fail(make_error(ErrorCode::kUsage, "--series and --acknowledge belong to --history"));
  }
  if (o.sides.empty()) {
    o.sides = {"side=a", "side=b"};
    o.sides_are_default = true;
  }
  if (o.sides.size() != 2) {
    return fail(make_error(ErrorCode::kUsage, "give two sides to judge, the baseline first: A B"));
  }
  return keep_and_show(judge_stored_pairs(o), o);
}

struct AcceptOptions {
  GateOptions gate;  // which history is meant
  std::string run;
  std::optional<size_t> change;
  std::string metric;
  std::string because;
};

/// What an accepted change of a judged history is logged as.
struct AcceptedChange {
  Acceptance acceptance;
  std::string text;  // for people
};

/// Only a change that the history shows can be accepted.
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
    TOPSPIN_ASSIGN(const Series series, read_series(o.gate));
    TOPSPIN_ASSIGN(const Judgement judgement, judge_series(o.gate));
    TOPSPIN_ASSIGN(auto found, find_changes(o, judgement, series.name));
    for (AcceptedChange& change : found) change.acceptance.run_id.clear();
    return found;
  }
  if (o.change) {
    TOPSPIN_ASSIGN(const Judgement judgement, judge_stored_history(o.gate));
    return find_changes(o, judgement, "");
  }
  TOPSPIN_ASSIGN(const auto store, RunStore::open(database_path(o.gate.db)));
  TOPSPIN_ASSIGN(const StoredRun run, store->find_run(o.run));
  AcceptedChange baseline;
  baseline.acceptance.kind = Acceptance::Kind::kBaseline;
  baseline.acceptance.run_id = run.info.id;
  baseline.acceptance.metric = o.metric;
  baseline.text = fmt::format("run {} as the baseline{}", run.info.id,
                              o.metric.empty() ? "" : fmt::format(" of {}", o.metric));
  return std::vector<AcceptedChange>{std::move(baseline)};
}

Status check_accept(const AcceptOptions& o) {
  if (o.run.empty() == !o.change.has_value()) {
    return make_error(ErrorCode::kUsage,
                      "give either a RUN, which becomes the baseline, or --change INDEX");
  }
  if (o.because.empty())
    return make_error(ErrorCode::kUsage, "say why with --because TEXT; it is kept with the change");
  if (!o.run.empty() && (!o.gate.sides.empty() || !o.gate.column.empty() ||
                         !o.gate.margin.empty() || !o.gate.better.empty())) {
    return make_error(ErrorCode::kUsage,
                      "--of, --column, --margin and --better belong to --change; a RUN is the "
                      "baseline of whatever it measured");
  }
  if (!o.gate.series.empty() && (!o.change || o.gate.db.empty() || !o.gate.sides.empty())) {
    return make_error(ErrorCode::kUsage,
                      "of a --series, give --change INDEX and the --db that keeps the log");
  }
  return {};
}

int run_accept(AcceptOptions o) {
  if (auto status = check_accept(o); !status.ok()) return fail(status.error());
  if (auto status = load_config(o.gate); !status.ok()) return fail(status.error());
  if (!o.metric.empty() && o.gate.series.empty()) {
    const auto metrics = run_metrics();
    if (std::none_of(metrics.begin(), metrics.end(),
                     [&](const RunMetric& m) { return m.metric.name == o.metric; }))
      return fail(make_error(ErrorCode::kUsage, fmt::format("there is no metric {}", o.metric)));
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

void add_common(CLI::App& command, GateOptions& o) {
  command.add_option("--db", o.db, "The database (default $TOPSPIN_DB, else topspin.db)")
      ->option_text("FILE");
  command
      .add_option("--column", o.column, "The CSV column with the numbers (default: its only one)")
      ->option_text("NAME");
  command.add_option("--better", o.better, "What is better: lower (default) or higher")
      ->option_text("DIRECTION");
  command.add_option("--margin", o.margin, "The worsening that is let pass (default 3%)")
      ->option_text("SHARE");
  command
      .add_option("--config", o.config_file,
                  "Directions, margins and which metrics gate (default gate.toml, if it is there)")
      ->option_text("FILE");
  command
      .add_option("--seed", o.given_seed, "Seed of the resampling (default 1); it is in the report")
      ->option_text("N");
}

void add_reporting(CLI::App& command, GateOptions& o, const char* formats) {
  command.add_option("--unit", o.unit, "The unit of the numbers, for the report")
      ->option_text("UNIT");
  command.add_flag("--strict", o.strict, "Exit with 3, not 0, when the evidence decides nothing");
  command.add_option("--format", o.format, formats)->option_text("FORMAT");
  command
      .add_option("-o,--output", o.output, "Write the report to a file (default: standard output)")
      ->option_text("FILE");
}

constexpr const char* kExitCodes =
    "Exit codes: 0 pass, or inconclusive; 1 worse; 2 wrong usage; 3 invalid, or inconclusive with "
    "--strict;\n"
    "4 runs of different hosts; 5 input or output.";

}  // namespace

void add_compare_command(CLI::App& root, Action& action) {
  CLI::App* command =
      root.add_subcommand("compare", "Compare two sides: change, interval, verdict");
  auto o = std::make_shared<GateOptions>();
  command
      ->add_option("RUNS", o->sides,
                   "Two sides, each a run id, last, a commit, a branch or a label KEY=VALUE")
      ->option_text("A B");
  command->add_option("--samples", o->samples, "Two CSV files of numbers from anywhere: A, then B")
      ->expected(2)
      ->option_text("A.csv B.csv");
  command->add_flag("--paired", o->paired, "Row i of A and row i of B were measured together");
  add_common(*command, *o);
  add_reporting(*command, *o, "text (default), json, or markdown, fit for a comment");
  command->footer(fmt::format(
      "Examples:\n"
      "  topspin compare main feature\n"
      "  topspin compare --samples before.csv after.csv --column cpu_us --paired\n"
      "  topspin compare --samples a.csv b.csv --better higher --margin 5% --format json\n\n{}",
      kExitCodes));
  command->callback([o, &action] { action = [o] { return run_compare(*o); }; });
}

void add_gate_command(CLI::App& root, Action& action) {
  CLI::App* command = root.add_subcommand("gate", "Pass or fail a change, for CI");
  auto o = std::make_shared<GateOptions>();
  command
      ->add_option("RUNS", o->sides,
                   "Two sides recorded in turn (default side=a side=b); with --history one "
                   "selector of runs (default all)")
      ->option_text("A B");
  command->add_flag("--history", o->history, "Look for changes of level in a history");
  command->add_option("--series", o->series, "The history: a CSV file, oldest row first")
      ->option_text("FILE.csv");
  command
      ->add_option("--time-column", o->time_column,
                   "The CSV column that says when (default: time, if there is one)")
      ->option_text("NAME");
  command
      ->add_option(
          "--acknowledge", o->acknowledged,
          "Index of a row, or id of a run, whose change was made on purpose; may be repeated")
      ->option_text("WHICH");
  command
      ->add_option("--aa", o->aa_trials,
                   "Judge the runs of one commit against each other N times: the rate of false "
                   "alarms, and what can be detected on this host")
      ->option_text("N");
  add_common(*command, *o);
  add_reporting(*command, *o,
                "text (default), json, junit, github, or markdown, fit for a comment");
  command->footer(fmt::format(
      "Examples:\n"
      "  topspin gate side=a side=b --strict\n"
      "  topspin gate --history main --db nightly.db\n"
      "  topspin gate --format junit -o gate.xml\n"
      "  topspin gate --aa 1000 main\n"
      "  topspin gate --history --series nightly.csv --column cpu_us\n"
      "  topspin gate --history --series nightly.csv --column rows_per_s --better higher "
      "--acknowledge 112\n\n{}",
      kExitCodes));
  command->callback([o, &action] { action = [o] { return run_gate(*o); }; });
}

void add_accept_command(CLI::App& root, Action& action) {
  CLI::App* command =
      root.add_subcommand("accept", "Take a change on purpose: the gate's history passes it");
  auto o = std::make_shared<AcceptOptions>();
  command->add_option("RUN", o->run,
                      "The new baseline: changes up to this run are on purpose (id, prefix, last)");
  command->add_option("--change", o->change, "The change that gate --history shows at this index")
      ->option_text("INDEX");
  command->add_option("--because", o->because, "Why; kept in the database")->option_text("TEXT");
  command->add_option("--metric", o->metric, "Only of this metric (default: all)")
      ->option_text("NAME");
  command
      ->add_option("--of", o->gate.sides,
                   "With --change: the selector that the history was made with (default: all runs)")
      ->expected(1)
      ->option_text("SELECTOR");
  command->add_option("--series", o->gate.series, "With --change: a CSV file's history; needs --db")
      ->option_text("FILE.csv");
  add_common(*command, o->gate);
  command->footer(
      "Examples:\n"
      "  topspin accept last --because 'TLS is on from here'\n"
      "  topspin accept --change 112 --of main --metric cpu_ns_per_flow --because 'checksums'\n"
      "  topspin accept --change 40 --series nightly.csv --column cpu_us --db log.db --because "
      "'new allocator'");
  command->callback([o, &action] { action = [o] { return run_accept(*o); }; });
}

}  // namespace topspin
