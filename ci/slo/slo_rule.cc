#include "ci/slo/slo_rule.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "ci/slo/slo_names.h"
#include "core/base/text.h"
#include "core/tick/numbers.h"

namespace topspin {
namespace {

using Unit = NumberUnit;

Error wrong(std::string_view rule, std::string_view what) {
  return make_error(ErrorCode::kUsage, fmt::format("in the rule \"{}\": {}", rule, what));
}

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
      // A stage's name may contain a hyphen; between numbers it is a minus.
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
      if (!token_.is_word()) return wrong(text_, "a name must be in the parentheses");
      word = token_.text;
      advance();
      if (!take(")")) return wrong(text_, "a parenthesis is not closed");
    }
    if (!slo_name_kind(word)) {
      return wrong(text_, fmt::format("nothing is called {}{}", word, slo_name_hint(word)));
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
    // p50, p99, p99.9. p999 is a common way to write p99.9.
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
    return wrong(text_, fmt::format("{} is not a statistic; write p50, p99, p99.9, min, mean, max, "
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
      const auto what = slo_name_kind(word);
      if (what != SloNameKind::kCount && what != SloNameKind::kLoadCount) {
        return wrong(text_, fmt::format("{} is neither a number nor clients, before or a count{}",
                                        word, slo_name_hint(word)));
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
    return wrong(
        text_,
        fmt::format("{} is not a unit; write ns, us, ms, s, m, h, B, kB, MB, GB, KiB, MiB or GiB",
                    unit));
  }

  /// Checks that the statistic can be applied to the name.
  Status check() {
    const SloNameKind what = *slo_name_kind(rule_.name);
    const SloStatistic s = rule_.statistic;
    const bool distribution =
        what == SloNameKind::kTickDistribution || what == SloNameKind::kLoadDistribution;
    bool fits = false;
    switch (s) {
      case SloStatistic::kPlain: fits = !distribution; break;
      case SloStatistic::kPercentile:
      case SloStatistic::kCount: fits = distribution; break;
      case SloStatistic::kMin:
      case SloStatistic::kMean:
      case SloStatistic::kMax: fits = distribution || what == SloNameKind::kGauge; break;
      case SloStatistic::kLast:
      case SloStatistic::kSlope: fits = what == SloNameKind::kGauge; break;
      case SloStatistic::kRate: fits = what == SloNameKind::kCount; break;
    }
    if (!fits) {
      return wrong(
          text_,
          distribution
              ? fmt::format(
                    "{0} is a distribution and needs a statistic, such as p99({0}) or max({0})",
                    rule_.name)
          : what == SloNameKind::kGauge
              ? fmt::format("{} is a gauge; use min, mean, max, last or slope of it", rule_.name)
              : fmt::format("{} is a count; use rate of it, or the count itself", rule_.name));
    }
    TOPSPIN_TRY(check_units(s));
    TOPSPIN_TRY(check_counts_of_whole_load());
    const bool has_before =
        std::any_of(rule_.bound.begin(), rule_.bound.end(),
                    [](const SloTerm& t) { return t.kind == SloTerm::Kind::kBefore; });
    if (has_before && (what != SloNameKind::kGauge || s == SloStatistic::kSlope))
      return wrong(text_, "only a gauge, such as fds or rss, has a value before the load");
    return {};
  }

  /// Counts of TCP and HTTP exist for the whole load, not for each stage.
  Status check_counts_of_whole_load() const {
    if (rule_.scope.kind == SloScope::Kind::kMeasured) return {};
    const auto refuse = [&](const std::string& name) {
      return wrong(
          text_, fmt::format("{} is counted for the whole load, not for a stage: leave "
                             "\"{} {}\" out",
                             name, rule_.scope.kind == SloScope::Kind::kDuring ? "during" : "after",
                             rule_.scope.stage));
    };
    if (counts_whole_load_only(rule_.name)) return refuse(rule_.name);
    for (const SloTerm& term : rule_.bound)
      if (counts_whole_load_only(term.name)) return refuse(term.name);
    return {};
  }

  /// The bound of a time must be a time. A bare number would be nanoseconds, which is never meant.
  Status check_units(SloStatistic statistic) const {
    const Unit of = statistic == SloStatistic::kCount ? Unit::kOne : slo_name_unit(rule_.name);
    for (const SloTerm& term : rule_.bound) {
      if (term.kind == SloTerm::Kind::kBefore) continue;
      if (term.kind != SloTerm::Kind::kNumber) {
        TOPSPIN_TRY(check_unit_of_count(of, term));
        continue;
      }
      if (of == Unit::kNanoseconds && term.unit == SloTerm::Unit::kNone && term.factor != 0) {
        return wrong(text_, fmt::format("{0} is a time, so {1:g} needs a unit: write {1:g}ms, or "
                                        "ns, us, s, m or h",
                                        rule_.name, std::abs(term.factor)));
      }
      if (of != Unit::kNanoseconds && term.unit == SloTerm::Unit::kTime)
        return wrong(text_, fmt::format("{} is not a time, but its bound is one", rule_.name));
      if (of != Unit::kBytes && term.unit == SloTerm::Unit::kBytes)
        return wrong(text_, fmt::format("{} is not in bytes, but its bound is", rule_.name));
    }
    return {};
  }

  /// clients, or a count of something: a time is bounded by one that is a time itself (cpu), or by
  /// a factor that is (2ms * clients).
  Status check_unit_of_count(Unit of, const SloTerm& term) const {
    const bool is_clients = term.kind == SloTerm::Kind::kClients;
    const std::string name = is_clients ? "clients" : term.name;
    const bool is_time = term.unit == SloTerm::Unit::kTime ||
                         (!is_clients && slo_name_unit(name) == Unit::kNanoseconds);
    if (of == Unit::kNanoseconds && !is_time) {
      return wrong(
          text_,
          fmt::format(
              "{} is a time, but {} is not; write a time, or a time for each, such as 1ms * {}",
              rule_.name, name, name));
    }
    if (of != Unit::kNanoseconds && is_time)
      return wrong(text_, fmt::format("{} is not a time, but its bound is one", rule_.name));
    return {};
  }

  std::string_view text_;
  size_t at_ = 0;
  Token token_;
  SloRule rule_;
};

}  // namespace

Result<SloRule> parse_slo(std::string_view text) { return RuleParser(text).parse(); }

}  // namespace topspin
