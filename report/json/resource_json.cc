#include "report/json/resource_json.h"

namespace topspin {
namespace {

Json gauge_json(const GaugeSummary& g) {
  return {{"max", json_or_null(g.max)}, {"last", json_or_null(g.last)}};
}

Json stalls_json(const StallInterval& s) {
  return {{"cpu_some_ns", json_or_null(s.cpu_some_ns)},
          {"memory_some_ns", json_or_null(s.memory_some_ns)},
          {"memory_full_ns", json_or_null(s.memory_full_ns)},
          {"io_some_ns", json_or_null(s.io_some_ns)},
          {"io_full_ns", json_or_null(s.io_full_ns)}};
}

Json pressure_json(const PressureInterval& p) {
  return {{"host", stalls_json(p.host)},
          {"cgroup", stalls_json(p.cgroup)},
          {"cpu_quota_periods", json_or_null(p.cpu_quota_periods)},
          {"throttled_periods", json_or_null(p.throttled_periods)},
          {"throttled_ns", json_or_null(p.throttled_ns)}};
}

/// As counted, and scaled to the whole time (null: it never had a turn).
Json counters_json(const CounterInterval& counters) {
  Json json = Json::object();
  CounterInterval::for_each_field([&](const char* name, auto field) {
    const auto& counter = counters.*field;
    json[name] = counter ? Json{{"count", counter->count},
                                {"scaled", json_or_null(counter->scaled())},
                                {"enabled_ns", counter->enabled_ns},
                                {"running_ns", counter->running_ns}}
                         : Json(nullptr);
  });
  return json;
}

Json per_flow_json(const PerFlowCost& cost) {
  const std::pair<const char*, const std::optional<Slope>&> all[] = {{"rss_bytes", cost.rss_bytes},
                                                                     {"pss_bytes", cost.pss_bytes},
                                                                     {"vsz_bytes", cost.vsz_bytes},
                                                                     {"mappings", cost.mappings},
                                                                     {"fds", cost.fds}};
  Json json;
  Json intervals = Json::object();
  for (const auto& [name, slope] : all) {
    json[name] = slope ? Json(slope->value) : Json(nullptr);
    if (slope)
      intervals[name] = {
          {"ci_low", slope->ci_low}, {"ci_high", slope->ci_high}, {"points", slope->points}};
  }
  json["intervals"] = std::move(intervals);
  return json;
}

Json headroom_json(const std::vector<Headroom>& all) {
  Json json = Json::array();
  for (const Headroom& h : all) {
    json.push_back({{"limit", h.limit},
                    {"flows", h.flows},
                    {"flows_low", h.flows_low},
                    {"flows_high", h.flows_high},
                    {"per_flow", h.per_flow},
                    {"used", h.used},
                    {"limit_value", h.limit_value}});
  }
  return json;
}

Json leak_json(const LeakReport& leak) {
  Json json;
  json["verdict"] = leak_verdict_name(leak.verdict);
  json["reason"] = leak.reason;
  json["waves"] = leak.waves;
  json["metrics"] = Json::array();
  for (const LeakMetric& m : leak.metrics) {
    const auto of_slope = [&](double Slope::*member) {
      return m.slope_per_s ? Json((*m.slope_per_s).*member) : Json(nullptr);
    };
    json["metrics"].push_back({{"name", m.name},
                               {"verdict", leak_verdict_name(m.verdict)},
                               {"reason", m.reason},
                               {"residue", json_or_null(m.residue)},
                               {"residue_low", json_or_null(m.residue_low)},
                               {"residue_high", json_or_null(m.residue_high)},
                               {"slope_per_s", of_slope(&Slope::value)},
                               {"ci_low", of_slope(&Slope::ci_low)},
                               {"ci_high", of_slope(&Slope::ci_high)}});
  }
  return json;
}

}  // namespace

void add_resources_summary(Json& json, const RunReport& report) {
  const RunSummary& s = report.summary;
  json["file_bytes"] = gauge_json(s.file_bytes);
  json["shared_bytes"] = gauge_json(s.shared_bytes);
  json["page_table_bytes"] = gauge_json(s.page_table_bytes);
  json["fds_by_kind"] = {{"socket", gauge_json(s.socket_fds)},
                         {"pipe", gauge_json(s.pipe_fds)},
                         {"file", gauge_json(s.file_fds)},
                         {"anonymous", gauge_json(s.anonymous_fds)},
                         {"other", gauge_json(s.other_fds)}};
  json["cgroup_bytes"] = gauge_json(s.cgroup_bytes);
  json["pressure"] = pressure_json(s.pressure);
  json["counters"] = counters_json(s.counters);
  json["per_flow"] = per_flow_json(report.growth.per_flow);
  json["headroom"] = headroom_json(report.growth.headroom);
  json["leak"] = leak_json(report.growth.leak);
}

void add_tick_resources(Json& json, const Sample& sample) {
  const ResourceReading resources = sample.resources.value_or(ResourceReading{});
  json["swap_bytes"] = json_or_null(resources.swap_bytes);
  json["file_bytes"] = json_or_null(resources.file_bytes);
  json["shared_bytes"] = json_or_null(resources.shared_bytes);
  json["page_table_bytes"] = json_or_null(resources.page_table_bytes);
  json["fds_by_kind"] = {{"socket", json_or_null(resources.socket_fds)},
                         {"pipe", json_or_null(resources.pipe_fds)},
                         {"file", json_or_null(resources.file_fds)},
                         {"anonymous", json_or_null(resources.anonymous_fds)},
                         {"other", json_or_null(resources.other_fds)}};
  json["cgroup_bytes"] = json_or_null(resources.cgroup_bytes);
  json["pressure"] = pressure_json(sample.pressure);
  json["counters"] = counters_json(sample.counters);
}

}  // namespace topspin
