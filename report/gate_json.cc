#include "report/gate_json.h"

#include <cmath>

#include "report/json_parts.h"

namespace topspin {
namespace {

constexpr int kGateSchemaVersion = 1;

/// JSON has no infinity: a change from 0 has no ratio.
Json finite_or_null(const std::optional<double>& value) {
  return value && std::isfinite(*value) ? Json(*value) : Json(nullptr);
}

Json text_or_null(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

Json metric_json(const Comparison& c) {
  return {{"name", c.metric.name},
          {"unit", text_or_null(c.metric.unit)},
          {"better", better_name(c.metric.better)},
          {"a", finite_or_null(c.a)},
          {"b", finite_or_null(c.b)},
          {"change", finite_or_null(c.change)},
          {"ci_low", finite_or_null(c.ci_low)},
          {"ci_high", finite_or_null(c.ci_high)},
          {"p", finite_or_null(c.p)},
          {"q", finite_or_null(c.q)},
          {"n", c.n},
          {"margin", c.metric.margin},
          {"minimum_detectable", finite_or_null(c.minimum_detectable)},
          {"gating", c.metric.gating},
          {"verdict", verdict_name(c.verdict)}};
}

Json change_json(const HistoryChange& c) {
  return {{"metric", c.metric},
          {"index", c.index},
          {"time", text_or_null(c.time)},
          {"before", finite_or_null(c.point.before)},
          {"after", finite_or_null(c.point.after)},
          {"change", finite_or_null(c.point.change)},
          {"p", finite_or_null(c.point.p)},
          {"worse", c.worse},
          {"acknowledged", c.acknowledged},
          {"recovered", c.recovered}};
}

}  // namespace

std::string judgement_json(const Judgement& judgement) {
  Json json;
  json["schema_version"] = kGateSchemaVersion;
  json["verdict"] = verdict_name(judgement.verdict);
  json["exit_code"] = judgement.exit_code;
  json["mode"] = judgement.mode;
  json["seed"] = judgement.seed;
  json["reasons"] = judgement.reasons;
  json["metrics"] = Json::array();
  for (const Comparison& c : judgement.metrics) json["metrics"].push_back(metric_json(c));
  if (judgement.mode == "history") {
    json["changes"] = Json::array();
    for (const HistoryChange& c : judgement.changes) json["changes"].push_back(change_json(c));
  }
  return dump_json(json, 2);
}

}  // namespace topspin
