// OTLP, the protocol of OpenTelemetry, as JSON: the numbers of a recording that is under way as a
// request to export metrics, and events as a request to export logs.
//
// OTLP's JSON is that of protobuf with stricter rules: names in lowerCamelCase, 64-bit integers as
// text, enumerations as numbers, ids in hexadecimal (there are none here). Names of metrics are
// those of metric_families.h. Counters and histograms are cumulative from the beginning of the run
// on; counts since the subject's beginning, which may be earlier, have no start time. Text is ASCII
// with escapes, and of bounded length. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "core/run/run.h"
#include "core/run/run_fold.h"
#include "report/metrics/live_facts.h"

namespace topspin {

struct OtlpRequest {
  enum class Signal : uint8_t { kMetrics, kLogs };

  Signal signal = Signal::kMetrics;
  std::string body;
  uint64_t items = 0;  // data points, or log records
};

/// `wall_ns`: the moment of the fold.
OtlpRequest otlp_metrics(const RunInfo& run, const RunFold& fold, const LiveFacts& facts,
                         int64_t wall_ns);
OtlpRequest otlp_logs(const RunInfo& run, std::span<const LiveEvent> events);

}  // namespace topspin
