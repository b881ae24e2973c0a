// `topspin compare` and `topspin gate`: the difference and the verdict, of stored runs or of any
// numbers.
#include <charconv>
#include <cmath>
#include <set>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "app/command.h"
#include "app/observe_options.h"
#include "ci/csv.h"
#include "ci/stored_judgement.h"
#include "report/gate_json.h"
#include "report/gate_text.h"
#include "report/markdown.h"

namespace topspin {
namespace {

struct GateOptions {
  std::vector<std::string> sides;  // compare, A/B: which runs are A, which are B; history: all
  std::string db;
  std::vector<std::string> samples;  // compare: two CSV files
  std::string series;                // history: one CSV file
  bool paired = false;
  bool history = false;
  std::string column;
  std::string time_column;
  std::string unit;
  std::string better = "lower";
  std::string margin;
  std::vector<std::string> acknowledged;  // indexes of a series, ids of runs
  uint64_t seed = kDefaultSeed;
  bool strict = false;
  std::string format = "text";
};

Status check_format(const std::string& format) {
  if (format == "text" || format == "json" || format == "markdown") return {};
  return make_error(ErrorCode::kUsage,
                    fmt::format("--format {} is not one of text, json, markdown", format));
}

/// "5%" or "0.05".
Result<double> parse_margin(const std::string& text) {
  const bool percent = text.ends_with('%');
  const size_t length = text.size() - (percent ? 1 : 0);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + length, value);
  if (percent) value /= 100;
  if (error != std::errc() || end != text.data() + length || !(value >= 0 && value <= 10)) {
    return make_error(ErrorCode::kUsage,
                      fmt::format("--margin {} is no share such as 3% or 0.03", text));
  }
  return value;
}

Result<Metric> metric_of(const GateOptions& o, std::string name) {
  Metric metric;
  metric.name = std::move(name);
  metric.unit = o.unit;
  if (o.better == "higher") {
    metric.better = Better::kHigher;
  } else if (o.better != "lower") {
    return make_error(ErrorCode::kUsage,
                      fmt::format("--better {} is not one of lower, higher", o.better));
  }
  if (!o.margin.empty()) {
    TOPSPIN_ASSIGN(metric.margin, parse_margin(o.margin));
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

Result<Judgement> judge_series(const GateOptions& o) {
  TOPSPIN_ASSIGN(const CsvTable table, read_csv_file(o.series));
  TOPSPIN_ASSIGN(const size_t at,
                 o.column.empty() ? only_column(table) : find_column(table, o.column));
  TOPSPIN_ASSIGN(const std::optional<size_t> time_at, time_column_of(table, o.time_column));
  History history;
  TOPSPIN_ASSIGN(history.metric, metric_of(o, table.columns[at]));
  TOPSPIN_ASSIGN(history.values, column_numbers(table, at));
  if (time_at) {
    for (const auto& row : table.rows) history.times.push_back(row[*time_at]);
  }
  TOPSPIN_ASSIGN(const std::set<size_t> acknowledged, parse_indexes(o.acknowledged));
  Judgement judgement;
  judgement.mode = "history";
  judgement.seed = o.seed;
  judge_history(judgement, history, acknowledged);
  conclude_history(judgement, o.strict);
  return judgement;
}

int show(const Result<Judgement>& judgement, const std::string& format) {
  if (!judgement.ok()) return fail(judgement.error());
  fmt::print("{}", format == "json"       ? judgement_json(*judgement)
                   : format == "markdown" ? judgement_markdown(*judgement, kCommentBytes)
                                          : judgement_text(*judgement));
  return judgement->exit_code;
}

/// Options that say how to read a CSV file mean nothing for stored runs, whose metrics are a table.
Status refuse_csv_options(const GateOptions& o) {
  if (o.column.empty() && o.time_column.empty() && o.margin.empty() && o.unit.empty() &&
      o.better == "lower" && !o.paired)
    return {};
  return make_error(
      ErrorCode::kUsage,
      "--column, --time-column, --margin, --unit, --better and --paired belong to CSV "
      "files; stored runs have their own metrics");
}

struct MeasuredSides {
  std::vector<MeasuredRun> a;
  std::vector<MeasuredRun> b;
};

Result<MeasuredSides> measure_sides(const GateOptions& o) {
  TOPSPIN_TRY(refuse_csv_options(o));
  TOPSPIN_ASSIGN(const auto store, RunStore::open(database_path(o.db)));
  TOPSPIN_ASSIGN(const auto runs, store->list_runs());
  TOPSPIN_ASSIGN(const auto a, select_runs(runs, o.sides[0]));
  TOPSPIN_ASSIGN(const auto b, select_runs(runs, o.sides[1]));
  MeasuredSides sides;
  TOPSPIN_ASSIGN(sides.a, measure_runs(*store, a));
  TOPSPIN_ASSIGN(sides.b, measure_runs(*store, b));
  return sides;
}

Result<Judgement> compare_stored(const GateOptions& o) {
  TOPSPIN_ASSIGN(const MeasuredSides sides, measure_sides(o));
  return compare_runs(sides.a, sides.b, o.seed, o.strict);
}

Result<Judgement> judge_stored_pairs(const GateOptions& o) {
  TOPSPIN_ASSIGN(MeasuredSides sides, measure_sides(o));
  TOPSPIN_ASSIGN(const auto pairs, pair_runs(std::move(sides.a), std::move(sides.b)));
  return judge_pairs(pairs, o.seed, o.strict);
}

Result<Judgement> judge_stored_history(const GateOptions& o) {
  TOPSPIN_TRY(refuse_csv_options(o));
  TOPSPIN_ASSIGN(const auto store, RunStore::open(database_path(o.db)));
  TOPSPIN_ASSIGN(auto runs, store->list_runs());
  if (!o.sides.empty()) {
    TOPSPIN_ASSIGN(runs, select_runs(runs, o.sides[0]));
  }
  TOPSPIN_ASSIGN(const auto measured, measure_runs(*store, runs));
  return judge_run_history(measured, o.acknowledged, o.seed, o.strict);
}

int run_compare(const GateOptions& o) {
  if (auto status = check_format(o.format); !status.ok()) return fail(status.error());
  if (o.samples.empty() == o.sides.empty() || (!o.sides.empty() && o.sides.size() != 2)) {
    return fail(make_error(ErrorCode::kUsage,
                           "give two sides to compare: runs A B, or --samples A.csv B.csv"));
  }
  return show(o.samples.empty() ? compare_stored(o) : compare_samples(o), o.format);
}

int run_gate(GateOptions o) {
  if (auto status = check_format(o.format); !status.ok()) return fail(status.error());
  if (o.history) {
    if (o.sides.size() > 1 || (!o.series.empty() && !o.sides.empty())) {
      return fail(make_error(ErrorCode::kUsage,
                             "a history is --series FILE.csv, or the stored runs of one selector"));
    }
    return show(o.series.empty() ? judge_stored_history(o) : judge_series(o), o.format);
  }
  if (!o.series.empty() || !o.acknowledged.empty()) {
    return fail(make_error(ErrorCode::kUsage, "--series and --acknowledge belong to --history"));
  }
  if (o.sides.empty()) o.sides = {"side=a", "side=b"};
  if (o.sides.size() != 2) {
    return fail(make_error(ErrorCode::kUsage, "give two sides to judge, the baseline first: A B"));
  }
  return show(judge_stored_pairs(o), o.format);
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
  command.add_option("--unit", o.unit, "The unit of the numbers, for the report")
      ->option_text("UNIT");
  command.add_option("--seed", o.seed, "Seed of the resampling (default 1); it is in the report")
      ->option_text("N");
  command.add_flag("--strict", o.strict, "Exit with 3, not 0, when the evidence decides nothing");
  command.add_option("--format", o.format, "text (default), json, or markdown, fit for a comment")
      ->option_text("FORMAT");
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
  add_common(*command, *o);
  command->footer(fmt::format(
      "Examples:\n"
      "  topspin gate side=a side=b --strict\n"
      "  topspin gate --history main --db nightly.db\n"
      "  topspin gate --history --series nightly.csv --column cpu_us\n"
      "  topspin gate --history --series nightly.csv --column rows_per_s --better higher "
      "--acknowledge 112\n\n{}",
      kExitCodes));
  command->callback([o, &action] { action = [o] { return run_gate(*o); }; });
}

}  // namespace topspin
