// gate.toml: a project's settings for the metrics of its gate.
//
//   seed = 7                         for the resampling
//   strict = true                    an inconclusive verdict gives exit code 3
//   lenient = true                   a rule that cannot be judged does not give exit code 3
//   slo = ["p99(reply_latency) < 5ms"]   rules for the candidate's runs, besides their plan's
//
//   [metric.cpu_ns_per_packet]       each key may be left out
//   better = "lower"                 or "higher"
//   unit = "ns"                      for the report; only for columns of CSV files, because the
//                                    units of stored runs are known
//   margin = "5%"                    or 0.05: the worsening that is accepted
//   gating = true                    false: it informs, and decides nothing
//
// Anything else is an error that names its line and key. Pure: turns text into values.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ci/metrics/metric.h"
#include "ci/metrics/run_metrics.h"
#include "ci/slo/slo.h"
#include "core/base/result.h"

namespace topspin {

struct MetricRule {
  std::string name;
  std::optional<Better> better;
  std::optional<std::string> unit;
  std::optional<double> margin;
  std::optional<bool> gating;
  uint32_t line = 0;
};

struct GateConfig {
  std::string name;  // of the file, for messages; empty: no file
  std::optional<uint64_t> seed;
  std::optional<bool> strict;
  bool lenient = false;  // for its own rules
  std::vector<SloRule> slo;
  std::vector<MetricRule> metrics;
};

/// kUsage names the mistake, with its line and key.
Result<GateConfig> parse_gate_config(std::string_view text, std::string name);

/// The metrics of stored runs with the config's settings. kUsage if the config names an unknown
/// metric, changes a unit, or lets more than kMostGatingMetrics gate.
Result<std::vector<RunMetric>> configured_metrics(const GateConfig& config);

/// The config's rules for a metric of that name, if it has any.
void apply_rules(const GateConfig& config, Metric& metric);

/// "5%" or "0.05" as a share from 0 to 10; nullopt if it is neither.
std::optional<double> parse_share(std::string_view text);

}  // namespace topspin
