// What growth.h computes, as JSON.
#include "report/json/rows.h"

namespace topspin {
namespace {

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

void add_growth(const Growth& growth, Json& json) {
  json["per_flow"] = per_flow_json(growth.per_flow);
  json["headroom"] = headroom_json(growth.headroom);
  json["leak"] = leak_json(growth.leak);
}

}  // namespace topspin
