// gate.toml: what it changes, and that each error names its line and key.
#include "ci/gate_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ci/judgement/judgement.h"

namespace topspin {
namespace {

using testing::HasSubstr;

TEST(GateConfig, ChangesWhatItNamesAndNothingElse) {
  const auto config = parse_gate_config(R"(
seed = 7
strict = true
[metric.cpu_ns_per_packet]
gating = true
margin = "5%"
[metric.packets_per_second]
better = "lower"
margin = 0.25
unit = "1/s"
)",
                                        "gate.toml");
  ASSERT_TRUE(config.ok()) << config.error().message;
  EXPECT_EQ(config->seed, 7u);
  EXPECT_EQ(config->strict, true);
  const auto metrics = configured_metrics(*config);
  ASSERT_TRUE(metrics.ok()) << metrics.error().message;
  ASSERT_EQ(metrics->size(), run_metrics().size());
  for (size_t i = 0; i < metrics->size(); ++i) {
    const Metric& now = (*metrics)[i].metric;
    const Metric& before = run_metrics()[i].metric;
    if (now.name == "cpu_ns_per_packet") {
      EXPECT_TRUE(now.gating);
      EXPECT_DOUBLE_EQ(now.margin, 0.05);
      EXPECT_EQ(now.better, before.better);
    } else if (now.name == "packets_per_second") {
      EXPECT_EQ(now.better, Better::kLower);
      EXPECT_DOUBLE_EQ(now.margin, 0.25);
      EXPECT_FALSE(now.gating);
    } else {
      EXPECT_EQ(now.margin, before.margin);
      EXPECT_EQ(now.gating, before.gating);
      EXPECT_EQ(now.better, before.better);
    }
  }
  Metric column;
  column.name = "cpu_ns_per_packet";
  apply_rules(*config, column);
  EXPECT_DOUBLE_EQ(column.margin, 0.05);
}

TEST(GateConfig, AnEmptyFileChangesNothing) {
  const auto config = parse_gate_config("# nothing\n", "gate.toml");
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(configured_metrics(*config)->size(), run_metrics().size());
}

TEST(GateConfig, EachMistakeNamesLineAndKey) {
  const struct {
    const char* text;
    const char* line;
    const char* part;
  } kCases[] = {
      {"seed = \"x\"", "line 1", "seed"},
      {"seed = -1", "line 1", "seed"},
      {"\nstrict = 1", "line 2", "strict must be true or false"},
      {"\n\nmargin = 3", "line 3", "margin is not known"},
      {"metric = 3", "line 1", "metric must be a table"},
      {"[metric.x]\nmargin = \"much\"", "line 2", "metric.x.margin must be a share"},
      {"[metric.x]\nmargin = -0.1", "line 2", "metric.x.margin"},
      {"[metric.x]\nmargin = nan", "line 2", "metric.x.margin"},
      {"[metric.x]\nmargin = true", "line 2", "metric.x.margin"},
      {"[metric.x]\nbetter = \"green\"", "line 2", "metric.x.better"},
      {"[metric.x]\nbetter = 1", "line 2", "metric.x.better"},
      {"[metric.x]\nunit = 1", "line 2", "metric.x.unit"},
      {"[metric.x]\n\ngating = \"yes\"", "line 3", "metric.x.gating"},
      {"[metric.x]\npigs = 1", "line 2", "metric.x.pigs is not known"},
      {"[metric]\nx = 1", "line 2", "metric.x must be a table"},
      {"[metric.x", "line 1", ""},
      {"a = 1\na = 2", "line 2", ""},
  };
  for (const auto& c : kCases) {
    const auto config = parse_gate_config(c.text, "my.toml");
    ASSERT_FALSE(config.ok()) << c.text;
    EXPECT_EQ(config.error().code, ErrorCode::kUsage);
    EXPECT_THAT(config.error().message, HasSubstr("my.toml")) << c.text;
    EXPECT_THAT(config.error().message, HasSubstr(c.line)) << c.text;
    EXPECT_THAT(config.error().message, HasSubstr(c.part)) << c.text;
  }
}

TEST(GateConfig, StoredRunsHaveTheirOwnNamesAndUnits) {
  const auto refused = [](const char* text) {
    const auto config = parse_gate_config(text, "gate.toml");
    EXPECT_TRUE(config.ok()) << config.error().message;
    const auto metrics = configured_metrics(*config);
    EXPECT_FALSE(metrics.ok());
    return metrics.ok() ? std::string() : metrics.error().message;
  };
  EXPECT_THAT(refused("\n[metric.cpu]\ngating = true"),
              HasSubstr("line 2: stored runs have no metric cpu"));
  EXPECT_THAT(refused("[metric.cpu_ns_per_fow]\ngating = true"),
              HasSubstr("did you mean cpu_ns_per_flow?"));
  EXPECT_THAT(refused("[metric.cpu_ns_per_flow]\nunit = \"s\""), HasSubstr("is \"ns\""));
  std::string all;
  for (const RunMetric& m : run_metrics()) all += "[metric." + m.metric.name + "]\ngating = true\n";
  EXPECT_THAT(refused(all.c_str()), HasSubstr("would gate"));
}

TEST(ParseShare, TakesPercentAndFractions) {
  EXPECT_EQ(parse_share("5%"), 0.05);
  EXPECT_EQ(parse_share("0.05"), 0.05);
  EXPECT_EQ(parse_share("0"), 0.0);
  for (const char* wrong : {"", "%", "5 %", "x", "-1%", "5%%", "nan", "1e9"})
    EXPECT_EQ(parse_share(wrong), std::nullopt) << wrong;
}

}  // namespace
}  // namespace topspin
