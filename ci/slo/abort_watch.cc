#include "ci/slo/abort_watch.h"

#include <algorithm>

#include <fmt/format.h>

#include "ci/slo/slo_names.h"

namespace topspin {
namespace {

using Compare = SloComparison;
using Statistic = SloStatistic;

bool is_upper(Compare comparison) {
  return comparison == Compare::kLess || comparison == Compare::kLessEqual;
}
bool is_lower(Compare comparison) {
  return comparison == Compare::kGreater || comparison == Compare::kGreaterEqual;
}

/// Whether a greater value cannot keep the rule if this one does not: the value only grows.
bool is_broken_for_good(Compare comparison, const SloResult& result) {
  if (is_upper(comparison)) return true;
  return comparison == Compare::kEqual && result.value && result.bound &&
         *result.value > *result.bound;
}

bool only_grows(const SloRule& rule, SloNameKind kind) {
  if (kind == SloNameKind::kTickDistribution) return rule.statistic == Statistic::kCount;
  return rule.statistic == Statistic::kPlain &&
         (kind == SloNameKind::kCount || kind == SloNameKind::kLoadCount);
}

std::string told(const SloResult& result) {
  return fmt::format("{}: {}", result.rule, result.explanation);
}

}  // namespace

Status check_abort_rule(const SloRule& rule, bool has_load) {
  const auto wrong = [&](std::string_view why) {
    return make_error(ErrorCode::kUsage,
                      fmt::format("the rule \"{}\" cannot abort a run: {}", rule.text, why));
  };
  if (rule.scope.kind != SloScope::Kind::kMeasured)
    return wrong("it is about a stage; leave \"during\" or \"after\" out");
  for (const SloTerm& term : rule.bound) {
    if (term.kind != SloTerm::Kind::kNumber)
      return wrong("its bound is not known before the end; give a number");
  }
  const SloNameKind kind = slo_name_kind_in(rule.name, rule.statistic, has_load);
  const bool is_extreme = (rule.statistic == Statistic::kMax && is_upper(rule.comparison)) ||
                          (rule.statistic == Statistic::kMin && is_lower(rule.comparison));
  switch (kind) {
    case SloNameKind::kGauge:
      if (rule.statistic == Statistic::kPlain || is_extreme) return {};
      break;
    case SloNameKind::kTickDistribution:
      if (is_extreme) return {};
      break;
    case SloNameKind::kLoadCount: {
      bool is_field = false;
      LoadAccounts::for_each_field(
          [&](std::string_view name, auto) { is_field = is_field || name == rule.name; });
      if (!is_field) return wrong(fmt::format("{} is not counted before the end", rule.name));
      break;
    }
    case SloNameKind::kCount:
    case SloNameKind::kLoadDistribution: break;
  }
  if (only_grows(rule, kind) && (is_upper(rule.comparison) || rule.comparison == Compare::kEqual))
    return {};
  return wrong("what comes later could still keep it");
}

AbortWatch::AbortWatch(const std::vector<SloRule>& rules, bool has_load) : has_load_(has_load) {
  for (const SloRule& rule : rules) {
    if (!rule.aborts) continue;
    const SloNameKind kind = slo_name_kind_in(rule.name, rule.statistic, has_load);
    (kind == SloNameKind::kLoadCount ? of_load_ : of_ticks_).push_back(rule);
  }
}

void AbortWatch::begin(const RunInfo& run, int64_t start_ns) {
  RunStage measured;
  measured.kind = StageKind::kLoad;
  measured.start_ns = start_ns;
  judge_ = std::make_unique<SloJudge>(of_ticks_, run, std::vector{measured},
                                      has_load_ ? std::optional(LoadResult{}) : std::nullopt);
}

std::optional<std::string> AbortWatch::add(const Sample& tick) {
  if (!judge_ || of_ticks_.empty()) return std::nullopt;
  judge_->add(tick);
  const std::vector<SloResult> results = judge_->finish();
  for (size_t i = 0; i < results.size(); ++i) {
    if (results[i].verdict != SloVerdict::kBroken) continue;
    const SloRule& rule = of_ticks_[i];
    const SloNameKind kind = slo_name_kind_in(rule.name, rule.statistic, has_load_);
    if (only_grows(rule, kind) && !is_broken_for_good(rule.comparison, results[i])) continue;
    return told(results[i]);
  }
  return std::nullopt;
}

std::optional<std::string> AbortWatch::add(const LoadAccounts& so_far, bool is_http) const {
  if (of_load_.empty()) return std::nullopt;
  LoadResult load;
  load.total.accounts = so_far;
  if (is_http) load.http.emplace();
  const SloJudge judge(of_load_, RunInfo{}, {}, load);
  const std::vector<SloResult> results = judge.finish();
  for (size_t i = 0; i < results.size(); ++i) {
    if (results[i].verdict == SloVerdict::kBroken &&
        is_broken_for_good(of_load_[i].comparison, results[i]))
      return told(results[i]);
  }
  return std::nullopt;
}

}  // namespace topspin
