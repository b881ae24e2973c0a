// `topspin report`: runs for people, and as one JSON document.
#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "app/commands/commands.h"
#include "app/commands/export_target.h"
#include "app/commands/gate/judgement_file.h"
#include "app/host/outlet.h"
#include "app/host/privileges.h"
#include "app/options/observe_options.h"
#include "app/options/option_group.h"
#include "app/plan/plan.h"
#include "app/sandbox/sandbox.h"
#include "ci/run_selection.h"
#include "report/html/html_report.h"
#include "report/json/reports.h"
#include "report/markdown/markdown_report.h"
#include "report/model/report_page.h"
#include "report/model/run_report.h"
#include "report/text/text_report.h"

namespace topspin {
namespace {

struct ReportOptions {
  std::vector<std::string> runs;
  std::string db;
  std::string format;                // empty: by the output's extension, else text
  std::string output;                // empty: standard output
  std::optional<int64_t> max_bytes;  // for markdown; nullopt: kStepSummaryBytes
  std::string judgement;             // a file; empty: the report computes its own
};

constexpr const char* kReportFormats = "text, json, html, markdown";

Result<std::string> report_format(const ReportOptions& o) {
  TOPSPIN_TRY(check_output_name(o.output, kReportFormats));
  if (!o.format.empty()) return o.format;
  const std::string ending = name_ending(o.output);
  if (ending == "html" || ending == "htm") return std::string("html");
  if (ending == "md" || ending == "markdown") return std::string("markdown");
  if (ending == "json") return std::string("json");
  if (ending.empty() || ending == "txt" || ending == "text" || ending == "log" || ending == "out")
    return std::string("text");
  return make_error(ErrorCode::kUsage,
                    fmt::format("-o {}: no format is known by the ending .{}; give --format, one "
                                "of {}",
                                o.output, ending, kReportFormats));
}

/// For text and JSON: one run after the other. If a name is wrong, nothing is written.
Status write_one_by_one(RunStore& store, const ReportOptions& o, bool json, ExportTarget& target) {
  TOPSPIN_ASSIGN(const auto chosen, select_runs(store, o.runs));
  for (const StoredRun& run : chosen) {
    if (json) {
      TOPSPIN_ASSIGN(const RunReport report, read_run_report(store, run, plan_rules));
      TOPSPIN_TRY(
          run_report_json(report, [&](std::string_view piece) { return target.write(piece); }));
      continue;
    }
    ReportPage page;
    TOPSPIN_ASSIGN(RunPage of_run, read_run_page(store, run, plan_rules));
    page.runs.push_back(std::move(of_run));
    TOPSPIN_TRY(
        target.write((run.number == chosen.front().number ? "" : "\n") + text_report(page)));
  }
  return target.finish();
}

Status write_report(const ReportOptions& o) {
  TOPSPIN_ASSIGN(const std::string format, report_format(o));
  if (o.max_bytes && format != "markdown")
    return make_error(
        ErrorCode::kUsage,
        fmt::format("--max-bytes has no effect with --format {}; leave it out", format));
  if (o.max_bytes && *o.max_bytes < 1)
    return make_error(ErrorCode::kUsage,
                      fmt::format("--max-bytes {} must be 1 or more", *o.max_bytes));
  // The file must belong to the user.
  TOPSPIN_TRY(give_up_all_privileges(true));
  TOPSPIN_ASSIGN(ExportTarget target, ExportTarget::open(o.output, database_path(o.db)));
  TOPSPIN_TRY(enter_sandbox(
      {.inputs = {o.judgement}, .databases = {database_path(o.db)}, .output = &target}));
  TOPSPIN_ASSIGN(const auto store, RunStore::open(database_path(o.db)));
  if (!o.judgement.empty() && (format == "text" || format == "json")) {
    return make_error(
        ErrorCode::kUsage,
        fmt::format("--judgement has no effect with --format {}; leave it out", format));
  }
  if (format == "text" || format == "json")
    return write_one_by_one(*store, o, format == "json", target);
  TOPSPIN_ASSIGN(ReportPage page, read_report_page(*store, o.runs, plan_rules));
  if (!o.judgement.empty()) {
    if (!page.judgement) {
      return make_error(ErrorCode::kUsage,
                        "--judgement is for a report of A against B, or of a history; name two "
                        "sides, or several runs");
    }
    TOPSPIN_ASSIGN(page.judgement, read_judgement_file(o.judgement));
  }
  const size_t most = o.max_bytes ? static_cast<size_t>(*o.max_bytes) : kStepSummaryBytes;
  TOPSPIN_TRY(target.write(format == "html" ? html_report(page) : markdown_report(page, most)));
  return target.finish();
}

int report_runs(const ReportOptions& o) {
  const Status written = write_report(o);
  return written.ok() ? 0 : fail(written.error());
}

}  // namespace

void add_report_command(CLI::App& root, Action& action) {
  CLI::App* command = root.add_subcommand(
      "report", "Report on runs: text, Markdown, an HTML page, or JSON for programs");
  auto o = std::make_shared<ReportOptions>();
  command
      ->add_option("RUN", o->runs,
                   fmt::format("{} (default last). In html and markdown, two are A against B, and "
                               "more are a history",
                               kRunHelp))
      ->option_text("RUN...");
  add_database_option(*command, o->db);
  OptionGroup(*command, kStorageGroup)
      .option("--judgement", o->judgement, "FILE",
              "HTML and Markdown of A against B: the verdict to show, a file written by `gate "
              "--format json` (default: judged with default margins)");
  const OptionGroup display(*command, kDisplayGroup);
  display.choice("--format", o->format, "FORMAT", {"text", "json", "html", "markdown"},
                 "text, html, markdown or json (default: by the ending of -o, .html, .md, .json or "
                 ".txt; otherwise text)");
  display.option("-o,--output", o->output, "FILE", "Write to FILE instead of standard output");
  display.option("--max-bytes", o->max_bytes, "BYTES",
                 "Markdown: leave out the least important sections above this size (default "
                 "1048576; a GitHub comment takes 65536)");
  command->footer(
      "Examples:\n"
      "  topspin report last\n"
      "  topspin report last -o report.html\n"
      "  topspin report main feature -o compared.html\n"
      "  topspin report side=b --format markdown >> \"$GITHUB_STEP_SUMMARY\"\n"
      "  topspin report 12 --format json | jq .summary.reply_latency_ns");
  command->callback([o, &action] {
    if (o->runs.empty()) o->runs.emplace_back("last");
    action = [o] { return report_runs(*o); };
  });
}

}  // namespace topspin
