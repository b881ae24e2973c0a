#include "ci/slo/find_rules.h"

#include <algorithm>

#include <fmt/format.h>

#include "ci/slo/slo.h"
#include "ci/slo/slo_names.h"
#include "ci/slo/slo_rule.h"

namespace topspin {
namespace {

bool is_of_load(SloNameKind kind) {
  return kind == SloNameKind::kLoadCount || kind == SloNameKind::kLoadDistribution;
}

Result<SloRule> read_find_rule(const std::string& text) {
  TOPSPIN_ASSIGN(SloRule rule, parse_slo(text));
  const auto refuse = [&](const std::string& why) {
    return make_error(ErrorCode::kUsage,
                      fmt::format("the rule \"{}\" cannot be searched by: {}", text, why));
  };
  if (rule.scope.kind != SloScope::Kind::kMeasured)
    return refuse("each stage is judged by itself; leave \"during\" or \"after\" out");
  // On the wire reply_latency begins with the sending. Here it begins when the message was due.
  if (rule.name == "reply_latency") rule.name = "load_latency";
  if (!is_of_load(slo_name_kind_in(rule.name, rule.statistic, true))) {
    return refuse(fmt::format(
        "{} is not measured by a load; use reply_latency, load_latency_actual, or a count such as "
        "lost, late_replies or http_errors",
        rule.name));
  }
  for (const SloTerm& term : rule.bound) {
    if (term.kind == SloTerm::Kind::kBefore)
      return refuse("there is nothing before a stage; give a number");
    if (term.kind == SloTerm::Kind::kCount &&
        !is_of_load(slo_name_kind_in(term.name, SloStatistic::kPlain, true)))
      return refuse(fmt::format("{} is not counted by a load", term.name));
  }
  return rule;
}

/// The bound of a latency, if it is an upper one and a number.
std::optional<int64_t> latency_bound(const SloRule& rule) {
  const bool is_upper =
      rule.comparison == SloComparison::kLess || rule.comparison == SloComparison::kLessEqual;
  if (!is_upper || (rule.name != "load_latency" && rule.name != "load_latency_actual") ||
      rule.statistic == SloStatistic::kCount)
    return std::nullopt;
  double bound_ns = 0;
  for (const SloTerm& term : rule.bound) {
    if (term.kind != SloTerm::Kind::kNumber) return std::nullopt;
    bound_ns += term.factor;
  }
  return static_cast<int64_t>(std::clamp(bound_ns, 0.0, 3600e9));
}

FindJudgement judge_find(const std::vector<SloRule>& rules, bool counts_failures,
                         const LoadResult& load) {
  const LoadAccounts& a = load.total.accounts;
  const auto asked = static_cast<double>(a.asked());
  const auto share_of_asked = [&](uint64_t part) {
    return asked <= 0 ? 0 : static_cast<double>(part) / asked;
  };
  const SloJudge judge(rules, RunInfo{}, {}, load);
  FindJudgement unknown;
  for (const SloResult& result : judge.finish()) {
    if (result.verdict == SloVerdict::kKept) continue;
    std::string why = fmt::format("{}: {}", result.rule, result.explanation);
    if (result.verdict == SloVerdict::kBroken) return {FindVerdict::kBroken, std::move(why)};
    unknown.why = std::move(why);
  }
  if (!load.closed_loop && share_of_asked(a.blocked) > kMostUnanswered) {
    return {
        FindVerdict::kBroken,
        fmt::format("{:.1f}% of the messages were not sent: their clients still waited for a reply",
                    100 * share_of_asked(a.blocked))};
  }
  const uint64_t undone = a.asked() - std::min(a.asked(), a.done());
  if (!counts_failures &&
      share_of_asked(undone) >
          kMostUnanswered + (load.closed_loop ? share_of_asked(a.blocked) : 0)) {
    return {FindVerdict::kBroken,
            fmt::format("{:.1f}% of the messages had no reply in time, or an error",
                        100 * share_of_asked(undone))};
  }
  if (!unknown.why.empty()) return unknown;
  return {FindVerdict::kKept, {}};
}

}  // namespace

Result<FindRules> read_find_rules(const std::vector<std::string>& texts) {
  FindRules find;
  std::vector<SloRule> rules;
  bool counts_failures = false;
  std::optional<double> quantile;
  for (const std::string& text : texts) {
    TOPSPIN_ASSIGN(SloRule rule, read_find_rule(text));
    counts_failures = counts_failures ||
                      slo_name_kind_in(rule.name, rule.statistic, true) == SloNameKind::kLoadCount;
    if (rule.statistic == SloStatistic::kPercentile)
      quantile = std::max(quantile.value_or(0), rule.quantile);
    if (const auto bound = latency_bound(rule))
      find.latency_bound_ns = std::max(find.latency_bound_ns.value_or(0), *bound);
    rules.push_back(std::move(rule));
  }
  if (quantile) find.quantile = *quantile;
  find.texts = texts;
  find.judge = [rules = std::move(rules), counts_failures](const LoadResult& load) {
    return judge_find(rules, counts_failures, load);
  };
  return find;
}

}  // namespace topspin
