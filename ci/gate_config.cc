#include "ci/gate_config.h"

#include <charconv>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "ci/judgement/judgement.h"
#include "core/base/text.h"
#include "core/base/toml_document.h"

namespace topspin {
namespace {

constexpr double kMostShare = 10;

/// Knows the file's name, so that each message has name, line and key.
class Reader {
 public:
  explicit Reader(std::string name) { config_.name = std::move(name); }

  Result<GateConfig> read(std::string_view text) && {
    const TomlDocument document = parse_toml(text, config_.name);
    if (!document.table) {
      return make_error(ErrorCode::kUsage, fmt::format("{}, line {}: {}", config_.name,
                                                       document.line, document.error));
    }
    for (const auto& [key, node] : *document.table) {
      if (key.str() == "seed") {
        TOPSPIN_TRY(read_seed(node));
      } else if (key.str() == "strict") {
        TOPSPIN_ASSIGN(config_.strict, read_bool(node, "strict"));
      } else if (key.str() == "lenient") {
        TOPSPIN_ASSIGN(config_.lenient, read_bool(node, "lenient"));
      } else if (key.str() == "slo") {
        TOPSPIN_TRY(read_slo(node));
      } else if (key.str() == "metric") {
        if (!node.is_table()) return wrong(node, "metric", "must be a table such as [metric.NAME]");
        for (const auto& [name, rule] : *node.as_table())
          TOPSPIN_TRY(read_metric(std::string(name.str()), rule));
      } else {
        return wrong(key, key.str(),
                     "is not known; the keys are seed, strict, lenient, slo and [metric.NAME]");
      }
    }
    for (SloRule& rule : config_.slo) rule.lenient = config_.lenient;
    return std::move(config_);
  }

 private:
  /// `where` is a node or a key.
  Error wrong(const auto& where, std::string_view key, std::string_view what) const {
    return make_error(ErrorCode::kUsage, fmt::format("{}, line {}: {} {}", config_.name,
                                                     where.source().begin.line, key, what));
  }

  Status read_seed(const toml::node& node) {
    const auto seed = node.is_integer() ? node.value<int64_t>() : std::nullopt;
    if (!seed || *seed < 0) return wrong(node, "seed", "must be a whole number of 0 or more");
    config_.seed = static_cast<uint64_t>(*seed);
    return {};
  }

  Status read_slo(const toml::node& node) {
    if (!node.is_array()) return wrong(node, "slo", "is not a list of rules");
    for (const toml::node& rule : *node.as_array()) {
      const auto text = rule.is_string() ? rule.value<std::string_view>() : std::nullopt;
      if (!text) return wrong(rule, "slo", "has a rule that is not a string");
      auto parsed = parse_slo(*text);
      if (!parsed.ok()) return wrong(rule, "slo", parsed.error().message);
      config_.slo.push_back(std::move(parsed).value());
    }
    return {};
  }

  Result<bool> read_bool(const toml::node& node, std::string_view key) const {
    const auto value = node.is_boolean() ? node.value<bool>() : std::nullopt;
    if (!value) return wrong(node, key, "must be true or false");
    return *value;
  }

  Result<double> read_margin(const toml::node& node, std::string_view key) const {
    std::optional<double> share;
    if (const auto text = node.value<std::string_view>(); text && node.is_string())
      share = parse_share(*text);
    else if (node.is_number())
      share = node.value<double>();
    if (!share || !(*share >= 0 && *share <= kMostShare))
      return wrong(node, key, "must be a share such as \"3%\" or 0.03");
    return *share;
  }

  Status read_metric(std::string name, const toml::node& node) {
    const std::string path = fmt::format("metric.{}", name);
    if (!node.is_table()) return wrong(node, path, "must be a table such as [metric.NAME]");
    MetricRule rule;
    rule.name = std::move(name);
    rule.line = node.source().begin.line;
    for (const auto& [key, value] : *node.as_table()) {
      const std::string whole = fmt::format("{}.{}", path, key.str());
      if (key.str() == "better") {
        const auto text = value.value<std::string_view>();
        if (text != "lower" && text != "higher")
          return wrong(value, whole, "must be \"lower\" or \"higher\"");
        rule.better = text == "lower" ? Better::kLower : Better::kHigher;
      } else if (key.str() == "unit") {
        rule.unit = value.value<std::string>();
        if (!value.is_string()) return wrong(value, whole, "is no text");
      } else if (key.str() == "margin") {
        TOPSPIN_ASSIGN(rule.margin, read_margin(value, whole));
      } else if (key.str() == "gating") {
        TOPSPIN_ASSIGN(rule.gating, read_bool(value, whole));
      } else {
        return wrong(key, whole, "is not known; the keys are better, unit, margin and gating");
      }
    }
    config_.metrics.push_back(std::move(rule));
    return {};
  }

  GateConfig config_;
};

void apply(const MetricRule& rule, Metric& metric) {
  if (rule.better) metric.better = *rule.better;
  if (rule.unit) metric.unit = *rule.unit;
  if (rule.margin) metric.margin = *rule.margin;
  if (rule.gating) metric.gating = *rule.gating;
}

}  // namespace

Result<GateConfig> parse_gate_config(std::string_view text, std::string name) {
  return Reader(std::move(name)).read(text);
}

void apply_rules(const GateConfig& config, Metric& metric) {
  for (const MetricRule& rule : config.metrics) {
    if (rule.name == metric.name) apply(rule, metric);
  }
}

Result<std::vector<RunMetric>> configured_metrics(const GateConfig& config) {
  std::vector<RunMetric> metrics(run_metrics().begin(), run_metrics().end());
  for (const MetricRule& rule : config.metrics) {
    RunMetric* known = nullptr;
    std::vector<std::string_view> names;
    for (RunMetric& m : metrics) {
      if (m.metric.name == rule.name) known = &m;
      names.push_back(m.metric.name);
    }
    if (known == nullptr) {
      const auto near = nearest_word(rule.name, names);
      return make_error(
          ErrorCode::kUsage,
          fmt::format("{}, line {}: stored runs have no metric {}; {}they have {}", config.name,
                      rule.line, rule.name, near ? fmt::format("did you mean {}? ", *near) : "",
                      fmt::join(names, ", ")));
    }
    if (rule.unit && *rule.unit != known->metric.unit) {
      return make_error(ErrorCode::kUsage,
                        fmt::format("{}, line {}: metric.{}.unit is \"{}\" and cannot be changed, "
                                    "because stored runs have units; leave it out",
                                    config.name, rule.line, rule.name, known->metric.unit));
    }
    apply(rule, known->metric);
  }
  size_t gating = 0;
  for (const RunMetric& m : metrics) gating += m.metric.gating ? 1 : 0;
  if (gating > kMostGatingMetrics) {
    return make_error(ErrorCode::kUsage,
                      fmt::format("{}: {} metrics would gate; with more than {} a true change is "
                                  "hard to see, so set gating = false for some",
                                  config.name, gating, kMostGatingMetrics));
  }
  return metrics;
}

std::optional<double> parse_share(std::string_view text) {
  const bool percent = text.ends_with('%');
  if (percent) text.remove_suffix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (percent) value /= 100;
  if (error != std::errc() || end != text.data() + text.size() ||
      !(value >= 0 && value <= kMostShare))
    return std::nullopt;
  return value;
}

}  // namespace topspin
