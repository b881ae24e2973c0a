// Metric families: the registry of numbers (core/tick/numbers.h), as systems for metrics want it.
//
// Each number has a family, whose name and unit are OpenTelemetry's: those of its semantic
// conventions for processes where they exist, "topspin." and the name of the number elsewhere.
// OpenMetrics has the same families, with underscores for dots and with the unit in the name. That
// is what a collector makes of OpenTelemetry's names for Prometheus, so both ways give the same.
// Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/run/run.h"
#include "core/run/run_fold.h"
#include "core/tick/numbers.h"
#include "report/metrics/live_facts.h"

namespace topspin {

enum class MetricType : uint8_t {
  kCounter,  // counts from the beginning of the run
  kTotal,    // counts from the beginning of the subject, which may be earlier
  kGauge,
  kUpDownCounter,  // a gauge whose values add up over processes. OpenMetrics has only gauges
  kHistogram,
};

/// One number of a family.
struct MetricPoint {
  const RegisteredNumber* number = nullptr;
  /// What tells the points of a family apart; empty if there is only one. A key with dots is one of
  /// OpenTelemetry's, others are ours.
  std::string label_key = {}, label_value = {};
  bool is_greatest = false;  // the greatest value at any tick, of a gauge

  /// In the unit of the family. For everything but distributions; nullopt if not measured.
  std::optional<double> value(const RunFold& fold) const;
};

/// The unit in the notation of UCUM, as OpenTelemetry writes it.
inline constexpr std::string_view kSeconds = "s", kBytes = "By";

struct MetricFamily {
  std::string name;  // "process.cpu.time", "topspin.reply_latency"
  std::string unit;  // kSeconds, kBytes, "{thread}"; empty: a count of what the name says
  std::string help;
  MetricType type = MetricType::kGauge;
  std::vector<MetricPoint> points = {};  // not empty

  /// Whether all values are whole numbers.
  bool is_whole() const;
};

/// All families of the registry, and then those of the greatest values of gauges.
const std::vector<MetricFamily>& metric_families();

/// A number about the recording itself.
struct FactMetric {
  std::string_view name;
  std::string_view help;
  bool is_counter = true;
  std::optional<uint64_t> value;
};
std::vector<FactMetric> fact_metrics(const RunInfo& run, const RunFold& fold,
                                     const LiveFacts& facts);

/// Of an info about the run: how many labels of the user leave a recording that runs. The rest is
/// counted, in a metric of its own. Exports have all.
inline constexpr size_t kLiveLabels = 16;

/// "process_cpu_time_seconds"
std::string openmetrics_name(std::string_view name, std::string_view unit);
/// "seconds", "bytes", or empty.
std::string_view openmetrics_unit(std::string_view unit);
/// "process_context_switch_type"
std::string openmetrics_label(std::string_view key);

}  // namespace topspin
