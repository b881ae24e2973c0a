// The gate judged against itself, for a terminal.
#include <fmt/format.h>

#include "core/text.h"
#include "report/text/text_report.h"

namespace topspin {
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
