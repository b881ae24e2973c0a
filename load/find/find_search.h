// FindSearch: which level to try next, and what the answer is, in a search for the highest level
// (messages per second, or clients) that keeps the rules. Pure: it knows neither time nor rules.
//
//   1. Levels double from the first one on, until one fails. If the first one fails, they are
//      quartered until one is kept.
//   2. The gap between the highest level that was kept and the lowest that failed is halved, on a
//      logarithmic scale, until the two are near each other.
//   3. Both ends are tried again, until each is certain.
//
// A stage near the border is noisy, and a host has bad moments, so no single stage decides:
//
//   - A level has failed when most of its stages did, of two at least. One that was kept once is
//     taken as kept while other levels are tried.
//   - A level is an end of the answer when it is certain: its first three stages say the same. If
//     they do not, the level lies within the answer's interval, and the end moves outwards: by the
//     wanted precision at first, then by twice as much, and so on. So the interval is wider where
//     the border is noisy.
//
// tests/load/find_search_test.cc measures how often the true border is within the interval.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <optional>

#include "core/run/load_find.h"

namespace topspin {

struct FindSearchSettings {
  FindBy by = FindBy::kRate;  // clients are whole numbers; rates have four digits
  double from = 1;
  double least = 1;
  double most = 1;
  double within = 0.05;  // the answer's ends are at most this apart, as a share of the lower one
  size_t most_stages = 100;
};

class FindSearch {
 public:
  /// REQUIRES: least <= from <= most.
  explicit FindSearch(const FindSearchSettings& settings);

  /// The level of the next stage, or nullopt when there is an answer.
  std::optional<double> next() const;
  /// The result of a stage. REQUIRES: a verdict other than kUnknown.
  void add(double level, FindVerdict verdict);

  FindEnd end() const;  // kStopped while there is no answer
  std::optional<double> kept() const;
  std::optional<double> failed() const;

 private:
  struct Votes {
    int kept = 0, broken = 0, generator = 0;
    int failed() const { return broken + generator; }
    int stages() const { return kept + failed(); }
    bool has_failed() const { return failed() >= 2 && failed() > kept; }
    bool was_kept() const { return kept > failed(); }
    bool is_open() const { return !has_failed() && !was_kept(); }
    bool is_certain() const { return std::abs(kept - failed()) >= kCertain; }
    bool is_torn() const { return stages() >= kMostStages && !is_certain(); }
  };
  static constexpr int kCertain = 3;
  static constexpr int kMostStages = 4;

  std::optional<double> highest_kept() const;
  std::optional<double> lowest_failed() const;
  /// The level that is or may become an end of the answer: the nearest to `border` that is not
  /// torn, outwards; a new one if all are.
  double end_from(double border, bool is_upper) const;
  double rounded(double level) const;

  FindSearchSettings settings_;
  std::map<double, Votes> levels_;
  size_t stages_ = 0;
};

}  // namespace topspin
