#include "ci/slo/rule_watch.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "ci/slo/slo_names.h"
#include "core/base/text.h"
#include "core/tick/numbers.h"

namespace topspin {
namespace {

Error wrong_watch_rule(std::string_view text, std::string_view what) {
  return make_error(ErrorCode::kUsage, fmt::format("in the rule \"{}\": {}", text, what));
}

bool is_of_ticks(std::string_view name) { return find_tick_number(name) != nullptr; }

bool is_of_last_tick(const SloRule& rule) {
  return rule.statistic == SloStatistic::kPlain &&
         slo_name_kind_in(rule.name, rule.statistic, false) == SloNameKind::kGauge;
}

Status check_watch_rule(std::string_view text, const SloRule& rule) {
  if (rule.scope.kind != SloScope::Kind::kMeasured)
    return wrong_watch_rule(text, "there are no stages here; leave \"during\" and \"after\" out");
  if (!is_of_ticks(rule.name))
    return wrong_watch_rule(text,
                            fmt::format("{} is of a load, and there is none here", rule.name));
  for (const SloTerm& term : rule.bound) {
    if (term.kind == SloTerm::Kind::kClients || term.kind == SloTerm::Kind::kBefore)
      return wrong_watch_rule(text, "there is no load here, so no \"clients\" and no \"before\"");
    if (term.kind == SloTerm::Kind::kCount && !is_of_ticks(term.name))
      return wrong_watch_rule(text,
                              fmt::format("{} is of a load, and there is none here", term.name));
  }
  return {};
}

}  // namespace

Result<WatchRule> parse_watch_rule(std::string_view text) {
  WatchRule rule;
  rule.text = std::string(text);
  std::string_view comparison = text;
  // A unit cannot end with "for", nor can a name follow a bound: the word begins the duration.
  constexpr std::string_view kFor = " for ";
  if (const size_t at = text.rfind(kFor); at != std::string_view::npos) {
    std::string_view duration = text.substr(at + kFor.size());
    while (duration.starts_with(' ')) duration.remove_prefix(1);
    while (duration.ends_with(' ')) duration.remove_suffix(1);
    const auto parsed = parse_duration(duration);
    if (!parsed || *parsed <= 0)
      return wrong_watch_rule(text,
                              fmt::format("\"for {}\" needs a duration, such as for 3s", duration));
    rule.for_ns = *parsed;
    comparison = text.substr(0, at);
  }
  auto parsed = parse_slo(comparison);
  if (!parsed.ok()) return std::move(parsed).error();
  rule.rule = std::move(parsed).value();
  TOPSPIN_TRY(check_watch_rule(text, rule.rule));
  return rule;
}

RuleWatch::RuleWatch(std::vector<WatchRule> rules, const RunInfo& run, int64_t window_ns)
    : rules_(std::move(rules)), states_(rules_.size()), run_(run), window_ns_(window_ns) {
  for (const WatchRule& rule : rules_) {
    const RegisteredNumber* number = find_tick_number(rule.rule.name);
    if (number != nullptr && number->kind == NumberKind::kDistribution)
      distributions_.emplace_back(number->name);
  }
  for (size_t i = 0; i < rules_.size(); ++i) {
    Group& group = is_of_last_tick(rules_[i].rule) ? of_last_tick_ : of_window_;
    group.rules.push_back(rules_[i].rule);
    group.positions.push_back(i);
  }
}

/// The plain numbers of a tick, and the distributions that rules use. A window of whole ticks would
/// take megabytes.
Sample RuleWatch::numbers_of(const Sample& tick) const {
  Sample numbers;
  numbers.tick = tick.tick;
  numbers.elapsed_ns = tick.elapsed_ns;
  numbers.interval_ns = tick.interval_ns;
  numbers.flows.begin_ns = tick.flows.begin_ns;
  numbers.flows.end_ns = tick.flows.end_ns;
  for_each_number([&](const Number& number, auto at) {
    using Value = typename decltype(at)::Value;
    const Value* value = at.find(tick);
    if (value == nullptr) return;
    if constexpr (kIsDistribution<Value>) {
      if (std::find(distributions_.begin(), distributions_.end(), number.name) ==
          distributions_.end())
        return;
    }
    at.make(numbers) = *value;
  });
  return numbers;
}

std::vector<MetRule> RuleWatch::add(const Sample& tick) {
  window_.push_back(numbers_of(tick));
  // Ticks of which at least a half lies in the window.
  while (window_.size() > 1 && window_.front().elapsed_ns - window_.front().interval_ns / 2 <=
                                   tick.elapsed_ns - window_ns_)
    window_.pop_front();

  std::vector<MetRule> met;
  for (const Group* group : {&of_last_tick_, &of_window_}) {
    if (group->rules.empty()) continue;
    SloJudge judge(group->rules, run_, {}, std::nullopt);
    if (group == &of_last_tick_)
      judge.add(window_.back());
    else
      for (const Sample& numbers : window_) judge.add(numbers);
    const std::vector<SloResult> results = judge.finish();
    for (size_t k = 0; k < results.size(); ++k) {
      const SloResult& result = results[k];
      State& state = states_[group->positions[k]];
      state.judged = state.judged || result.verdict != SloVerdict::kUnknown;
      if (result.verdict == SloVerdict::kUnknown) state.why_not = result.explanation;
      if (result.verdict != SloVerdict::kKept) {
        state.since_ns.reset();
        continue;
      }
      if (!state.since_ns) state.since_ns = tick.elapsed_ns;
      if (tick.elapsed_ns - *state.since_ns < rules_[group->positions[k]].for_ns) continue;
      met.push_back(
          {group->positions[k], *state.since_ns, result.explanation, result.value.value_or(0)});
    }
  }
  std::sort(met.begin(), met.end(),
            [](const MetRule& a, const MetRule& b) { return a.rule < b.rule; });
  return met;
}

std::optional<std::string> RuleWatch::never_judged(size_t rule) const {
  if (states_[rule].judged || states_[rule].why_not.empty()) return std::nullopt;
  return states_[rule].why_not;
}

}  // namespace topspin
