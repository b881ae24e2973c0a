#include "app/commands/gate/gate_options.h"

#include <filesystem>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "app/host/outlet.h"
#include "app/host/privileges.h"
#include "app/options/observe_options.h"
#include "app/options/option_group.h"
#include "app/sandbox/sandbox.h"
#include "core/base/read_file.h"
#include "report/export/export.h"
#include "report/json/reports.h"
#include "report/markdown/markdown_report.h"
#include "report/text/text_report.h"
#include "store/team_address.h"

namespace topspin {
namespace {

constexpr const char* kDefaultConfig = "gate.toml";

std::string formatted(const Judgement& judgement, const GateOptions& o) {
  const std::string& format = o.format;
  if (format == "json") return judgement_json(judgement);
  if (format == "junit") return judgement_junit(judgement);
  if (format == "github") return judgement_github(judgement);
  if (format == "markdown") return judgement_markdown(judgement, kCommentBytes);
  return judgement_text(judgement, o.distributions);
}

}  // namespace

void add_gate_options(CLI::App& command, GateOptions& o) {
  add_database_option(command, o.db);
  const OptionGroup judging(command, "Options");
  judging.option(
      "--config", o.config_file, "FILE",
      "Directions, margins, rules, and which metrics gate (default gate.toml, if it exists)");
  judging.option("--seed", o.given_seed, "NUMBER",
                 "Seed of the resampling (default 1); the report names it");
  judging.option("--column", o.column, "NAME",
                 "For a CSV file: the column with the numbers (default: its only one)");
  judging.choice("--better", o.better, "DIRECTION", {"lower", "higher"},
                 "For a CSV file: which is better, lower (default) or higher");
  judging.option("--margin", o.margin, "SHARE",
                 "For a CSV file: how much worse still passes (default 3%)");
}

void add_verdict_options(CLI::App& command, GateOptions& o, std::vector<std::string> formats,
                         std::string format_help) {
  const OptionGroup judging(command, "Options");
  judging.option("--unit", o.unit, "UNIT", "For a CSV file: the unit of the numbers");
  judging.flag("--strict", o.strict, "Exit with 3, not 0, if the verdict is inconclusive");
  const OptionGroup display(command, kDisplayGroup);
  display.choice("--format", o.format, "FORMAT", std::move(formats), std::move(format_help));
  display.flag("--distributions", o.distributions,
               "Text: also show the latencies of both sides as bars, per octave");
  display.option("-o,--output", o.output, "FILE",
                 "Write the report to a file (default: standard output)");
}

Status load_config(GateOptions& o, bool changes_database) {
  const std::string path = o.config_file.empty() ? kDefaultConfig : o.config_file;
  SandboxFiles files;
  files.inputs = o.samples;
  files.inputs.insert(files.inputs.end(), {path, o.series});
  const std::string database = database_path(o.db);
  const bool is_changed_file = changes_database && !is_team_address(database);
  (is_changed_file ? files.changed_databases : files.databases).push_back(database);
  // The file must belong to the user.
  TOPSPIN_TRY(give_up_all_privileges(true));
  TOPSPIN_ASSIGN(ExportTarget target, ExportTarget::open(o.output, database));
  o.target = std::make_shared<ExportTarget>(std::move(target));
  files.output = o.target.get();
  TOPSPIN_TRY(enter_sandbox(files));
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
                      fmt::format("--seed {} must be from 0 to 2^63 - 1", *o.given_seed));
  }
  o.seed =
      o.given_seed ? static_cast<uint64_t>(*o.given_seed) : o.config.seed.value_or(kDefaultSeed);
  o.strict = o.strict || o.config.strict.value_or(false);
  return {};
}

Result<Metric> metric_of(const GateOptions& o, std::string name) {
  Metric metric;
  metric.name = std::move(name);
  apply_rules(o.config, metric);
  if (!o.unit.empty()) metric.unit = o.unit;
  if (!o.better.empty()) metric.better = o.better == "higher" ? Better::kHigher : Better::kLower;
  if (!o.margin.empty()) {
    const auto margin = parse_share(o.margin);
    if (!margin) {
      return make_error(ErrorCode::kUsage,
                        fmt::format("--margin {} must be a share such as 3% or 0.03", o.margin));
    }
    metric.margin = *margin;
  }
  return metric;
}

Status deliver(const std::string& text, const GateOptions& o) {
  TOPSPIN_TRY(o.target->write(text));
  return o.target->finish();
}

int show(const Result<Judgement>& judgement, const GateOptions& o) {
  if (!judgement.ok()) return fail(judgement.error());
  const Status delivered = deliver(formatted(*judgement, o), o);
  return delivered.ok() ? judgement->exit_code : fail(delivered.error());
}

}  // namespace topspin
