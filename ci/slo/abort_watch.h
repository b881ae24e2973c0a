// AbortWatch: notices, while a run goes on, that a rule is certainly broken at its end: those with
// `abort = true` in a plan. What comes later cannot mend it:
//
//   a gauge, at one tick                     fds < 1000
//   max or min of a gauge or distribution    max(reply_latency) < 50ms
//   a count that only grows                  lost == 0, http_errors <= 10, count(reply_latency) <
//   1e6
//
// A percentile, a mean, a rate or a slope can still change, so no run ends early for it; nor for a
// rule with a stage, or with a bound that is not a number.
//
// Pure: time comes with the ticks.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ci/slo/slo.h"
#include "ci/slo/slo_rule.h"
#include "core/base/result.h"
#include "core/run/load_result.h"
#include "core/run/run.h"
#include "core/tick/sample.h"

namespace topspin {

/// kUsage says why a run can never end early for this rule.
Status check_abort_rule(const SloRule& rule, bool has_load);

class AbortWatch {
 public:
  /// Takes the rules with `abort`. REQUIRES: check_abort_rule() accepts them.
  AbortWatch(const std::vector<SloRule>& rules, bool has_load);

  bool has_rules() const { return !of_ticks_.empty() || !of_load_.empty(); }

  /// The measured part began at `start_ns` of the run. Until then ticks do not count.
  void begin(const RunInfo& run, int64_t start_ns);
  /// Each returns a sentence once a rule is broken: "lost == 0: 3 against 0".
  std::optional<std::string> add(const Sample& tick);
  std::optional<std::string> add(const LoadAccounts& so_far, bool is_http) const;

 private:
  bool has_load_;
  std::vector<SloRule> of_ticks_, of_load_;
  std::unique_ptr<SloJudge> judge_;  // of of_ticks_, since begin()
};

}  // namespace topspin
