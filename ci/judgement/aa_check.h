// Tests the gate: how often it raises a false alarm on this host, and what it can detect.
//
// It takes stored runs of one commit. Two runs that follow each other make a pair, a random bit
// decides which of them is A, and the gate judges the pairs. This is done N times. Every alarm is
// false. The result holds for the state of the host during those runs. Pure over measured runs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ci/judgement/judgement.h"
#include "ci/metrics/measured_run.h"
#include "ci/metrics/run_metrics.h"

namespace topspin {

struct AaMetric {
  Metric metric;
  size_t alarms = 0;  // trials in which this metric failed
  size_t passes = 0;
  std::optional<double> minimum_detectable;  // median over the trials
};

struct AaCheck {
  size_t trials = 0;
  size_t pairs = 0;  // in each trial
  size_t alarms = 0;
  size_t passes = 0;
  double alarm_rate = 0;
  double alarm_rate_high = 1;  // upper end of its one-sided 95% interval (Clopper-Pearson)
  uint64_t seed = 0;
  int exit_code = 0;
  std::vector<std::string> reasons;  // why it could not be done, or what was left out; sentences
  std::vector<AaMetric> metrics;     // the gating ones
};

/// Exit codes: 3 with too few runs that may be judged, 4 with runs of several hosts, 2 with runs of
/// several commits.
AaCheck check_aa(const std::vector<MeasuredRun>& runs, size_t trials, uint64_t seed,
                 std::span<const RunMetric> metrics);

}  // namespace topspin
