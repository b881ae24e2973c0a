#include "report/metrics/metric_families.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace topspin {
namespace {

/// The family of a number if it does not follow from the number's name: first OpenTelemetry's
/// process metrics, then families whose points differ in a label.
struct FamilyPlace {
  std::string_view number;
  std::string_view family;
  std::string_view unit;
  std::string_view label_key = {};
  std::string_view label_value = {};
};
constexpr FamilyPlace kPlaces[] = {
    {"cpu_ns", "process.cpu.time", kSeconds},
    {"rss_bytes", "process.memory.usage", kBytes},
    {"vsz_bytes", "process.memory.virtual", kBytes},
    {"threads", "process.thread.count", "{thread}"},
    {"fds", "process.unix.file_descriptor.count", "{file_descriptor}"},
    {"voluntary_switches", "process.context_switches", "{context_switch}",
     "process.context_switch.type", "voluntary"},
    {"involuntary_switches", "process.context_switches", "{context_switch}",
     "process.context_switch.type", "involuntary"},
    {"minor_faults", "process.paging.faults", "{fault}", "system.paging.fault.type", "minor"},
    {"major_faults", "process.paging.faults", "{fault}", "system.paging.fault.type", "major"},
    {"new_flows", "topspin.flows", ""},
    {"ended_flows", "topspin.flows_ended", ""},
    {"packets", "topspin.captured_packets", ""},
    {"bytes", "topspin.captured_bytes", kBytes},
    {"initiator_packets", "topspin.packets", "", "role", "initiator"},
    {"responder_packets", "topspin.packets", "", "role", "responder"},
    {"initiator_bytes", "topspin.traffic", kBytes, "role", "initiator"},
    {"responder_bytes", "topspin.traffic", kBytes, "role", "responder"},
};

/// The families that OpenTelemetry describes as UpDownCounters.
constexpr std::string_view kUpDown[] = {"process.memory.usage", "process.memory.virtual",
                                        "process.thread.count",
                                        "process.unix.file_descriptor.count"};

MetricType type_of(NumberKind kind, std::string_view family) {
  switch (kind) {
    case NumberKind::kCount: return MetricType::kCounter;
    case NumberKind::kTotal: return MetricType::kTotal;
    case NumberKind::kDistribution: return MetricType::kHistogram;
    case NumberKind::kGauge:
    case NumberKind::kMaximum:
    case NumberKind::kState: break;
  }
  const bool adds_up =
      std::find(std::begin(kUpDown), std::end(kUpDown), family) != std::end(kUpDown);
  return adds_up ? MetricType::kUpDownCounter : MetricType::kGauge;
}

std::string_view unit_of(std::string_view number) {
  switch (number_unit(number)) {
    case NumberUnit::kNanoseconds: return kSeconds;
    case NumberUnit::kBytes: return kBytes;
    case NumberUnit::kOne: return "";
  }
  return "";
}

/// "topspin.swap". The unit is not in the name, unless a count has the same one:
/// "topspin.off_cpu_sleeping" counts, and "topspin.off_cpu_sleeping_seconds" is how long.
std::string own_name(std::string_view number) {
  const std::string_view bare = without_unit(number);
  const auto& all = numbers();
  const bool is_taken = bare != number && std::any_of(all.begin(), all.end(), [&](const auto& one) {
                          return one.name == bare;
                        });
  if (!is_taken) return fmt::format("topspin.{}", bare);
  return fmt::format("topspin.{}_{}", bare, openmetrics_unit(unit_of(number)));
}

struct PlacedPoint {
  std::string family;
  std::string_view unit;
  std::string label_key, label_value;
};

PlacedPoint place_of(const RegisteredNumber& number) {
  for (const FamilyPlace& place : kPlaces) {
    if (place.number == number.name)
      return {std::string(place.family), place.unit, std::string(place.label_key),
              std::string(place.label_value)};
  }
  const std::string_view unit = unit_of(number.name);
  if (number.loss) {
    const std::string_view bare = LossInterval::bare_name(number);
    if (unit == kSeconds) return {own_name(bare), unit, "", ""};
    return {"topspin.losses", "", "kind", std::string(bare)};
  }
  constexpr std::string_view kEvent = CounterInterval::kNumberPrefix;
  if (number.probe == "counters" && unit != kSeconds)
    return {"topspin.perf_events", "", "event", std::string(number.name.substr(kEvent.size()))};
  constexpr std::string_view kSkipped = "skipped_";
  if (number.name.starts_with(kSkipped))
    return {"topspin.skipped_packets", "", "reason",
            std::string(number.name.substr(kSkipped.size()))};
  return {own_name(number.name), unit, "", ""};
}

/// The help of a family of several numbers, if the help of its first number does not fit.
std::string_view help_of(std::string_view family) {
  constexpr std::pair<std::string_view, std::string_view> kHelp[] = {
      {"process.context_switches", "Context switches of the subject."},
      {"process.paging.faults", "Page faults of the subject."},
      {"topspin.packets", "Packets of flows, by the end that sent them."},
      {"topspin.traffic", "Bytes of flows, by the end that sent them."},
      {"topspin.losses", "What was seen too late or not at all, by kind."},
      {"topspin.perf_events", "Perf events of the subject, scaled, by event."},
      {"topspin.skipped_packets", "Packets in no flow, by reason."},
  };
  for (const auto& [name, help] : kHelp)
    if (name == family) return help;
  return "";
}

/// The greatest value of a gauge at any tick. Its last value is in another family.
void add_greatest(std::vector<MetricFamily>& families) {
  for (const RegisteredNumber& number : numbers()) {
    if (number.kind != NumberKind::kGauge) continue;
    // Such a number may already be measured.
    if (find_number(fmt::format("{}_max", number.name)) != nullptr) continue;
    families.push_back({own_name(number.name) + "_max",
                        std::string(unit_of(number.name)),
                        fmt::format("The greatest at any tick: {}", number.help),
                        MetricType::kGauge,
                        {{.number = &number, .is_greatest = true}}});
  }
}

std::vector<MetricFamily> make_families() {
  std::vector<MetricFamily> families;
  for (const RegisteredNumber& number : numbers()) {
    PlacedPoint place = place_of(number);
    auto family = std::find_if(families.begin(), families.end(),
                               [&](const MetricFamily& f) { return f.name == place.family; });
    if (family == families.end()) {
      const std::string_view help = help_of(place.family);
      families.push_back({place.family, std::string(place.unit),
                          std::string(help.empty() ? number.help : help),
                          type_of(number.kind, place.family)});
      family = families.end() - 1;
    }
    family->points.push_back({&number, std::move(place.label_key), std::move(place.label_value)});
  }
  add_greatest(families);
  return families;
}

}  // namespace

std::optional<double> MetricPoint::value(const RunFold& fold) const {
  std::optional<double> value = number->value(is_greatest ? fold.greatest : fold.merged);
  if (value && number_unit(number->name) == NumberUnit::kNanoseconds) *value /= 1e9;
  return value;
}

bool MetricFamily::is_whole() const {
  // A perf event that did not count all the time is scaled.
  return unit != kSeconds && points.front().number->probe != "counters";
}

const std::vector<MetricFamily>& metric_families() {
  static const auto* const kFamilies = new std::vector<MetricFamily>(make_families());
  return *kFamilies;
}

std::vector<FactMetric> fact_metrics(const RunInfo& run, const RunFold& fold,
                                     const LiveFacts& facts) {
  const uint64_t labels_cut = run.labels.size() > kLiveLabels ? run.labels.size() - kLiveLabels : 0;
  return {
      {"topspin.ticks", "Ticks since the recording began.", true, fold.ticks},
      {"topspin.incidents", "Incidents that were stored.", true, facts.incidents},
      {"topspin.incidents_lost", "Incidents that could not be stored.", true, facts.incidents_lost},
      {"topspin.incidents_held_off", "Times that a rule began to be met while none could trigger.",
       true, facts.held_off},
      {"topspin.otlp_points_dropped", "Data points that no collector took.", true,
       facts.otlp_points_dropped},
      {"topspin.otlp_logs_dropped", "Log records that no collector took.", true,
       facts.otlp_logs_dropped},
      {"topspin.otlp_retries", "Requests that were sent to the collector again.", true,
       facts.otlp_retries},
      {"topspin.labels_cut", "Labels of the user that topspin_run_info has no room for.", false,
       labels_cut},
  };
}

std::string openmetrics_label(std::string_view key) {
  std::string label(key);
  std::replace(label.begin(), label.end(), '.', '_');
  return label;
}

std::string_view openmetrics_unit(std::string_view unit) {
  if (unit == kSeconds) return "seconds";
  return unit == kBytes ? "bytes" : "";
}

std::string openmetrics_name(std::string_view name, std::string_view unit) {
  std::string full = openmetrics_label(name);
  const std::string_view suffix = openmetrics_unit(unit);
  if (!suffix.empty() && !full.ends_with(fmt::format("_{}", suffix)))
    full += fmt::format("_{}", suffix);
  return full;
}

}  // namespace topspin
