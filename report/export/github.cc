// GitHub workflow commands: lines that the runner turns into annotations.
//
//   ::error title=TITLE::MESSAGE     the gate fails, or the runs are invalid
//   ::warning title=...::...         inconclusive
//   ::notice title=...::...          pass
//
// The runner looks for a command in every line of output, so hostile text must not begin a line. It
// is first made visible on one line, then escaped in the runner's way.
#include <fmt/format.h>

#include "ci/judgement/settled_verdict.h"
#include "core/base/text.h"
#include "report/export/export.h"

namespace topspin {
namespace {

std::string escaped(std::string_view text, bool in_title) {
  std::string out;
  for (const char c : sanitize_for_terminal(text)) {
    if (c == '%')
      out += "%25";
    else if (in_title && c == ':')
      out += "%3A";
    else if (in_title && c == ',')
      out += "%2C";
    else
      out += c;
  }
  return out;
}

}  // namespace

std::string github_annotation(std::string_view kind, std::string_view title,
                              std::string_view message) {
  return fmt::format("::{} title={}::{}\n", kind, escaped(title, true), escaped(message, false));
}

std::string judgement_github(const Judgement& judgement) {
  std::string out;
  const std::string first = judgement.reasons.empty() ? "" : judgement.reasons.front();
  switch (judgement.verdict) {
    case Verdict::kInvalid: return github_annotation("error", "topspin gate: invalid", first);
    case Verdict::kPass:
      return github_annotation(
          "notice", "topspin gate: pass",
          first.empty() ? "no gating metric got worse by more than its margin" : first);
    case Verdict::kFail:
    case Verdict::kInconclusive: break;
  }
  for (const Comparison& c : judgement.metrics) {
    if (!c.metric.gating) continue;
    const Verdict verdict = settled_verdict(judgement, c);
    if (verdict == Verdict::kFail)
      out += github_annotation("error", fmt::format("topspin gate: {}", c.metric.name), c.reason);
    if (verdict == Verdict::kInconclusive && c.verdict == verdict)
      out += github_annotation("warning", fmt::format("topspin gate: {}", c.metric.name), c.reason);
  }
  for (const SloOutcome& o : judgement.slos) {
    if (o.broken > 0)
      out += github_annotation("error", "topspin gate: SLO broken",
                               fmt::format("{} ({} in run {})", o.rule, o.explanation, o.run_id));
  }
  // A verdict without a metric (too few pairs) still has a reason.
  if (out.empty()) {
    const bool fails = judgement.verdict == Verdict::kFail;
    out =
        github_annotation(fails ? "error" : "warning",
                          fmt::format("topspin gate: {}", verdict_name(judgement.verdict)), first);
  }
  return out;
}

}  // namespace topspin
