// A judgement as JUnit XML and as GitHub annotations, with hostile names. XML parsers read the
// first, and the second is checked by the rules of GitHub's runner.
#include <fstream>
#include <sstream>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "exported_run.h"
#include "report/export/export.h"
#include "report/json/reports.h"

namespace topspin::test {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;

Comparison metric(const std::string& name, Verdict verdict, bool gating = true) {
  Comparison c;
  c.metric.name = name;
  c.metric.unit = "ns";
  c.metric.gating = gating;
  c.a = 100;
  c.b = 110;
  c.change = 0.1;
  c.n = 10;
  c.verdict = verdict;
  if (verdict != Verdict::kPass) c.reason = hostile("because ");
  return c;
}

Judgement judgement(Verdict verdict) {
  Judgement j;
  j.verdict = verdict;
  j.mode = "ab";
  j.seed = 7;
  j.reasons = {hostile("reason ")};
  j.metrics = {metric("good", Verdict::kPass), metric(hostile("bad"), Verdict::kFail),
               metric("open", Verdict::kInconclusive), metric("aside", Verdict::kFail, false)};
  return j;
}

constexpr const char* kReadJunit = R"(
import json, sys
import xml.etree.ElementTree as tree
root = tree.parse(sys.argv[1]).getroot()
assert root.tag == 'testsuites'
suite, = root
print(json.dumps({'attributes': suite.attrib,
  'properties': {p.get('name'): p.get('value') for p in suite.iter('property')},
  'cases': [{'name': c.get('name'), 'kind': [k.tag for k in c], 'message': [k.get('message') for k in c]}
            for c in suite.iter('testcase')]}))
)";

class ExportJudgement : public testing::Test {
 protected:
  Json read_junit(const Judgement& j) {
    const std::string file = dir_.file("gate.xml");
    std::ofstream(file, std::ios::binary) << judgement_junit(j);
    if (has_program("xmllint")) {
      const Outcome lint = test::run({"xmllint", "--noout", file});
      EXPECT_EQ(lint.exit_code, 0) << lint.err;
    }
    return python(kReadJunit, file);
  }
  TempDir dir_;
};

TEST_F(ExportJudgement, JunitHasACaseForEachGatingMetric) {
  const Json json = read_junit(judgement(Verdict::kFail));
  ASSERT_EQ(json["cases"].size(), 3u);
  EXPECT_EQ(json["attributes"]["tests"], "3");
  EXPECT_EQ(json["attributes"]["failures"], "1");
  EXPECT_EQ(json["attributes"]["skipped"], "1");
  EXPECT_EQ(json["attributes"]["errors"], "0");
  EXPECT_EQ(json["properties"]["verdict"], "fail");
  EXPECT_EQ(json["properties"]["seed"], "7");
  EXPECT_EQ(json["cases"][0]["kind"], Json({"system-out"}));
  EXPECT_EQ(json["cases"][1]["kind"], Json({"failure"}));
  EXPECT_EQ(json["cases"][1]["name"], replace_unprintable(hostile("bad")));
  EXPECT_EQ(json["cases"][1]["message"][0], replace_unprintable(hostile("because ")));
  EXPECT_EQ(json["cases"][2]["kind"], Json({"skipped"}));
}

TEST_F(ExportJudgement, OfAnInvalidJudgementNothingFailsButItself) {
  const Json json = read_junit(judgement(Verdict::kInvalid));
  EXPECT_EQ(json["attributes"]["errors"], "1");
  EXPECT_EQ(json["attributes"]["failures"], "0");
  EXPECT_EQ(json["attributes"]["skipped"], "3");
  EXPECT_EQ(json["cases"][0]["kind"], Json({"error"}));
}

TEST_F(ExportJudgement, WhereTheWholeIsInconclusiveNoMetricFails) {
  const Json json = read_junit(judgement(Verdict::kInconclusive));
  EXPECT_EQ(json["attributes"]["failures"], "0");
  EXPECT_EQ(json["attributes"]["skipped"], "2");
  EXPECT_EQ(judgement_github(judgement(Verdict::kInconclusive)).find("::error title"),
            std::string::npos);
}

TEST(ExportGithub, HostileTextBeginsNoCommandOfItsOwn) {
  for (const Verdict verdict :
       {Verdict::kPass, Verdict::kFail, Verdict::kInconclusive, Verdict::kInvalid}) {
    const std::string text = judgement_github(judgement(verdict));
    std::istringstream lines(text);
    size_t count = 0;
    for (std::string line; std::getline(lines, line); ++count) {
      EXPECT_TRUE(line.starts_with("::error title=topspin gate%3A ") ||
                  line.starts_with("::warning title=topspin gate%3A ") ||
                  line.starts_with("::notice title=topspin gate%3A "))
          << line;
      for (const char c : line) EXPECT_GE(static_cast<unsigned char>(c), 0x20) << line;
      EXPECT_EQ(line.find("%0A"), std::string::npos) << "would become a line end: " << line;
      EXPECT_NE(line.find("%250A"), std::string::npos) << line;
    }
    EXPECT_EQ(count, verdict == Verdict::kFail ? 2u : 1u) << text;
  }
}

TEST(GateJson, AMetricsVerdictIsTheOneThatTheTextShows) {
  const auto verdicts = [](Verdict whole) {
    std::vector<std::string> settled, own;
    const Json json = Json::parse(judgement_json(judgement(whole)));
    for (const Json& metric : json["metrics"]) {
      settled.push_back(metric["verdict"]);
      own.push_back(metric["own_verdict"]);
    }
    EXPECT_EQ(own, (std::vector<std::string>{"pass", "fail", "inconclusive", "fail"}));
    return settled;
  };
  EXPECT_EQ(verdicts(Verdict::kInvalid), std::vector<std::string>(4, "invalid"));
  EXPECT_EQ(verdicts(Verdict::kFail),
            (std::vector<std::string>{"pass", "fail", "inconclusive", "fail"}));
}

TEST(GateJson, AJudgementComesBackFromItsJson) {
  for (const Verdict verdict :
       {Verdict::kPass, Verdict::kFail, Verdict::kInconclusive, Verdict::kInvalid}) {
    Judgement before = judgement(verdict);
    before.exit_code = 3;
    const auto after = parse_judgement(judgement_json(before), "x");
    ASSERT_TRUE(after.ok()) << after.error().message;
    EXPECT_EQ(judgement_json(*after), judgement_json(before));
  }
  for (const char* code : {"355555555555555555555", "-1", "256", "2.5", "\"1\""}) {
    const auto odd = parse_judgement(
        fmt::format(
            R"({{"schema_version":1,"verdict":"fail","mode":"ab","reasons":[],"metrics":[],)"
            R"("exit_code":{}}})",
            code),
        "x");
    ASSERT_TRUE(odd.ok()) << odd.error().message;
    EXPECT_EQ(odd->exit_code, kExitNotJudged) << code;
  }
  for (const char* wrong :
       {"", "[]", "{}", "{\"schema_version\":1}", "\xff",
        R"({"schema_version":1,"verdict":"fail","mode":"ab","reasons":[1],"metrics":[]})",
        R"({"schema_version":1,"verdict":"fail","mode":"ab","reasons":[],"metrics":[{}]})",
        R"({"schema_version":2,"verdict":"fail","mode":"ab","reasons":[],"metrics":[]})"}) {
    const auto result = parse_judgement(wrong, "x.json");
    ASSERT_FALSE(result.ok()) << wrong;
    EXPECT_EQ(result.error().code, ErrorCode::kInput);
    EXPECT_THAT(result.error().message, HasSubstr("x.json"));
  }
}

}  // namespace
}  // namespace topspin::test
