#include "report/metrics/otlp.h"

#include <cmath>

#include <fmt/format.h>

#include "core/number/exponential_histogram.h"
#include "report/json/json_object.h"
#include "report/metrics/metric_families.h"

namespace topspin {
namespace {

// Of opentelemetry/proto/metrics/v1/metrics.proto and logs.proto.
constexpr int kCumulative = 2;
constexpr int kSeverityWarn = 13;
constexpr int kSeverityError = 17;

/// Attributes are names, rules and labels. A longer text is cut.
constexpr size_t kMostTextBytes = 2'048;

std::string_view bounded(std::string_view text) { return text.substr(0, kMostTextBytes); }

/// A 64-bit integer, which JSON's numbers cannot hold.
template <typename Integer>
std::string integer_text(Integer value) {
  return fmt::format("\"{}\"", value);
}

std::string double_text(double value) {
  if (std::isfinite(value)) return fmt::format("{}", value);
  return std::isnan(value) ? "\"NaN\"" : value > 0 ? "\"Infinity\"" : "\"-Infinity\"";
}

std::string in_seconds(double ns) { return double_text(ns / 1e9); }

/// A list of KeyValue.
class Attributes {
 public:
  Attributes& add(std::string_view key, std::string_view value) {
    const std::string any = JsonObject().text("stringValue", bounded(value)).end();
    list_ += list_.empty() ? "[" : ",";
    list_ += JsonObject().text("key", bounded(key)).raw("value", any).end();
    return *this;
  }
  /// Adds nothing if the value is not known.
  Attributes& add_known(std::string_view key, std::string_view value) {
    return value.empty() ? *this : add(key, value);
  }
  bool empty() const { return list_.empty(); }
  std::string json() const { return empty() ? "[]" : list_ + "]"; }

 private:
  std::string list_;
};

/// Who sends, and of which run.
std::string resource_json(const RunInfo& run) {
  Attributes attributes;
  attributes.add("service.name", "topspin")
      .add_known("service.version", run.topspin_version)
      .add_known("service.instance.id", run.id)
      .add_known("host.name", run.host.hostname)
      .add("os.type", "linux")
      .add_known("vcs.ref.head.name", run.source.branch)
      .add_known("vcs.ref.head.revision", run.source.commit)
      .add_known("topspin.interface", run.settings.interface)
      .add_known("topspin.filter", run.settings.filter)
      .add_known("topspin.subject", run.settings.subject);
  size_t labels = 0;
  for (const auto& [key, value] : run.labels) {
    if (labels++ == kLiveLabels) break;
    attributes.add(fmt::format("topspin.label.{}", bounded(key)), value);
  }
  JsonObject resource;
  resource.raw("attributes", attributes.json());
  if (run.labels.size() > kLiveLabels)
    resource("droppedAttributesCount", run.labels.size() - kLiveLabels);
  return resource.end();
}

std::string scope_json(const RunInfo& run) {
  return JsonObject().text("name", "topspin").text("version", run.topspin_version).end();
}

std::string buckets_json(const ExponentialBuckets& buckets) {
  return JsonObject()("offset", buckets.offset)
      .raw("bucketCounts",
           json_array(buckets.counts, [](uint64_t count) { return integer_text(count); }))
      .end();
}

/// Writes the list of metrics, and counts their data points.
class MetricsWriter {
 public:
  MetricsWriter(const RunInfo& run, const RunFold& fold, int64_t wall_ns)
      : fold_(fold),
        start_(integer_text(run.started_wall_ns)),
        // A clock that was stepped back must not make a point older than its start.
        time_(integer_text(std::max(wall_ns, run.started_wall_ns))) {}

  void add(const MetricFamily& family) {
    std::string points;
    for (const MetricPoint& point : family.points) add_point(family, point, points);
    put(family.name, family.help, family.unit, family.type, points);
  }

  void add(const FactMetric& fact) {
    if (!fact.value) return;
    const MetricType type = fact.is_counter ? MetricType::kCounter : MetricType::kGauge;
    JsonObject point = begin_point({}, type);
    std::string points;
    append(point.raw("asInt", integer_text(*fact.value)).end(), points);
    put(fact.name, fact.help, "", type, points);
  }

  std::string metrics() const { return metrics_.empty() ? "[]" : metrics_ + "]"; }
  uint64_t points() const { return points_; }

 private:
  JsonObject begin_point(const Attributes& attributes, MetricType type) const {
    JsonObject point;
    if (!attributes.empty()) point.raw("attributes", attributes.json());
    // Nobody knows when the subject of a total began, nor when a gauge did.
    if (type == MetricType::kCounter || type == MetricType::kHistogram)
      point.raw("startTimeUnixNano", start_);
    point.raw("timeUnixNano", time_);
    return point;
  }

  void append(const std::string& point, std::string& points) {
    points += points.empty() ? "[" : ",";
    points += point;
    ++points_;
  }

  void add_point(const MetricFamily& family, const MetricPoint& point, std::string& points) {
    Attributes attributes;
    if (!point.label_key.empty()) {
      const bool is_ours = point.label_key.find('.') == std::string::npos;
      attributes.add((is_ours ? "topspin." : "") + point.label_key, point.label_value);
    }
    JsonObject json = begin_point(attributes, family.type);
    if (point.number->signed_histogram) {
      const SignedHistogram* h = point.number->signed_histogram(fold_.merged);
      if (h == nullptr) return;
      // A sum of values of both signs is no counter, so OTLP has none.
      put_histogram(json, exponential_seconds(*h), *h, std::nullopt);
    } else if (point.number->histogram) {
      const Histogram* h = point.number->histogram(fold_.merged);
      if (h == nullptr) return;
      put_histogram(json, exponential_seconds(*h), *h, static_cast<double>(h->sum()));
    } else {
      const std::optional<double> value = point.value(fold_);
      if (!value) return;
      if (family.is_whole())
        json.raw("asInt", integer_text(std::llround(*value)));
      else
        json.raw("asDouble", double_text(*value));
    }
    append(json.end(), points);
  }

  template <typename AnyHistogram>
  static void put_histogram(JsonObject& json, const ExponentialHistogram& exponential,
                            const AnyHistogram& histogram, std::optional<double> sum_ns) {
    json.raw("count", integer_text(histogram.count()));
    if (sum_ns) json.raw("sum", in_seconds(*sum_ns));
    json("scale", exponential.scale).raw("zeroCount", integer_text(exponential.zero_count));
    if (!exponential.positive.counts.empty())
      json.raw("positive", buckets_json(exponential.positive));
    if (!exponential.negative.counts.empty())
      json.raw("negative", buckets_json(exponential.negative));
    if (const auto min = histogram.min()) json.raw("min", in_seconds(static_cast<double>(*min)));
    if (const auto max = histogram.max()) json.raw("max", in_seconds(static_cast<double>(*max)));
  }

  /// Writes nothing if no point was measured.
  void put(std::string_view name, std::string_view help, std::string_view unit, MetricType type,
           const std::string& points) {
    if (points.empty()) return;
    JsonObject data;
    data.raw("dataPoints", points + "]");
    const char* kind = "gauge";
    switch (type) {
      case MetricType::kCounter:
      case MetricType::kTotal:
        kind = "sum";
        data("aggregationTemporality", kCumulative)("isMonotonic", true);
        break;
      case MetricType::kUpDownCounter:
        kind = "sum";
        data("aggregationTemporality", kCumulative)("isMonotonic", false);
        break;
      case MetricType::kHistogram:
        kind = "exponentialHistogram";
        data("aggregationTemporality", kCumulative);
        break;
      case MetricType::kGauge: break;
    }
    JsonObject metric;
    metric.text("name", name).text("description", help);
    if (!unit.empty()) metric.text("unit", unit);
    metrics_ += metrics_.empty() ? "[" : ",";
    metrics_ += metric.raw(kind, data.end()).end();
  }

  const RunFold& fold_;
  const std::string start_, time_;
  std::string metrics_;
  uint64_t points_ = 0;
};

/// A request of one resource and one scope: "resourceMetrics", "scopeMetrics", "metrics".
std::string request_json(const RunInfo& run, std::string_view resources, std::string_view scopes,
                         std::string_view items, const std::string& list) {
  const std::string scoped = JsonObject().raw("scope", scope_json(run)).raw(items, list).end();
  const std::string resource = JsonObject(list.size() + 4'096)
                                   .raw("resource", resource_json(run))
                                   .raw(scopes, "[" + scoped + "]")
                                   .end();
  return JsonObject(list.size() + 4'096).raw(resources, "[" + resource + "]").end();
}

std::string log_record(const LiveEvent& event) {
  const bool is_error = event.severity == LiveEvent::Severity::kError;
  Attributes attributes;
  for (const auto& [key, value] : event.attributes) attributes.add(key, value);
  return JsonObject()
      .raw("timeUnixNano", integer_text(event.wall_ns))
      .raw("observedTimeUnixNano", integer_text(event.observed_wall_ns))
      .raw("severityNumber", std::to_string(is_error ? kSeverityError : kSeverityWarn))
      .text("severityText", is_error ? "ERROR" : "WARN")
      .raw("body", JsonObject().text("stringValue", bounded(event.text)).end())
      .raw("attributes", attributes.json())
      .text("eventName", event.name)
      .end();
}

}  // namespace

OtlpRequest otlp_metrics(const RunInfo& run, const RunFold& fold, const LiveFacts& facts,
                         int64_t wall_ns) {
  MetricsWriter writer(run, fold, wall_ns);
  for (const MetricFamily& family : metric_families()) writer.add(family);
  for (const FactMetric& fact : fact_metrics(run, fold, facts)) writer.add(fact);
  return {OtlpRequest::Signal::kMetrics,
          request_json(run, "resourceMetrics", "scopeMetrics", "metrics", writer.metrics()),
          writer.points()};
}

OtlpRequest otlp_logs(const RunInfo& run, std::span<const LiveEvent> events) {
  return {
      OtlpRequest::Signal::kLogs,
      request_json(run, "resourceLogs", "scopeLogs", "logRecords",
                   json_array(events, [](const LiveEvent& event) { return log_record(event); })),
      events.size()};
}

}  // namespace topspin
