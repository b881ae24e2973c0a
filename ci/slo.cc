#include "ci/slo.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "ci/standing.h"
#include "core/numbers.h"
#include "core/periods.h"
#include "core/text.h"

namespace topspin {
namespace {

using Unit = NumberUnit;

std::optional<double> number(const std::optional<int64_t>& value) {
  if (!value) return std::nullopt;
  return static_cast<double>(*value);
}

/// What was not seen at all. Ticks that came late and waits that the ends of the run cut off are
/// seen, and a run of a BPF program that the kernel skips (one of many thousands, while another
/// runs on that CPU) costs one event of a distribution: these have names of their own.
std::optional<double> all_losses(const Sample& s) {
  return static_cast<double>(losses_total(s.losses));
}
std::optional<double> missed_runs(const Sample& s) {
  const LossInterval& l = s.losses;
  return static_cast<double>(l.scheduler_missed_runs + l.syscalls_missed_runs +
                             l.socket_missed_runs);
}

/// What rules can name of a tick: every number of the registry, and these two sums.
const RegisteredNumber* find_tick_number(std::string_view name) {
  static const RegisteredNumber kLosses{
      Number::count("losses", "losses", "What was not seen at all."), all_losses, {}, {}};
  static const RegisteredNumber kMissedRuns{
      Number::count("missed_runs", "skipped runs", "Runs of BPF programs that the kernel skipped."),
      missed_runs,
      {},
      {}};
  for (const RegisteredNumber* derived : {&kLosses, &kMissedRuns})
    if (derived->name == name) return derived;
  // Where a loss and another number have one name (evicted_flows), the loss is meant.
  const RegisteredNumber* loss =
      find_number(fmt::format("{}{}", LossInterval::kNumberPrefix, name));
  return loss != nullptr ? loss : find_number(name);
}

std::vector<std::string_view> tick_number_names() {
  std::vector<std::string_view> names = {"losses", "missed_runs"};
  for (const RegisteredNumber& number : numbers()) {
    names.push_back(number.loss ? std::string_view(LossInterval::bare_name(number))
                    : number.kind == NumberKind::kDistribution ? without_unit(number.name)
                                                               : number.name);
  }
  return names;
}

constexpr std::array<std::string_view, 3> kLoadDistributions = {
    "load_latency", "load_latency_actual", "load_own_lateness"};

template <typename List>
bool contains(const List& list, std::string_view name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

std::vector<std::string_view> load_count_names() {
  std::vector<std::string_view> names;
  LoadAccounts::for_each_field([&](std::string_view name, auto) { names.push_back(name); });
  TcpAccounts::for_each_field([&](std::string_view name, auto) { names.push_back(name); });
  HttpAccounts{}.for_each_class([&](std::string_view name, auto) { names.push_back(name); });
  return names;
}

/// A count of the load, of a part of it or (TCP's and the classes of statuses, and without a stage)
/// of the whole.
std::optional<double> load_count(const LoadResult& load, const LoadPart& part, bool whole,
                                 std::string_view name) {
  std::optional<double> found;
  LoadAccounts::for_each_field([&](std::string_view field_name, auto field) {
    if (field_name == name) found = static_cast<double>(part.accounts.*field);
  });
  if (name == "http_errors" && !load.http) return std::nullopt;
  if (found || !whole) return found;
  if (load.tcp) {
    TcpAccounts::for_each_field([&](std::string_view field_name, auto field) {
      if (field_name == name) found = static_cast<double>((*load.tcp).*field);
    });
  }
  if (load.http) {
    load.http->for_each_class([&](std::string_view class_name, uint64_t count) {
      if (class_name == name) found = static_cast<double>(count);
    });
  }
  return found;
}

enum class What : uint8_t { kGauge, kCount, kLoadCount, kTickDistribution, kLoadDistribution };

std::optional<What> what_is(std::string_view name) {
  if (const RegisteredNumber* number = find_tick_number(name)) {
    switch (number->kind) {
      case NumberKind::kCount: return What::kCount;
      case NumberKind::kDistribution: return What::kTickDistribution;
      case NumberKind::kGauge:
      case NumberKind::kMaximum:
      case NumberKind::kTotal:
      case NumberKind::kState: return What::kGauge;
    }
  }
  if (contains(load_count_names(), name)) return What::kLoadCount;
  if (contains(kLoadDistributions, name)) return What::kLoadDistribution;
  return std::nullopt;
}

/// A name that both the load and the wire count (late_replies) is the load's where there is one.
What what_is_in(std::string_view name, SloStatistic statistic, bool has_load) {
  const What what = what_is(name).value_or(What::kCount);
  return what == What::kCount && has_load && statistic == SloStatistic::kPlain &&
                 contains(load_count_names(), name)
             ? What::kLoadCount
             : what;
}

Unit unit_of(std::string_view name) {
  if (const RegisteredNumber* number = find_tick_number(name)) return number_unit(number->name);
  return contains(kLoadDistributions, name) ? Unit::kNanoseconds : Unit::kOne;
}

std::string nearest_name(std::string_view name) {
  std::vector<std::string_view> all = load_count_names();
  const auto of_ticks = tick_number_names();
  all.insert(all.end(), of_ticks.begin(), of_ticks.end());
  all.insert(all.end(), kLoadDistributions.begin(), kLoadDistributions.end());
  const auto nearest = nearest_word(name, all);
  return nearest ? fmt::format("; did you mean {}?", *nearest) : "; docs/plans.md lists them";
}

Error wrong(std::string_view rule, std::string_view what) {
  return make_error(ErrorCode::kUsage, fmt::format("in the rule \"{}\": {}", rule, what));
}

// --- Parsing -----------------------------------------------------------------------------------

struct Token {
  std::string_view text;  // empty: the end
  bool is_number() const {
    return !text.empty() && ((text[0] >= '0' && text[0] <= '9') || text[0] == '.');
  }
  bool is_word() const {
    return !text.empty() && ((text[0] >= 'a' && text[0] <= 'z') ||
                             (text[0] >= 'A' && text[0] <= 'Z') || text[0] == '_');
  }
};

bool is_word_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

class RuleParser {
 public:
  explicit RuleParser(std::string_view text) : text_(text) { advance(); }

  Result<SloRule> parse() {
    rule_.text = std::string(text_);
    TOPSPIN_TRY(parse_value());
    TOPSPIN_TRY(parse_scope());
    TOPSPIN_TRY(parse_comparison());
    TOPSPIN_TRY(parse_bound());
    TOPSPIN_TRY(parse_scope());
    if (!token_.text.empty()) return wrong(text_, fmt::format("\"{}\" is too much", token_.text));
    TOPSPIN_TRY(check());
    return std::move(rule_);
  }

 private:
  void advance() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t')) ++at_;
    const size_t begin = at_;
    if (at_ < text_.size() && (is_word_character(text_[at_]) || text_[at_] == '.')) {
      // A stage's name may hold a hyphen; between numbers it is a minus.
      const bool word = Token{text_.substr(at_, 1)}.is_word();
      while (at_ < text_.size() && (is_word_character(text_[at_]) || text_[at_] == '.' ||
                                    (word && text_[at_] == '-' && at_ + 1 < text_.size() &&
                                     is_word_character(text_[at_ + 1]))))
        ++at_;
    } else if (at_ < text_.size()) {
      const bool two = at_ + 1 < text_.size() && text_[at_ + 1] == '=' &&
                       std::string_view("<>=!").find(text_[at_]) != std::string_view::npos;
      at_ += two ? 2 : 1;
    }
    token_.text = text_.substr(begin, at_ - begin);
  }

  bool take(std::string_view text) {
    if (token_.text != text) return false;
    advance();
    return true;
  }

  Status parse_value() {
    if (!token_.is_word()) return wrong(text_, "it must begin with what is measured");
    std::string word(token_.text);
    advance();
    if (take("(")) {
      TOPSPIN_TRY(parse_statistic(word));
      if (!token_.is_word()) return wrong(text_, "a name must stand in the parentheses");
      word = token_.text;
      advance();
      if (!take(")")) return wrong(text_, "a parenthesis is not closed");
    }
    if (!what_is(word)) {
      return wrong(text_, fmt::format("nothing is called {}{}", word, nearest_name(word)));
    }
    rule_.name = std::move(word);
    return {};
  }

  Status parse_statistic(const std::string& word) {
    constexpr std::array<std::pair<std::string_view, SloStatistic>, 7> kStatistics = {
        {{"min", SloStatistic::kMin},
         {"mean", SloStatistic::kMean},
         {"max", SloStatistic::kMax},
         {"last", SloStatistic::kLast},
         {"count", SloStatistic::kCount},
         {"slope", SloStatistic::kSlope},
         {"rate", SloStatistic::kRate}}};
    for (const auto& [name, statistic] : kStatistics) {
      if (name != word) continue;
      rule_.statistic = statistic;
      return {};
    }
    // p50, p99, p99.9; p999 is how everybody writes p99.9.
    double percent = 0;
    const char* end = word.data() + word.size();
    if (word[0] == 'p' && std::from_chars(word.data() + 1, end, percent).ptr == end) {
      if (word == "p999") percent = 99.9;
      if (percent > 0 && percent < 100) {
        rule_.statistic = SloStatistic::kPercentile;
        rule_.quantile = percent / 100;
        return {};
      }
    }
    return wrong(text_, fmt::format("{} is no statistic; write p50, p99, p99.9, min, mean, max, "
                                    "last, count, slope or rate",
                                    word));
  }

  Status parse_scope() {
    const bool during = token_.text == "during";
    if (!during && token_.text != "after") return {};
    if (rule_.scope.kind != SloScope::Kind::kMeasured)
      return wrong(text_, "\"during\" or \"after\" can be said once");
    advance();
    if (token_.text.empty() || !is_word_character(token_.text[0]))
      return wrong(text_, "the name of a stage must follow \"during\" and \"after\"");
    rule_.scope = {during ? SloScope::Kind::kDuring : SloScope::Kind::kAfter,
                   std::string(token_.text)};
    advance();
    return {};
  }

  Status parse_comparison() {
    constexpr std::array<std::pair<std::string_view, SloComparison>, 6> kComparisons = {
        {{"<", SloComparison::kLess},
         {"<=", SloComparison::kLessEqual},
         {">", SloComparison::kGreater},
         {">=", SloComparison::kGreaterEqual},
         {"==", SloComparison::kEqual},
         {"!=", SloComparison::kNotEqual}}};
    for (const auto& [text, comparison] : kComparisons) {
      if (!take(text)) continue;
      rule_.comparison = comparison;
      return {};
    }
    return wrong(text_, "one of < <= > >= == != must follow what is measured");
  }

  Status parse_bound() {
    double sign = take("-") ? -1 : 1;
    while (true) {
      TOPSPIN_TRY(parse_term(sign));
      if (take("+"))
        sign = 1;
      else if (take("-"))
        sign = -1;
      else
        return {};
    }
  }

  Status parse_term(double sign) {
    SloTerm term;
    term.factor = sign;
    if (token_.is_number()) {
      TOPSPIN_ASSIGN(const double value, parse_number(token_.text, term));
      advance();
      term.factor *= value;
      if (!take("*")) {
        rule_.bound.push_back(term);
        return {};
      }
    }
    if (!token_.is_word()) return wrong(text_, "a number, clients, before or a count is missing");
    const std::string word(token_.text);
    if (word == "clients") {
      term.kind = SloTerm::Kind::kClients;
    } else if (word == "before") {
      term.kind = SloTerm::Kind::kBefore;
    } else {
      const auto what = what_is(word);
      if (what != What::kCount && what != What::kLoadCount) {
        return wrong(text_, fmt::format("{} is neither a number nor clients, before or a count{}",
                                        word, nearest_name(word)));
      }
      term.kind = SloTerm::Kind::kCount;
      term.name = word;
    }
    advance();
    if (take("*")) return wrong(text_, "write the factor first: 1.1 * before");
    rule_.bound.push_back(term);
    return {};
  }

  /// "5", "1.5", "5ms", "64MiB", "10MB".
  Result<double> parse_number(std::string_view text, SloTerm& term) const {
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const std::string_view unit(end, static_cast<size_t>(text.data() + text.size() - end));
    if (error != std::errc()) return wrong(text_, fmt::format("\"{}\" is no number", text));
    constexpr std::array<std::pair<std::string_view, double>, 14> kUnits = {
        {{"", 1},
         {"ns", 1},
         {"us", 1e3},
         {"ms", 1e6},
         {"s", 1e9},
         {"m", 60e9},
         {"h", 3600e9},
         {"B", 1},
         {"kB", 1e3},
         {"MB", 1e6},
         {"GB", 1e9},
         {"KiB", 1024},
         {"MiB", 1024.0 * 1024},
         {"GiB", 1024.0 * 1024 * 1024}}};
    for (const auto& [name, factor] : kUnits) {
      if (name != unit) continue;
      term.unit = name.empty()          ? SloTerm::Unit::kNone
                  : name.ends_with('B') ? SloTerm::Unit::kBytes
                                        : SloTerm::Unit::kTime;
      return value * factor;
    }
    return wrong(text_, fmt::format("{} is no unit; write ns, us, ms, s, m, h, B, kB, MB, GB, KiB, "
                                    "MiB or GiB",
                                    unit));
  }

  /// Whether the statistic fits what it is of.
  Status check() {
    const What what = *what_is(rule_.name);
    const SloStatistic s = rule_.statistic;
    const bool distribution = what == What::kTickDistribution || what == What::kLoadDistribution;
    bool fits = false;
    switch (s) {
      case SloStatistic::kPlain: fits = !distribution; break;
      case SloStatistic::kPercentile:
      case SloStatistic::kCount: fits = distribution; break;
      case SloStatistic::kMin:
      case SloStatistic::kMean:
      case SloStatistic::kMax: fits = distribution || what == What::kGauge; break;
      case SloStatistic::kLast:
      case SloStatistic::kSlope: fits = what == What::kGauge; break;
      case SloStatistic::kRate: fits = what == What::kCount; break;
    }
    if (!fits) {
      return wrong(text_,
                   distribution ? fmt::format("{0} is a distribution and needs a statistic of it, "
                                              "as p99({0}) or max({0})",
                                              rule_.name)
                   : what == What::kGauge
                       ? fmt::format("{} is a gauge: min, mean, max, last and slope are what can "
                                     "be said of it",
                                     rule_.name)
                       : fmt::format("{} is a count: only rate can be said of it", rule_.name));
    }
    TOPSPIN_TRY(check_units(what, s));
    const bool has_before =
        std::any_of(rule_.bound.begin(), rule_.bound.end(),
                    [](const SloTerm& t) { return t.kind == SloTerm::Kind::kBefore; });
    if (has_before && (what != What::kGauge || s == SloStatistic::kSlope))
      return wrong(text_, "only a gauge, such as fds or rss, has a value before the load");
    return {};
  }

  /// A time is bounded by times: a bare number would be nanoseconds, which nobody means.
  Status check_units(What what, SloStatistic statistic) const {
    const bool counts_samples = statistic == SloStatistic::kCount;
    const Unit of = counts_samples || what == What::kLoadCount ? Unit::kOne : unit_of(rule_.name);
    for (const SloTerm& term : rule_.bound) {
      if (term.kind != SloTerm::Kind::kNumber) continue;
      if (of == Unit::kNanoseconds && term.unit == SloTerm::Unit::kNone && term.factor != 0) {
        return wrong(text_, fmt::format("{0} is a time, so {1:g} needs a unit: write {1:g}ms, or "
                                        "ns, us, s, m or h",
                                        rule_.name, std::abs(term.factor)));
      }
      if (of != Unit::kNanoseconds && term.unit == SloTerm::Unit::kTime)
        return wrong(text_, fmt::format("{} is no time, and its bound is one", rule_.name));
      if (of != Unit::kBytes && term.unit == SloTerm::Unit::kBytes)
        return wrong(text_, fmt::format("{} is not in bytes, and its bound is", rule_.name));
    }
    return {};
  }

  std::string_view text_;
  size_t at_ = 0;
  Token token_;
  SloRule rule_;
};

// --- Judging -----------------------------------------------------------------------------------

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
  bool whole_ticks_only = false;  // those that only end in it do not count
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

/// Numbers that are 0 wherever no flow has a period, and say nothing there.
std::string why_no_percentile(uint64_t count, const SloRule& rule) {
  if (count == 0) return fmt::format("no sample of {} in that time", rule.name);
  return fmt::format("{} samples of {} are too few for this percentile: {} must lie above it",
                     count, rule.name, kSamplesAbovePercentile);
}

/// The change a second, by least squares; nullopt with fewer than three readings.
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

Result<SloRule> parse_slo(std::string_view text) { return RuleParser(text).parse(); }

/// A rule and what it has gathered so far.
struct SloJudge::Rule {
  SloRule rule;
  What what = What::kGauge;
  const RegisteredNumber* source = nullptr;           // of a tick
  std::vector<const RegisteredNumber*> term_sources;  // of counts in the bound
  std::optional<std::string> unknown;                 // cannot be judged, whatever comes
  std::optional<RunStage> stage;                      // of the scope
  TimeRange range;
  bool last_only = false;   // "after": the last tick counts
  bool of_periods = false;  // means something only where some flow has a period
  bool had_period = false;
  std::optional<int64_t> declared_period_ns;

  std::vector<Reading> readings;  // of a gauge
  std::optional<Reading> before;
  std::optional<double> sum;  // of a count
  int64_t interval_ns = 0;
  std::vector<std::optional<double>> term_sums;  // of counts in the bound
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
  of_periods = source != nullptr && source->needs_period && what != What::kTickDistribution;
  declared_period_ns = run.settings.period_ns;
  if (rule.scope.kind == SloScope::Kind::kMeasured) {
    range.from_ns = measured_from_ns(stages);
    if (of_periods) range.to_ns = load_end_ns(stages);
    return;
  }
  const auto named = std::find_if(stages.begin(), stages.end(),
                                  [&](const RunStage& s) { return s.name == rule.scope.stage; });
  if (named == stages.end()) {
    std::string names;
    for (const RunStage& s : stages) names += (names.empty() ? "" : ", ") + s.name;
    unknown =
        stages.empty()
            ? fmt::format("the run has no stages, so none is called {}", rule.scope.stage)
            : fmt::format("the run has no stage {}; its stages are {}", rule.scope.stage, names);
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
    last_only = what == What::kGauge && rule.statistic == SloStatistic::kPlain;
  }
  stage = *chosen;
  range.from_ns = chosen->start_ns;
  range.to_ns = chosen->end_ns.value_or(std::numeric_limits<int64_t>::max());
  range.whole_ticks_only = true;
  // Flows stay active for the window: before that, those of an earlier moment are counted too.
  if (rule.name == "active_flows") range.from_ns += run.settings.window_ns;
}

void SloJudge::Rule::add(const Sample& tick, const std::vector<RunStage>& stages) {
  if (unknown) return;
  had_period = had_period || has_lateness(tick.flows, declared_period_ns);
  const int64_t begin_ns = tick.elapsed_ns - tick.interval_ns;
  if (what == What::kGauge) {
    // "before" is the last tick at which the subject was ready and no load had come yet.
    const int64_t load_ns = measured_from_ns(stages);
    if (const auto value = source->value(tick);
        value && load_ns > 0 && tick.elapsed_ns <= load_ns) {
      before = Reading{tick.elapsed_ns, *value};
    }
  }
  // A gauge stands at the end of its tick, a count is of all of it.
  const bool inside = what == What::kGauge || !range.whole_ticks_only
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
  if (what == What::kTickDistribution) {
    add_distribution(tick);
  } else if (source != nullptr) {
    const auto value = source->value(tick);
    if (!value) return;
    if (what == What::kGauge)
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

/// The part of the load that the scope means; null: there is none.
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
        value = what_is_in(term.name, SloStatistic::kPlain, load.has_value()) == What::kCount
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

/// Every value must keep the rule; the one that is told is the first that breaks it, else the
/// nearest to the bound.
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
  const Unit unit = rule.statistic == SloStatistic::kCount ? Unit::kOne : unit_of(rule.name);
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
    case What::kGauge: {
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
    case What::kCount:
      if (!sum || interval_ns == 0) return cannot(no_tick);
      return judge_one(rule.statistic == SloStatistic::kRate
                           ? *sum * 1e9 / static_cast<double>(interval_ns)
                           : *sum,
                       {});
    case What::kTickDistribution: {
      if (!distribution_measured) return cannot(no_tick);
      const bool is_signed = source != nullptr && source->signed_histogram != nullptr;
      return judge_one(is_signed ? of_histogram(lateness, rule) : of_histogram(histogram, rule),
                       why_no_percentile(is_signed ? lateness.count() : histogram.count(), rule));
    }
    case What::kLoadCount:
    case What::kLoadDistribution: {
      const LoadPart* part = load ? load_part(*load) : nullptr;
      if (!load) return cannot("the run has no load of its own");
      if (part == nullptr) return cannot("of the load there are its stages and the whole");
      if (what == What::kLoadCount) {
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
    own.what = what_is_in(rule.name, rule.statistic, load_.has_value());
    const bool of_ticks =
        own.what == What::kGauge || own.what == What::kCount || own.what == What::kTickDistribution;
    own.source = of_ticks ? find_tick_number(rule.name) : nullptr;
    own.term_sums.resize(rule.bound.size());
    for (const SloTerm& term : rule.bound) {
      const bool counts = term.kind == SloTerm::Kind::kCount && what_is(term.name) == What::kCount;
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

/// A result that was reached and is not to be trusted.
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
