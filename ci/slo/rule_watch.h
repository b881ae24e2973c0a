// RuleWatch: rules that are judged while ticks come, on a sliding window: those of `topspin watch`.
//
//   rule := RULE ["for" DURATION]       RULE as in ci/slo/slo_rule.h, without a scope
//
//   p99(reply_latency) > 5ms for 3s
//   silent_flows > 10
//
// A rule here says what must not go on: it is met while its comparison is true. A gauge without a
// statistic is judged by the last tick; counts, distributions and statistics by the ticks of the
// last `window_ns`. With "for", the comparison must have been true at every tick for so long. A
// rule that cannot be judged at a tick (no sample, too few for the percentile) is not met at that
// tick.
//
// Pure: time comes with the ticks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ci/slo/slo.h"
#include "ci/slo/slo_rule.h"
#include "core/base/result.h"
#include "core/run/run.h"
#include "core/tick/sample.h"

namespace topspin {

struct WatchRule {
  std::string text;  // as it was written
  SloRule rule;
  int64_t for_ns = 0;
};

/// kUsage describes the mistake. Names of a load, stages, `clients` and `before` are mistakes here.
Result<WatchRule> parse_watch_rule(std::string_view text);

/// A rule that is met.
struct MetRule {
  size_t rule = 0;       // its position
  int64_t since_ns = 0;  // elapsed time of the first tick at which its comparison was true
  std::string measured;  // "12.30ms against 5.00ms"
  double value = 0;
};

class RuleWatch {
 public:
  RuleWatch(std::vector<WatchRule> rules, const RunInfo& run, int64_t window_ns);

  /// Takes the next tick, and returns the rules that are met at its end.
  std::vector<MetRule> add(const Sample& tick);

  const std::vector<WatchRule>& rules() const { return rules_; }
  /// Why a rule could not be judged at any tick so far; nullopt if it could.
  std::optional<std::string> never_judged(size_t rule) const;

 private:
  struct State {
    std::optional<int64_t> since_ns;
    bool judged = false;
    std::string why_not;
  };

  /// Rules that are judged by the same ticks.
  struct Group {
    std::vector<SloRule> rules;
    std::vector<size_t> positions;  // in rules_
  };

  Sample numbers_of(const Sample& tick) const;

  std::vector<WatchRule> rules_;
  std::vector<State> states_;
  Group of_last_tick_, of_window_;
  std::vector<std::string> distributions_;  // the names that rules use
  RunInfo run_;
  int64_t window_ns_;
  std::deque<Sample> window_;  // only their numbers
};

}  // namespace topspin
