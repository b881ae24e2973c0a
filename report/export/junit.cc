// JUnit XML for CI systems: one suite, with a case for each gating metric and SLO rule.
//
// A fail is a failure, and an inconclusive metric is skipped with its reason. A judgement that is
// invalid as a whole has another case that is an error. Text is made valid for XML 1.0 and escaped.
#include <fmt/format.h>

#include "ci/judgement/settled_verdict.h"
#include "report/export/export.h"

namespace topspin {
namespace {

/// Escapes text for attributes and content. Line ends and tabs become character references.
std::string xml(std::string_view text) {
  std::string out;
  for (const char c : replace_unprintable(text)) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      case '\'': out += "&apos;"; break;
      case '\n': out += "&#10;"; break;
      case '\r': out += "&#13;"; break;
      case '\t': out += "&#9;"; break;
      default: out += c;
    }
  }
  return out;
}

std::string number(const std::optional<double>& value) {
  return value ? fmt::format("{:.6g}", *value) : "-";
}

std::string inconclusive_reason(const Judgement& judgement, const Comparison& c) {
  return c.verdict == Verdict::kInconclusive || judgement.reasons.empty()
             ? c.reason
             : judgement.reasons.front();
}

std::string numbers_of(const Comparison& c) {
  return fmt::format("a {} b {} {}, change {}, 95% interval {} to {}, margin {}, n {}", number(c.a),
                     number(c.b), c.metric.unit, change_text(c, c.change), change_text(c, c.ci_low),
                     change_text(c, c.ci_high), amount_text(c, c.margin), c.n);
}

}  // namespace

std::string judgement_junit(const Judgement& judgement) {
  std::string cases;
  size_t tests = 0, failures = 0, skipped = 0, errors = 0;
  const auto add = [&](std::string_view name, const std::string& inside) {
    ++tests;
    cases += fmt::format("    <testcase classname=\"topspin.{}\" name=\"{}\">{}</testcase>\n",
                         xml(judgement.mode), xml(name), inside);
  };
  if (judgement.verdict == Verdict::kInvalid) {
    std::string why;
    for (const std::string& reason : judgement.reasons) why += reason + "\n";
    const std::string first = judgement.reasons.empty() ? "" : judgement.reasons.front();
    add("valid", fmt::format("<error message=\"{}\">{}</error>", xml(first), xml(why)));
    ++errors;
  }
  for (const Comparison& c : judgement.metrics) {
    if (!c.metric.gating) continue;
    switch (settled_verdict(judgement, c)) {
      case Verdict::kPass:
        add(c.metric.name, fmt::format("<system-out>{}</system-out>", xml(numbers_of(c))));
        break;
      case Verdict::kFail:
        add(c.metric.name,
            fmt::format("<failure message=\"{}\">{}</failure>", xml(c.reason), xml(numbers_of(c))));
        ++failures;
        break;
      case Verdict::kInconclusive:
        add(c.metric.name,
            fmt::format("<skipped message=\"{}\"/>", xml(inconclusive_reason(judgement, c))));
        ++skipped;
        break;
      case Verdict::kInvalid:
        add(c.metric.name, "<skipped message=\"the runs must not be judged\"/>");
        ++skipped;
        break;
    }
  }
  for (const SloOutcome& o : judgement.slos) {
    const std::string message = fmt::format("{} in run {}", o.explanation, o.run_id);
    if (o.broken > 0 && judgement.verdict != Verdict::kInvalid) {
      add(o.rule, fmt::format("<failure message=\"{}\"/>", xml(message)));
      ++failures;
    } else if (o.kept == 0 || judgement.verdict == Verdict::kInvalid) {
      add(o.rule, fmt::format("<skipped message=\"{}\"/>", xml(message)));
      ++skipped;
    } else {
      add(o.rule, "");
    }
  }
  const std::string counts =
      fmt::format("tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\"", tests, failures,
                  errors, skipped);
  return fmt::format(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites {0}>\n"
      "  <testsuite name=\"topspin gate\" {0}>\n    <properties>\n"
      "      <property name=\"verdict\" value=\"{1}\"/>\n"
      "      <property name=\"mode\" value=\"{2}\"/>\n"
      "      <property name=\"seed\" value=\"{3}\"/>\n"
      "    </properties>\n{4}  </testsuite>\n</testsuites>\n",
      counts, verdict_name(judgement.verdict), xml(judgement.mode), judgement.seed, cases);
}

}  // namespace topspin
