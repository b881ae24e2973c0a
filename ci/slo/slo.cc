#include "ci/slo/slo.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "ci/metrics/standing.h"
#include "ci/slo/slo_names.h"
#include "core/base/text.h"
#include "core/flow/periods.h"
#include "core/tick/numbers.h"

namespace topspin {
namespace {

using Unit = NumberUnit;

std::optional<double> number(const std::optional<int64_t>& value) {
  if (!value) return std::nullopt;
  return static_cast<double>(*value);
}

bool holds(double value, SloComparison comparison, double bound) {
  switch (comparison) {
    case SloComparison::kLess: return value < bound;
    case SloComparison::kLessEqual: return value <= bound;
    case SloComparison::kGreater: return value > bound;
    case SloComparison::kGreaterEqual: return value >= bound;
    case SloComparison::kEqual: return value == bound;
    case SloComparison::kNotEqual: return value != bound;
  }
  return false;
}

std::string with_unit(double value, Unit unit, bool per_second) {
  const std::string suffix = per_second ? "/s" : "";
  if (unit == Unit::kNanoseconds && std::abs(value) < 9e18)
    return format_duration(static_cast<int64_t>(std::llround(value))) + suffix;
  if (unit == Unit::kBytes && std::abs(value) < 9e18) {
    const std::string text = format_bytes(static_cast<int64_t>(std::llround(std::abs(value))));
    return (value < 0 ? "-" : "") + text + suffix;
  }
  return fmt::format("{:.10g}{}", value, suffix);
}

/// The part of a run's time that a rule is about.
struct TimeRange {
  int64_t from_ns = 0;
  int64_t to_ns = std::numeric_limits<int64_t>::max();
  bool whole_ticks_only = false;  // ticks that only end in it do not count
};

struct Reading {
  int64_t elapsed_ns;
  double value;
};

template <typename AnyHistogram>
std::optional<double> of_histogram(const AnyHistogram& h, const SloRule& rule) {
  if (rule.statistic == SloStatistic::kCount) return static_cast<double>(h.count());
  if (h.count() == 0) return std::nullopt;
  switch (rule.statistic) {
    case SloStatistic::kPercentile: return number(h.percentile(rule.quantile));
    case SloStatistic::kMin: return number(h.min());
    case SloStatistic::kMax: return number(h.max());
    case SloStatistic::kMean: return static_cast<double>(h.sum()) / static_cast<double>(h.count());
    default: return std::nullopt;
  }
}

std::string why_no_percentile(uint64_t count, const SloRule& rule) {
  if (count == 0) return fmt::format("no sample of {} in that time", rule.name);
  return fmt::format("{} samples of {} are too few for this percentile; {} must lie above it",
                     count, rule.name, kSamplesAbovePercentile);
}

/// The change per second, by least squares; nullopt with fewer than three readings.
std::optional<double> slope_per_second(const std::vector<Reading>& readings) {
  if (readings.size() < 3) return std::nullopt;
  const auto n = static_cast<double>(readings.size());
  double mean_t = 0, mean_v = 0;
  for (const Reading& r : readings) {
    mean_t += static_cast<double>(r.elapsed_ns) / 1e9 / n;
    mean_v += r.value / n;
  }
  double above = 0, below = 0;
  for (const Reading& r : readings) {
    const double t = static_cast<double>(r.elapsed_ns) / 1e9 - mean_t;
    above += t * (r.value - mean_v);
    below += t * t;
  }
  if (below <= 0) return std::nullopt;
  return above / below;
}

}  // namespace

std::string_view slo_verdict_name(SloVerdict verdict) {
  switch (verdict) {
    case SloVerdict::kKept: return "kept";
    case SloVerdict::kBroken: return "broken";
    case SloVerdict::kUnknown: return "unknown";
  }
  return "unknown";
}

/// A rule and what it has gathered so far.
struct SloJudge::Rule {
  SloRule rule;
  SloNameKind what = SloNameKind::kGauge;
  const RegisteredNumber* source = nullptr;           // the number of a tick
  std::vector<const RegisteredNumber*> term_sources;  // for counts in the bound
  std::optional<std::string> unknown;                 // why it can never be judged
  std::optional<RunStage> stage;                      // of the scope
  TimeRange range;
  bool last_only = false;   // "after": only the last tick counts
  bool of_periods = false;  // has a meaning only if some flow has a period
  bool had_period = false;
  std::optional<int64_t> declared_period_ns;

  std::vector<Reading> readings;  // for a gauge
  std::optional<Reading> before;
  std::optional<double> sum;  // for a count
  int64_t interval_ns = 0;
  std::vector<std::optional<double>> term_sums;  // for counts in the bound
  Histogram histogram;
  SignedHistogram lateness;
  bool distribution_measured = false;

  void find_range(const RunInfo& run, const std::vector<RunStage>& stages);
  void add(const Sample& tick, const std::vector<RunStage>& stages);
  void add_distribution(const Sample& tick);
  SloResult finish(const std::vector<RunStage>& stages,
                   const std::optional<LoadResult>& load) const;
  SloResult judge(const std::vector<Reading>& values, double bound) const;
  std::optional<double> bound(const std::vector<RunStage>& stages,
                              const std::optional<LoadResult>& load, std::string& why) const;
  const LoadPart* load_part(const LoadResult& load) const;
  SloResult cannot(std::string why) const {
    return {rule.text, SloVerdict::kUnknown, std::nullopt, std::nullopt, std::move(why)};
  }
};

void SloJudge::Rule::find_range(const RunInfo& run, const std::vector<RunStage>& stages) {
  of_periods = source != nullptr && source->needs_period && what != SloNameKind::kTickDistribution;
  declared_period_ns = run.settings.period_ns;
  if (rule.scope.kind == SloScope::Kind::kMeasured) {
    range.from_ns = measured_from_ns(stages);
    if (of_periods) range.to_ns = load_end_ns(stages);
    return;
  }
  const auto named = std::find_if(stages.begin(), stages.end(),
                                  [&](const RunStage& s) { return s.name == rule.scope.stage; });
  if (named == stages.end()) {
    std::vector<std::string_view> names;
    names.reserve(stages.size());
    for (const RunStage& s : stages) names.push_back(s.name);
    const auto near = nearest_word(rule.scope.stage, names);
    unknown = stages.empty()
                  ? fmt::format("the run has no stages, so none is called {}", rule.scope.stage)
                  : fmt::format("the run has no stage {}; {}its stages are {}", rule.scope.stage,
                                near ? fmt::format("did you mean {}? ", *near) : std::string(),
                                fmt::join(names, ", "));
    return;
  }
  auto chosen = named;
  if (rule.scope.kind == SloScope::Kind::kAfter) {
    if (++chosen == stages.end() || !named->end_ns) {
      unknown = fmt::format("the run ended before stage {} was over", named->name);
      return;
    }
    if (chosen->clients_from != chosen->clients_to) {
      unknown = fmt::format("stage {} begins as soon as {} has ended; put a hold between them",
                            chosen->name, named->name);
      return;
    }
    last_only = what == SloNameKind::kGauge && rule.statistic == SloStatistic::kPlain;
  }
  stage = *chosen;
  range.from_ns = chosen->start_ns;
  range.to_ns = chosen->end_ns.value_or(std::numeric_limits<int64_t>::max());
  range.whole_ticks_only = true;
  // Flows stay active for the window, so until then flows from before the range count too.
  if (rule.name == "active_flows") range.from_ns += run.settings.window_ns;
}

void SloJudge::Rule::add(const Sample& tick, const std::vector<RunStage>& stages) {
  if (unknown) return;
  had_period = had_period || has_lateness(tick.flows, declared_period_ns);
  const int64_t begin_ns = tick.elapsed_ns - tick.interval_ns;
  if (what == SloNameKind::kGauge) {
    // "before" is the last tick at which the subject was ready and no load had begun.
    const int64_t load_ns = measured_from_ns(stages);
    if (const auto value = source->value(tick);
        value && load_ns > 0 && tick.elapsed_ns <= load_ns) {
      before = Reading{tick.elapsed_ns, *value};
    }
  }
  // A gauge is the value at the end of its tick, a count is of the whole tick.
  const bool inside = what == SloNameKind::kGauge || !range.whole_ticks_only
                          ? tick.elapsed_ns > range.from_ns
                          : begin_ns >= range.from_ns;
  if (!inside || tick.elapsed_ns > range.to_ns) return;
  interval_ns +=
      source != nullptr && source->probe == "capture" ? tick.flow_interval_ns() : tick.interval_ns;
  for (size_t i = 0; i < term_sources.size(); ++i) {
    if (term_sources[i] == nullptr) continue;
    const auto value = term_sources[i]->value(tick);
    if (value) term_sums[i] = term_sums[i].value_or(0) + *value;
  }
  if (what == SloNameKind::kTickDistribution) {
    add_distribution(tick);
  } else if (source != nullptr) {
    const auto value = source->value(tick);
    if (!value) return;
    if (what == SloNameKind::kGauge)
      readings.push_back({tick.elapsed_ns, *value});
    else
      sum = sum.value_or(0) + *value;
  }
}

void SloJudge::Rule::add_distribution(const Sample& tick) {
  if (source->signed_histogram) {
    distribution_measured = true;
    lateness.merge(*source->signed_histogram(tick));
  } else if (const Histogram* of_tick = source->histogram(tick)) {
    distribution_measured = true;
    histogram.merge(*of_tick);
  }
}

/// The part of the load that the scope means; null if there is none.
const LoadPart* SloJudge::Rule::load_part(const LoadResult& load) const {
  if (rule.scope.kind == SloScope::Kind::kMeasured) return &load.total;
  if (rule.scope.kind == SloScope::Kind::kAfter) return nullptr;
  for (const LoadPart& part : load.stages) {
    if (part.name == rule.scope.stage) return &part;
  }
  return nullptr;
}

std::optional<double> SloJudge::Rule::bound(const std::vector<RunStage>& stages,
                                            const std::optional<LoadResult>& load,
                                            std::string& why) const {
  (void)stages;
  double total = 0;
  for (size_t i = 0; i < rule.bound.size(); ++i) {
    const SloTerm& term = rule.bound[i];
    std::optional<double> value;
    switch (term.kind) {
      case SloTerm::Kind::kNumber: total += term.factor; continue;
      case SloTerm::Kind::kClients:
        if (stage && stage->clients_from && stage->clients_from == stage->clients_to)
          value = *stage->clients_from;
        else if (!stage && load)
          value = load->clients_max;
        else
          why = fmt::format("the number of clients is not constant in stage {}; name a hold",
                            rule.scope.stage);
        break;
      case SloTerm::Kind::kBefore:
        if (before)
          value = before->value;
        else
          why = fmt::format("{} was not measured before the load", rule.name);
        break;
      case SloTerm::Kind::kCount: {
        const LoadPart* part = load ? load_part(*load) : nullptr;
        value = slo_name_kind_in(term.name, SloStatistic::kPlain, load.has_value()) ==
                        SloNameKind::kCount
                    ? term_sums[i]
                : part != nullptr ? load_count(*load, *part, part == &load->total, term.name)
                                  : std::nullopt;
        if (!value) why = fmt::format("{} was not measured", term.name);
        break;
      }
    }
    if (!value) return std::nullopt;
    total += term.factor * *value;
  }
  return total;
}

/// Every value must keep the rule. Reports the first value that breaks it, or else the one nearest
/// to the bound.
SloResult SloJudge::Rule::judge(const std::vector<Reading>& values, double limit) const {
  const Reading* told = nullptr;
  bool broken = false;
  for (const Reading& reading : values) {
    if (!holds(reading.value, rule.comparison, limit)) {
      told = &reading;
      broken = true;
      break;
    }
    if (told == nullptr || std::abs(reading.value - limit) < std::abs(told->value - limit))
      told = &reading;
  }
  const Unit unit = rule.statistic == SloStatistic::kCount ? Unit::kOne : slo_name_unit(rule.name);
  const bool per_second =
      rule.statistic == SloStatistic::kSlope || rule.statistic == SloStatistic::kRate;
  std::string text = fmt::format("{} against {}", with_unit(told->value, unit, per_second),
                                 with_unit(limit, unit, per_second));
  if (values.size() > 1)
    text += broken ? fmt::format(", at {}", format_duration(told->elapsed_ns))
                   : fmt::format(", over {} ticks", values.size());
  return {rule.text, broken ? SloVerdict::kBroken : SloVerdict::kKept, told->value, limit,
          std::move(text)};
}

SloResult SloJudge::Rule::finish(const std::vector<RunStage>& stages,
                                 const std::optional<LoadResult>& load) const {
  if (unknown) return cannot(*unknown);
  if (of_periods && !had_period)
    return cannot(fmt::format("no flow had a period, so {} says nothing", rule.name));
  std::string why;
  const auto limit = bound(stages, load, why);
  if (!limit) return cannot(std::move(why));
  const std::string no_tick =
      fmt::format("no whole tick lies in that time, or {} was not measured", rule.name);
  const auto judge_one = [&](std::optional<double> value, std::string why_not) {
    if (!value) return cannot(std::move(why_not));
    return judge({{0, *value}}, *limit);
  };
  switch (what) {
    case SloNameKind::kGauge: {
      if (readings.empty()) return cannot(no_tick);
      if (rule.statistic == SloStatistic::kPlain)
        return judge(last_only ? std::vector{readings.back()} : readings, *limit);
      double least = readings[0].value, most = least, total = 0;
      for (const Reading& r : readings) {
        least = std::min(least, r.value);
        most = std::max(most, r.value);
        total += r.value;
      }
      if (rule.statistic == SloStatistic::kMin) return judge_one(least, {});
      if (rule.statistic == SloStatistic::kMax) return judge_one(most, {});
      if (rule.statistic == SloStatistic::kLast) return judge_one(readings.back().value, {});
      if (rule.statistic == SloStatistic::kMean)
        return judge_one(total / static_cast<double>(readings.size()), {});
      return judge_one(slope_per_second(readings), "a slope needs three ticks");
    }
    case SloNameKind::kCount:
      if (!sum || interval_ns == 0) return cannot(no_tick);
      return judge_one(rule.statistic == SloStatistic::kRate
                           ? *sum * 1e9 / static_cast<double>(interval_ns)
                           : *sum,
                       {});
    case SloNameKind::kTickDistribution: {
      if (!distribution_measured) return cannot(no_tick);
      const bool is_signed = source != nullptr && source->signed_histogram != nullptr;
      return judge_one(is_signed ? of_histogram(lateness, rule) : of_histogram(histogram, rule),
                       why_no_percentile(is_signed ? lateness.count() : histogram.count(), rule));
    }
    case SloNameKind::kLoadCount:
    case SloNameKind::kLoadDistribution: {
      const LoadPart* part = load ? load_part(*load) : nullptr;
      if (!load) return cannot("the run has no load of its own");
      if (part == nullptr)
        return cannot("only the load's stages, and the whole load, have numbers of the load");
      if (what == SloNameKind::kLoadCount) {
        return judge_one(load_count(*load, *part, part == &load->total, rule.name),
                         fmt::format("this load has no {} of its own", rule.name));
      }
      const Histogram& h = rule.name == "load_latency"          ? part->latency_intended
                           : rule.name == "load_latency_actual" ? part->latency_actual
                                                                : part->own_lateness;
      return judge_one(of_histogram(h, rule), why_no_percentile(h.count(), rule));
    }
  }
  return cannot("");
}

SloJudge::SloJudge(std::span<const SloRule> rules, const RunInfo& run, std::vector<RunStage> stages,
                   std::optional<LoadResult> load)
    : run_(run), stages_(std::move(stages)), load_(std::move(load)) {
  for (const SloRule& rule : rules) {
    Rule& own = rules_.emplace_back();
    own.rule = rule;
    own.what = slo_name_kind_in(rule.name, rule.statistic, load_.has_value());
    const bool of_ticks = own.what == SloNameKind::kGauge || own.what == SloNameKind::kCount ||
                          own.what == SloNameKind::kTickDistribution;
    own.source = of_ticks ? find_tick_number(rule.name) : nullptr;
    own.term_sums.resize(rule.bound.size());
    for (const SloTerm& term : rule.bound) {
      const bool counts =
          term.kind == SloTerm::Kind::kCount && slo_name_kind(term.name) == SloNameKind::kCount;
      own.term_sources.push_back(counts ? find_tick_number(term.name) : nullptr);
    }
    own.find_range(run_, stages_);
  }
}

SloJudge::~SloJudge() = default;

void SloJudge::add(const Sample& tick) {
  for (Rule& rule : rules_) rule.add(tick, stages_);
}

std::vector<SloResult> SloJudge::finish() const {
  std::vector<SloResult> results;
  for (const Rule& rule : rules_) {
    results.push_back(rule.finish(stages_, load_));
    results.back().lenient = rule.rule.lenient;
  }
  return results;
}

namespace {

bool is_about_split(const SloRule& rule) {
  return is_of_split(rule.name) ||
         std::any_of(rule.bound.begin(), rule.bound.end(),
                     [](const SloTerm& term) { return is_of_split(term.name); });
}

/// Withdraws a result that cannot be trusted.
void withhold(SloResult& result, std::string why) {
  result.verdict = SloVerdict::kUnknown;
  result.value.reset();
  result.bound.reset();
  result.explanation = std::move(why);
}

}  // namespace

Result<std::vector<SloResult>> judge_slos(RunStore& store, const StoredRun& run,
                                          std::span<const SloRule> rules) {
  TOPSPIN_ASSIGN(auto stages, store.load_stages(run.info.id));
  TOPSPIN_ASSIGN(auto load, store.load_load(run.info.id));
  SloJudge judge(rules, run.info, std::move(stages), std::move(load));
  TOPSPIN_TRY(store.for_each_tick(run.info.id, [&](const Sample& tick) { judge.add(tick); }));
  std::vector<SloResult> results = judge.finish();
  if (const auto doubt = doubt_of_split(run.end)) {
    for (size_t i = 0; i < results.size(); ++i) {
      if (is_about_split(rules[i])) withhold(results[i], "the split is doubtful: " + *doubt);
    }
  }
  return results;
}

}  // namespace topspin
