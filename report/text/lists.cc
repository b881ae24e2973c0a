// Lists for a terminal: the runs of a database, and the gate against itself.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/source_text.h"
#include "core/text.h"
#include "report/document/readable.h"
#include "report/text/text_report.h"

namespace topspin {
namespace {

std::string safe(std::string_view text) { return sanitize_for_terminal(text); }

std::string or_dash(std::string text) { return text.empty() ? "-" : text; }

std::string what_was_run(const RunInfo& run) {
  std::string what = safe(run.command.empty() ? run.settings.subject
                                              : fmt::format("{}", fmt::join(run.command, " ")));
  for (const auto& [key, value] : run.labels) what += fmt::format(" {}={}", safe(key), safe(value));
  return what;
}

}  // namespace

std::string run_list_text(const std::vector<ListedRun>& runs) {
  std::string out =
      fmt::format("{:<36}  {:<24} {:>9} {:<12} {:<7} {:<7} {:<21} {}\n", "RUN", "STARTED",
                  "DURATION", "STATUS", "USABLE", "JUDGED", "COMMIT", "COMMAND OR SUBJECT");
  for (const auto& [run, standing] : runs) {
    out += no_command(
        fmt::format("{:<36}  {:<24} {:>9} {:<12} {:<7} {:<7} {:<21} {}\n", safe(run.info.id),
                    format_utc(run.info.started_wall_ns), format_duration(run.end.duration_ns),
                    run_status_name(run.end.status), standing.usable ? "yes" : "no",
                    standing.may_be_judged ? "may be" : "no",
                    or_dash(safe(short_commit(run.info.source))), what_was_run(run.info)));
  }
  return out;
}

std::string aa_check_text(const AaCheck& check) {
  std::string text;
  if (check.trials > 0) {
    text += fmt::format(
        "A/A: {} false alarms in {} judgements of {} pairs: {:.2g}% (at most {:.2g}%, with 95% "
        "confidence)\n",
        check.alarms, check.trials, check.pairs, 100 * check.alarm_rate,
        100 * check.alarm_rate_high);
    text += fmt::format("     {} passed, {} were inconclusive\n", check.passes,
                        check.trials - check.alarms - check.passes);
  } else {
    text += "A/A: not done\n";
  }
  for (const std::string& reason : check.reasons)
    text += fmt::format("  {}\n", sanitize_for_terminal(reason));
  if (check.metrics.empty()) return text;
  text += fmt::format("\n  {:<26} {:>7} {:>9} {:>7} {:>7}\n", "metric", "margin", "detects",
                      "alarms", "passes");
  for (const AaMetric& m : check.metrics) {
    text += fmt::format(
        "  {:<26} {:>6.3g}% {:>9} {:>7} {:>7}\n", sanitize_for_terminal(m.metric.name),
        100 * m.metric.margin,
        m.minimum_detectable ? fmt::format("{:.3g}%", 100 * *m.minimum_detectable) : "-", m.alarms,
        m.passes);
  }
  text += fmt::format(
      "\n  seed {}; detects: a worsening that would fail in 8 of 10 such comparisons, on this "
      "host\n",
      check.seed);
  return text;
}

}  // namespace topspin
