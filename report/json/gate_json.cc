// The gate's judgement as JSON, and back.
#include <cmath>

#include <fmt/format.h>

#include "ci/judgement/cause_changes.h"
#include "ci/judgement/settled_verdict.h"
#include "report/json/reports.h"
#include "report/json/values.h"

namespace topspin {
namespace {

constexpr int kGateSchemaVersion = 1;
constexpr uint64_t kExitMost = 255;

Json metric_json(const Judgement& judgement, const Comparison& c) {
  return {{"name", c.metric.name},
          {"unit", text_or_null(c.metric.unit)},
          {"better", better_name(c.metric.better)},
          {"a", json_or_null(c.a)},
          {"b", json_or_null(c.b)},
          {"change", json_or_null(c.change)},
          {"ci_low", json_or_null(c.ci_low)},
          {"ci_high", json_or_null(c.ci_high)},
          {"p", json_or_null(c.p)},
          {"q", json_or_null(c.q)},
          {"n", c.n},
          {"margin", c.metric.margin},
          {"absolute", c.absolute},  // changes are differences in the unit, not shares
          {"minimum_detectable", json_or_null(c.minimum_detectable)},
          {"gating", c.metric.gating},
          {"verdict", verdict_name(settled_verdict(judgement, c))},
          {"own_verdict", verdict_name(c.verdict)},  // from its numbers only
          {"reason", text_or_null(c.reason)}};
}

Json change_json(const HistoryChange& c) {
  return {{"metric", c.metric},
          {"index", c.index},
          {"time", text_or_null(c.time)},
          {"before", json_or_null(c.point.before)},
          {"after", json_or_null(c.point.after)},
          {"change", json_or_null(c.point.change)},
          {"p", json_or_null(c.point.p)},
          {"worse", c.worse},
          {"acknowledged", c.acknowledged},
          {"recovered", c.recovered},
          {"run", text_or_null(c.run_id)},
          {"because", text_or_null(c.because)}};
}

Json distribution_json(const Distribution& d) {
  Json bars = Json::array();
  for (const DistributionBar& bar : d.bars)
    bars.push_back({{"from_ns", bar.from_ns}, {"to_ns", bar.to_ns}, {"a", bar.a}, {"b", bar.b}});
  return {{"name", d.name},
          {"a", latency_json(d.a)},
          {"b", latency_json(d.b)},
          {"bars", std::move(bars)}};
}

/// Fields that may be missing or of another type, which gives nullopt.
std::optional<double> number_at(const Json& json, const char* name) {
  const auto at = json.find(name);
  return at != json.end() && at->is_number() ? std::optional(at->get<double>()) : std::nullopt;
}
std::optional<uint64_t> count_at(const Json& json, const char* name) {
  const auto at = json.find(name);
  return at != json.end() && at->is_number_unsigned() ? std::optional(at->get<uint64_t>())
                                                      : std::nullopt;
}
std::optional<std::string> text_at(const Json& json, const char* name) {
  const auto at = json.find(name);
  return at != json.end() && at->is_string() ? std::optional(at->get<std::string>()) : std::nullopt;
}
std::optional<Verdict> verdict_at(const Json& json, const char* key = "verdict") {
  const auto name = text_at(json, key);
  for (const Verdict verdict :
       {Verdict::kPass, Verdict::kFail, Verdict::kInconclusive, Verdict::kInvalid}) {
    if (name == verdict_name(verdict)) return verdict;
  }
  return std::nullopt;
}

std::optional<Comparison> parse_metric(const Json& json) {
  if (!json.is_object()) return std::nullopt;
  const auto name = text_at(json, "name");
  // Documents of older versions have only one verdict, which is the metric's own.
  const auto verdict = verdict_at(json, json.contains("own_verdict") ? "own_verdict" : "verdict");
  const auto margin = number_at(json, "margin");
  const auto gating = json.find("gating");
  if (!name || !verdict || !margin || gating == json.end() || !gating->is_boolean())
    return std::nullopt;
  Comparison c;
  c.metric.name = *name;
  c.metric.unit = text_at(json, "unit").value_or("");
  c.metric.better = text_at(json, "better") == "higher" ? Better::kHigher : Better::kLower;
  c.metric.margin = *margin;
  const auto absolute = json.find("absolute");
  c.absolute = absolute != json.end() && absolute->is_boolean() && absolute->get<bool>();
  c.metric.absolute = c.absolute && c.metric.unit == kUnitOfShares;
  c.metric.gating = gating->get<bool>();
  c.a = number_at(json, "a");
  c.b = number_at(json, "b");
  c.change = number_at(json, "change");
  c.ci_low = number_at(json, "ci_low");
  c.ci_high = number_at(json, "ci_high");
  c.p = number_at(json, "p");
  c.q = number_at(json, "q");
  c.n = count_at(json, "n").value_or(0);
  c.minimum_detectable = number_at(json, "minimum_detectable");
  c.margin = c.absolute && !c.metric.absolute ? *margin * std::abs(c.a.value_or(0)) : *margin;
  c.verdict = *verdict;
  c.reason = text_at(json, "reason").value_or("");
  return c;
}

}  // namespace

Result<Judgement> parse_judgement(std::string_view text, std::string_view name) {
  const Error wrong = make_error(
      ErrorCode::kInput,
      fmt::format("{} is not a judgement; make one with `topspin gate --format json`", name));
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object() || count_at(json, "schema_version") != kGateSchemaVersion) return wrong;
  const auto verdict = verdict_at(json);
  const auto mode = text_at(json, "mode");
  const auto reasons = json.find("reasons"), metrics = json.find("metrics");
  if (!verdict || !mode || reasons == json.end() || !reasons->is_array() || metrics == json.end() ||
      !metrics->is_array())
    return wrong;
  Judgement judgement;
  judgement.verdict = *verdict;
  const uint64_t exit_code = count_at(json, "exit_code").value_or(kExitNotJudged);
  judgement.exit_code = exit_code <= kExitMost ? static_cast<int>(exit_code) : kExitNotJudged;
  judgement.mode = *mode;
  judgement.seed = count_at(json, "seed").value_or(0);
  for (const Json& reason : *reasons) {
    if (!reason.is_string()) return wrong;
    judgement.reasons.push_back(reason.get<std::string>());
  }
  if (const auto slos = json.find("slos"); slos != json.end() && slos->is_array()) {
    for (const Json& slo : *slos) {
      if (!slo.is_object()) return wrong;
      judgement.slos.push_back(
          {text_at(slo, "rule").value_or(""), count_at(slo, "kept").value_or(0),
           count_at(slo, "broken").value_or(0), count_at(slo, "unknown").value_or(0),
           text_at(slo, "run").value_or(""), text_at(slo, "explanation").value_or("")});
    }
  }
  for (const Json& metric : *metrics) {
    const auto parsed = parse_metric(metric);
    if (!parsed) return wrong;
    judgement.metrics.push_back(*parsed);
  }
  return judgement;
}

std::string judgement_json(const Judgement& judgement) {
  Json json;
  json["schema_version"] = kGateSchemaVersion;
  json["verdict"] = verdict_name(judgement.verdict);
  json["exit_code"] = judgement.exit_code;
  json["mode"] = judgement.mode;
  json["seed"] = judgement.seed;
  json["paired"] = judgement.paired;
  json["reasons"] = judgement.reasons;
  json["metrics"] = Json::array();
  for (const Comparison& c : judgement.metrics)
    json["metrics"].push_back(metric_json(judgement, c));
  json["why"] = text_or_null(judgement.why);
  json["causes"] = Json::array();
  for (const Comparison& c : judgement.causes) {
    json["causes"].push_back({{"number", c.metric.name},
                              {"label", cause_label(c.metric.name)},
                              {"a_ns_a_reply", json_or_null(c.a)},
                              {"b_ns_a_reply", json_or_null(c.b)},
                              {"change_ns", json_or_null(c.change)},
                              {"ci_low_ns", json_or_null(c.ci_low)},
                              {"ci_high_ns", json_or_null(c.ci_high)},
                              {"q", json_or_null(c.q)},
                              {"changed", has_changed(c)}});
  }
  json["costs_per"] =
      judgement.costs.empty() ? Json() : Json(judgement.costs_per_reply ? "reply" : "second");
  json["costs"] = Json::array();
  for (const CostChange& c : judgement.costs) {
    json["costs"].push_back({{"kind", cost_kind_name(c.kind)},
                             {"name", c.of.metric.name},
                             {"a_ns", json_or_null(c.of.a)},
                             {"b_ns", json_or_null(c.of.b)},
                             {"a_times", c.times_a},
                             {"b_times", c.times_b},
                             {"change_ns", json_or_null(c.of.change)},
                             {"ci_low_ns", json_or_null(c.of.ci_low)},
                             {"ci_high_ns", json_or_null(c.of.ci_high)},
                             {"q", json_or_null(c.of.q)},
                             {"changed", has_changed(c.of)}});
  }
  if (judgement.mode == "history") {
    json["changes"] = Json::array();
    for (const HistoryChange& c : judgement.changes) json["changes"].push_back(change_json(c));
  }
  json["not_comparable"] = judgement.not_comparable;
  if (!judgement.slos.empty()) {
    json["slos"] = Json::array();
    for (const SloOutcome& o : judgement.slos) {
      json["slos"].push_back({{"rule", o.rule},
                              {"kept", o.kept},
                              {"broken", o.broken},
                              {"unknown", o.unknown},
                              {"run", text_or_null(o.run_id)},
                              {"explanation", text_or_null(o.explanation)}});
    }
  }
  if (judgement.pairs) {
    json["pairs"] = {{"judged", judgement.pairs->judged},
                     {"wanted", judgement.pairs->wanted},
                     {"most", kMostPairs}};
  }
  if (!judgement.distributions.empty()) {
    json["distributions"] = Json::array();
    for (const Distribution& d : judgement.distributions)
      json["distributions"].push_back(distribution_json(d));
  }
  return dump_json(json, 2);
}

std::string aa_check_json(const AaCheck& check) {
  Json json;
  json["schema_version"] = kGateSchemaVersion;
  json["mode"] = "aa";
  json["exit_code"] = check.exit_code;
  json["seed"] = check.seed;
  json["reasons"] = check.reasons;
  json["trials"] = check.trials;
  json["pairs"] = check.pairs;
  json["alarms"] = check.alarms;
  json["passes"] = check.passes;
  json["false_alarm_rate"] = check.trials == 0 ? Json(nullptr) : Json(check.alarm_rate);
  json["false_alarm_rate_high"] = check.trials == 0 ? Json(nullptr) : Json(check.alarm_rate_high);
  json["metrics"] = Json::array();
  for (const AaMetric& m : check.metrics) {
    json["metrics"].push_back({{"name", m.metric.name},
                               {"unit", text_or_null(m.metric.unit)},
                               {"margin", m.metric.margin},
                               {"alarms", m.alarms},
                               {"passes", m.passes},
                               {"minimum_detectable", json_or_null(m.minimum_detectable)}});
  }
  return dump_json(json, 2);
}

}  // namespace topspin
