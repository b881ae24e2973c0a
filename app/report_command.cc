// `topspin list` and `topspin report`: what the database holds.
#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "app/command.h"
#include "app/observe_options.h"
#include "report/run_json.h"
#include "report/run_summary.h"
#include "report/run_text.h"

namespace topspin {
namespace {

struct ReportOptions {
  std::vector<std::string> runs;
  std::string db;
  std::string format = "text";
};

Status check_format(const std::string& format) {
  if (format == "text" || format == "json") return {};
  return make_error(ErrorCode::kUsage, fmt::format("--format {} is not one of text, json", format));
}

int list_runs(const ReportOptions& o) {
  if (auto status = check_format(o.format); !status.ok()) return fail(status.error());
  auto store = RunStore::open(database_path(o.db));
  if (!store.ok()) return fail(store.error());
  const auto runs = (*store)->list_runs();
  if (!runs.ok()) return fail(runs.error());
  fmt::print("{}", o.format == "json" ? run_list_json(*runs) : run_list_text(*runs));
  return 0;
}

int report_runs(const ReportOptions& o) {
  if (auto status = check_format(o.format); !status.ok()) return fail(status.error());
  auto store = RunStore::open(database_path(o.db));
  if (!store.ok()) return fail(store.error());
  // All are read before the first is printed: a wrong name leaves no half of an answer.
  std::vector<RunReport> reports;
  for (const std::string& run : o.runs) {
    auto report = read_run_report(**store, run);
    if (!report.ok()) return fail(report.error());
    reports.push_back(std::move(report).value());
  }
  for (size_t i = 0; i < reports.size(); ++i) {
    if (o.format == "text" && i > 0) fmt::print("\n");
    fmt::print("{}",
               o.format == "json" ? run_report_json(reports[i]) : run_report_text(reports[i]));
  }
  return 0;
}

void add_common(CLI::App& command, ReportOptions& options) {
  command.add_option("--db", options.db, "The database (default $TOPSPIN_DB, else topspin.db)")
      ->option_text("FILE");
  command.add_option("--format", options.format, "text (default) or json")->option_text("FORMAT");
}

}  // namespace

void add_list_command(CLI::App& root, Action& action) {
  CLI::App* command = root.add_subcommand("list", "List the runs of a database");
  auto o = std::make_shared<ReportOptions>();
  add_common(*command, *o);
  command->footer("Examples:\n  topspin list\n  topspin list --db ci.db --format json");
  command->callback([o, &action] { action = [o] { return list_runs(*o); }; });
}

void add_report_command(CLI::App& root, Action& action) {
  CLI::App* command = root.add_subcommand("report", "Report on runs: for people, or as JSON");
  auto o = std::make_shared<ReportOptions>();
  command->add_option("RUN", o->runs, "Run id, a unique prefix of one, or last (default)");
  add_common(*command, *o);
  command->footer(
      "Examples:\n"
      "  topspin report last\n"
      "  topspin report 0193 --format json | jq .summary.reply_latency_ns");
  command->callback([o, &action] {
    if (o->runs.empty()) o->runs.emplace_back("last");
    action = [o] { return report_runs(*o); };
  });
}

}  // namespace topspin
