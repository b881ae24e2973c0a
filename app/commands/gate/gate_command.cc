// `topspin compare` and `topspin gate`: the difference and the verdict, of stored runs or of any
// numbers.
#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "app/commands/commands.h"
#include "app/commands/export_target.h"
#include "app/commands/gate/gate_options.h"
#include "app/commands/gate/gate_runs.h"
#include "app/commands/gate/gate_series.h"
#include "app/host/outlet.h"
#include "app/options/observe_options.h"
#include "app/options/option_group.h"
#include "ci/run_selection.h"
#include "core/base/clock.h"
#include "report/export/export.h"
#include "report/json/reports.h"
#include "report/markdown/markdown_report.h"
#include "report/text/text_report.h"
#include "store/runs/gate_log.h"

namespace topspin {
namespace {

constexpr int64_t kMostAaTrials = 1'000'000;

constexpr const char* kGateExitCodes =
    "Exit codes: 0 pass, or inconclusive; 1 worse; 2 wrong usage; 3 invalid, or inconclusive with "
    "--strict; 4 runs of different hosts; 5 input or output.";

/// For stored runs, the gate also stores its verdict in their database. If the database cannot be
/// written (a read-only artifact, for example), that is reported and does not change the verdict.
int keep_and_show(const Result<Judgement>& judgement, const GateOptions& o) {
  if (judgement.ok()) {
    const Status logged = log_judgement(
        database_path(o.db),
        {wall_now_ns(), judgement->mode, std::string(verdict_name(judgement->verdict)),
         judgement->exit_code, judgement->seed, judgement_json(*judgement)});
    if (!logged.ok())
      say(fmt::format("the verdict could not be stored in the database: {}",
                      logged.error().message));
  }
  return show(judgement, o);
}

int show_series(const GateOptions& o) {
  const auto judged = judge_series(o);
  return judged.ok() ? show(judged->judgement, o) : fail(judged.error());
}

int run_aa(const GateOptions& o) {
  if (o.history || !o.series.empty() || o.sides.size() > 1) {
    return fail(make_error(
        ErrorCode::kUsage,
        "--aa N judges the stored runs of one commit or of one selector; leave out the rest"));
  }
  if (*o.aa_trials < 1 || *o.aa_trials > kMostAaTrials) {
    return fail(make_error(ErrorCode::kUsage, fmt::format("--aa {} must be from 1 to {}",
                                                          *o.aa_trials, kMostAaTrials)));
  }
  if (o.format != "text" && o.format != "json")
    return fail(make_error(ErrorCode::kUsage, "--aa N supports only --format text or json"));
  const auto check = check_stored_aa(o);
  if (!check.ok()) return fail(check.error());
  const Status delivered =
      deliver(o.format == "json" ? aa_check_json(*check) : aa_check_text(*check), o);
  return delivered.ok() ? check->exit_code : fail(delivered.error());
}

int run_compare(GateOptions o) {
  if (auto status = check_output_name(o.output, "text, json, markdown"); !status.ok())
    return fail(status.error());
  if (auto status = load_config(o, false); !status.ok()) return fail(status.error());
  if (o.samples.empty() == o.sides.empty() || (!o.sides.empty() && o.sides.size() != 2)) {
    return fail(make_error(ErrorCode::kUsage,
                           "give two sides to compare: runs A B, or --samples A.csv B.csv"));
  }
  return show(o.samples.empty() ? compare_stored(o) : compare_samples(o), o);
}

int run_gate(GateOptions o) {
  const std::string formats = "text, json, markdown, junit, github";
  if (auto status = check_output_name(o.output, formats); !status.ok()) return fail(status.error());
  const bool stores_verdict = o.series.empty() && !o.aa_trials;
  if (auto status = load_config(o, stores_verdict); !status.ok()) return fail(status.error());
  if (o.aa_trials) return run_aa(o);
  if (o.history) {
    if (o.sides.size() > 1 || (!o.series.empty() && !o.sides.empty())) {
      return fail(
          make_error(ErrorCode::kUsage,
                     "--history takes either --series FILE.csv or one selector of stored runs"));
    }
    return o.series.empty() ? keep_and_show(judge_stored_history(o), o) : show_series(o);
  }
  if (!o.series.empty() || !o.acknowledged.empty()) {
    return fail(make_error(ErrorCode::kUsage, "--series and --acknowledge need --history"));
  }
  if (o.sides.empty()) {
    o.sides = {"side=a", "side=b"};
    o.sides_are_default = true;
  }
  if (o.sides.size() != 2) {
    return fail(make_error(ErrorCode::kUsage,
                           "give two sides to judge, the baseline first, such as `topspin gate "
                           "main feature`; --history judges one side over time"));
  }
  return keep_and_show(judge_stored_pairs(o), o);
}

}  // namespace

void add_compare_command(CLI::App& root, Action& action) {
  CLI::App* command =
      root.add_subcommand("compare", "Compare two sides: what changed, by how much, how sure");
  auto o = std::make_shared<GateOptions>();
  command->add_option("RUNS", o->sides, fmt::format("Two sides, each {}", kRunHelp))
      ->option_text("A B");
  const OptionGroup options(*command, "Options");
  options
      .option("--samples", o->samples, "A.csv B.csv",
              "Compare two CSV files of numbers instead of runs")
      ->expected(2);
  options.flag("--paired", o->paired, "Row i of A and row i of B were measured together");
  add_gate_options(*command, *o);
  add_verdict_options(*command, *o, {"text", "json", "markdown"},
                      "text (default), json, or markdown for a comment");
  command->footer(
      fmt::format("Examples:\n"
                  "  topspin compare main feature\n"
                  "  topspin compare last~1 last\n"
                  "  topspin compare --samples before.csv after.csv --column cpu_us --paired\n"
                  "  topspin compare --samples a.csv b.csv --better higher --margin 5%\n\n{}",
                  kGateExitCodes));
  command->callback([o, &action] { action = [o] { return run_compare(*o); }; });
}

void add_gate_command(CLI::App& root, Action& action) {
  CLI::App* command = root.add_subcommand("gate", "Pass or fail a change, for CI");
  auto o = std::make_shared<GateOptions>();
  command
      ->add_option("RUNS", o->sides,
                   fmt::format("Two sides that were recorded in turn (default side=a side=b); with "
                               "--history one selector (default: all runs). Each is {}",
                               kRunHelp))
      ->option_text("A B");
  const OptionGroup options(*command, "Options");
  options.flag("--history", o->history,
               "Look for changes of level in the sequence of runs, oldest first");
  options.option("--series", o->series, "FILE.csv",
                 "With --history: numbers from a CSV file, oldest row first");
  options.option("--time-column", o->time_column, "NAME",
                 "For a CSV file: the column with the time (default: time, if there is one)");
  options.list("--acknowledge", o->acknowledged, "RUN|INDEX",
               "With --history: the change at this run, or at this row of the CSV file (from 0), "
               "was intended; may be repeated");
  options.option("--aa", o->aa_trials, "COUNT",
                 "Judge the runs of one commit against each other COUNT times, to show how often "
                 "this gives a false alarm and what can be detected on this host");
  add_gate_options(*command, *o);
  add_verdict_options(*command, *o, {"text", "json", "markdown", "junit", "github"},
                      "text (default), json, junit, github, or markdown for a comment");
  command->footer(
      fmt::format("Examples:\n"
                  "  topspin gate side=a side=b --strict\n"
                  "  topspin gate --history branch=main --db nightly.db\n"
                  "  topspin gate --format junit -o gate.xml\n"
                  "  topspin gate --aa 1000 main\n"
                  "  topspin gate --history --series nightly.csv --column cpu_us\n"
                  "  topspin gate --history --series nightly.csv --column rows_per_s \\\n"
                  "    --better higher --acknowledge 112\n\n{}",
                  kGateExitCodes));
  command->callback([o, &action] { action = [o] { return run_gate(*o); }; });
}

}  // namespace topspin
