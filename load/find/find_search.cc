#include "load/find/find_search.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "core/base/check.h"

namespace topspin {
namespace {

constexpr double kGrowth = 2;
constexpr double kRetreat = 4;
constexpr double kDigits = 4;  // of a rate

}  // namespace

FindSearch::FindSearch(const FindSearchSettings& settings) : settings_(settings) {
  CHECK(settings.least > 0 && settings.least <= settings.from && settings.from <= settings.most);
}

double FindSearch::rounded(double level) const {
  double step = 1;
  if (settings_.by == FindBy::kRate)
    step = std::pow(10, std::floor(std::log10(level)) + 1 - kDigits);
  return std::clamp(std::round(level / step) * step, settings_.least, settings_.most);
}

std::optional<double> FindSearch::lowest_failed() const {
  for (const auto& [level, votes] : levels_) {
    if (votes.has_failed()) return level;
  }
  return std::nullopt;
}

std::optional<double> FindSearch::highest_kept() const {
  std::optional<double> highest;
  for (const auto& [level, votes] : levels_) {
    if (votes.has_failed()) break;
    if (votes.was_kept()) highest = level;
  }
  return highest;
}

double FindSearch::end_from(double border, bool is_upper) const {
  double level = border, step = settings_.within;
  while (true) {
    const auto known = levels_.find(level);
    if (known == levels_.end() || !known->second.is_torn()) return level;
    const double outermost = is_upper ? settings_.most : settings_.least;
    if (level == outermost) return level;
    double next = level;
    for (; is_upper ? next <= level : next >= level; step *= 2)
      next = rounded(is_upper ? border * (1 + step) : border / (1 + step));
    // Not past a level that was tried.
    if (is_upper) {
      const auto tried = levels_.upper_bound(level);
      level = tried == levels_.end() ? next : std::min(next, tried->first);
    } else {
      level = known == levels_.begin() ? next : std::max(next, std::prev(known)->first);
    }
  }
}

std::optional<double> FindSearch::next() const {
  if (stages_ >= settings_.most_stages) return std::nullopt;
  const auto low = highest_kept(), high = lowest_failed();
  for (const auto& [level, votes] : levels_) {
    if (high && level > *high) break;
    if (votes.is_open() && !votes.is_torn()) return level;
  }
  const auto certain = [&](double level) {
    const auto known = levels_.find(level);
    return known != levels_.end() && (known->second.is_certain() || known->second.is_torn());
  };
  if (!high) {
    if (!low) return rounded(settings_.from);
    if (*low < settings_.most) return rounded(*low * kGrowth);
    const double end = end_from(*low, false);
    return certain(end) ? std::nullopt : std::optional(end);
  }
  if (!low) {
    if (*high > settings_.least) return rounded(*high / kRetreat);
    return certain(*high) ? std::nullopt : std::optional(*high);
  }
  const double middle = rounded(std::sqrt(*low * *high));
  if (*high > *low * (1 + settings_.within) && middle > *low && middle < *high) return middle;
  // The upper end first: its stages followed one another, when the host may have had a bad moment.
  for (const bool is_upper : {true, false}) {
    const double end = end_from(is_upper ? *high : *low, is_upper);
    if (!certain(end)) return end;
  }
  return std::nullopt;
}

std::optional<double> FindSearch::kept() const {
  const auto low = highest_kept();
  if (!low || next()) return low;
  const double end = end_from(*low, false);
  return levels_.contains(end) && levels_.at(end).was_kept() ? end : std::optional<double>();
}

std::optional<double> FindSearch::failed() const {
  const auto high = lowest_failed();
  if (!high || next()) return high;
  const double end = end_from(*high, true);
  return levels_.contains(end) && levels_.at(end).has_failed() ? end : high;
}

void FindSearch::add(double level, FindVerdict verdict) {
  ++stages_;
  Votes& votes = levels_[level];
  switch (verdict) {
    case FindVerdict::kKept: ++votes.kept; break;
    case FindVerdict::kBroken: ++votes.broken; break;
    case FindVerdict::kGenerator: ++votes.generator; break;
    case FindVerdict::kUnknown: CHECK(false);
  }
}

FindEnd FindSearch::end() const {
  if (stages_ >= settings_.most_stages || next()) return FindEnd::kStopped;
  const auto low = kept(), high = failed();
  if (!low) return FindEnd::kNone;
  if (!high) return FindEnd::kMost;
  // If its stages disagree about the reason, the server's own limit is not shown.
  return levels_.at(*high).generator > 0 ? FindEnd::kGenerator : FindEnd::kBorder;
}

}  // namespace topspin
