// `topspin explain`: why work failed or was late, from what a run measured. It also lists the slow
// replies of a moment.
#include <optional>
#include <string>
#include <string_view>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "app/commands/commands.h"
#include "app/commands/export_target.h"
#include "app/host/outlet.h"
#include "app/options/observe_options.h"
#include "app/options/option_group.h"
#include "app/sandbox/sandbox.h"
#include "ci/run_selection.h"
#include "core/base/text.h"
#include "report/json/reports.h"
#include "report/model/report_page.h"
#include "report/model/slow_moment.h"
#include "report/text/text_report.h"

namespace topspin {
namespace {

struct ExplainOptions {
  std::string run = "last";
  std::string db;
  std::string format = "text";
  std::string at;    // a time, or two; empty: any
  std::string took;  // likewise
};

/// Parses "12s", "10s..12s", "10s.." or "..12s"; an empty text means any time. `is_moment`: a
/// single time is that moment; otherwise it is the beginning of a span without an end.
Result<TimeSpan> parse_span(std::string_view option, const std::string& text, bool is_moment) {
  TimeSpan span;
  if (text.empty()) return span;
  const size_t dots = text.find("..");
  const std::string from = text.substr(0, dots);
  const std::string to = dots == std::string::npos ? "" : text.substr(dots + 2);
  const auto from_ns = from.empty() ? std::optional<int64_t>(0) : parse_duration(from);
  const auto to_ns = to.empty() ? std::optional(span.to_ns) : parse_duration(to);
  if (!from_ns || !to_ns || *from_ns < 0 || *to_ns < *from_ns || (from.empty() && to.empty()))
    return make_error(
        ErrorCode::kUsage,
        fmt::format("{} {} is neither a time, such as 12s, nor a span, such as 10s..12s", option,
                    text));
  span.from_ns = *from_ns;
  span.to_ns = dots == std::string::npos && is_moment ? *from_ns : *to_ns;
  return span;
}

Status list_slow_replies(RunStore& store, const StoredRun& run, const ExplainOptions& o) {
  TOPSPIN_ASSIGN(const TimeSpan at, parse_span("--at", o.at, true));
  TOPSPIN_ASSIGN(const TimeSpan took, parse_span("--took", o.took, false));
  TOPSPIN_ASSIGN(const SlowMoment moment, read_slow_moment(store, run, at, took));
  TOPSPIN_ASSIGN(ExportTarget target, ExportTarget::open("", database_path(o.db)));
  TOPSPIN_TRY(
      target.write(o.format == "json" ? slow_moment_json(moment) : slow_moment_text(moment)));
  return target.finish();
}

Status explain(const ExplainOptions& o) {
  TOPSPIN_TRY(enter_sandbox({.databases = {database_path(o.db)}}));
  TOPSPIN_ASSIGN(const auto store, RunStore::open(database_path(o.db)));
  TOPSPIN_ASSIGN(const StoredRun run, select_run(*store, o.run));
  if (!o.at.empty() || !o.took.empty()) return list_slow_replies(*store, run, o);
  TOPSPIN_ASSIGN(const auto findings, read_findings(*store, run));
  TOPSPIN_ASSIGN(ExportTarget target, ExportTarget::open("", database_path(o.db)));
  TOPSPIN_TRY(
      target.write(o.format == "json" ? findings_json(run, findings) : findings_text(findings)));
  return target.finish();
}

}  // namespace

void add_explain_command(CLI::App& root, Action& action) {
  CLI::App* command = root.add_subcommand(
      "explain", "Say why work failed or replies were late in a run, with evidence and next steps");
  auto o = std::make_shared<ExplainOptions>();
  command->add_option("RUN", o->run, fmt::format("{} (default last)", kRunHelp));
  add_database_option(*command, o->db);
  const OptionGroup time(*command, kTimeGroup);
  time.option("--at", o->at, "TIME",
              "Instead, list the slow replies of the tick at this time of the run, or of a span: "
              "12s, 10s..12s");
  time.option("--took", o->took, "TIME",
              "Instead, list the slow replies that took this long or longer, or from one time to "
              "another: 40ms, 40ms..60ms");
  OptionGroup(*command, kDisplayGroup)
      .choice("--format", o->format, "FORMAT", {"text", "json"}, "text or json (default text)");
  command->footer(
      "Examples:\n"
      "  topspin explain\n"
      "  topspin explain 12\n"
      "  topspin explain --at 10s..12s\n"
      "  topspin explain last --format json | jq -r '.findings[0].sentence'");
  command->callback([o, &action] {
    action = [o] {
      const Status done = explain(*o);
      return done.ok() ? 0 : fail(done.error());
    };
  });
}

}  // namespace topspin
