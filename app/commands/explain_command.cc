// `topspin explain`: why work failed or was late, from what a run measured.
#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "app/commands/commands.h"
#include "app/commands/export_target.h"
#include "app/host/outlet.h"
#include "app/options/observe_options.h"
#include "app/options/option_group.h"
#include "ci/run_selection.h"
#include "report/json/reports.h"
#include "report/model/report_page.h"
#include "report/text/text_report.h"

namespace topspin {
namespace {

struct ExplainOptions {
  std::string run = "last";
  std::string db;
  std::string format = "text";
};

Status explain(const ExplainOptions& o) {
  TOPSPIN_ASSIGN(const auto store, RunStore::open(database_path(o.db)));
  TOPSPIN_ASSIGN(const StoredRun run, select_run(*store, o.run));
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
  OptionGroup(*command, kDisplayGroup)
      .choice("--format", o->format, "FORMAT", {"text", "json"}, "text or json (default text)");
  command->footer(
      "Examples:\n"
      "  topspin explain\n"
      "  topspin explain 12\n"
      "  topspin explain last --format json | jq -r '.findings[0].sentence'");
  command->callback([o, &action] {
    action = [o] {
      const Status done = explain(*o);
      return done.ok() ? 0 : fail(done.error());
    };
  });
}

}  // namespace topspin
