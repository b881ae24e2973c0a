// How `topspin run` prints names that others chose.
#include "app/commands/run_output.h"

#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "report/markdown/markdown_report.h"
#include "report/text/text_report.h"

namespace topspin {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr const char* kHostile = "a|b <img src=x>\n::error file=a.c::pwned\n`x` \x1b[31m @team";

std::string text_of(bool markdown) {
  Plan plan;
  plan.name = kHostile;
  plan.subjects.resize(2);
  plan.subjects[0].name = kHostile;
  plan.subjects[1].name = "::warning::y";
  SloRule rule;
  rule.text = kHostile;
  plan.rules.push_back(rule);
  SessionResult result;
  for (size_t subject = 0; subject < 2; ++subject) {
    SessionRun run;
    run.planned.subject = subject;
    run.planned.repeat = 1;
    run.subject = plan.subjects[subject].name;
    run.measured.run.end.status = RunStatus::kComplete;
    run.slos.emplace_back();
    run.slos[0].rule = rule.text;
    run.slos[0].verdict = SloVerdict::kBroken;
    run.slos[0].explanation = kHostile;
    if (subject == 1) run.measured.run.end.invalid_reasons = {kHostile};
    result.runs.push_back(std::move(run));
  }
  SessionOptions options;
  options.database = kHostile;
  const document::Document document = session_document(plan, options, result);
  return markdown ? document_markdown(document, kStepSummaryBytes) : document_text(document);
}

/// The three terms have the same meaning as in list, reports and the gate.
TEST(RunOutput, CompleteUsableAndMayBeJudgedAreThreeThings) {
  Plan plan;
  plan.subjects.resize(1);
  plan.subjects[0].name = "s";
  SessionResult result;
  const auto add = [&](RunStatus status, std::vector<std::string> doubts) {
    SessionRun& run = result.runs.emplace_back();
    run.subject = "s";
    run.measured.run.end.status = status;
    run.measured.run.end.doubts = std::move(doubts);
    run.measured.totals.ticks = 10;
    run.measured.totals.interval_ns = 10'000'000'000;
  };
  add(RunStatus::kComplete, {});
  add(RunStatus::kComplete, {"the clock was set back"});
  add(RunStatus::kComplete, {"the split of replies has 0 of the 60 that the wire saw (0%)"});
  add(RunStatus::kInterrupted, {});
  const std::string text = document_text(session_document(plan, {}, result));
  EXPECT_THAT(text, testing::ContainsRegex("\n  complete +3 of 4\n"));
  EXPECT_THAT(text, testing::ContainsRegex("\n  usable +4 of 4\n"));
  EXPECT_THAT(text, testing::ContainsRegex("\n  may be judged +2 of 4\n"));
  for (const char* row : {"may not be judged +s +0 +a number of it is doubtful: the clock",
                          "not complete +s +0 +its status is interrupted",
                          "doubtful +s +0 +the split of replies [(]socket_wait"})
    EXPECT_THAT(text, testing::ContainsRegex(row));
  EXPECT_THAT(text, Not(HasSubstr("not usable")));
}

TEST(RunOutput, HostileNamesStayOnTheirLineAndAreNoCommands) {
  for (const bool markdown : {false, true}) {
    SCOPED_TRACE(markdown);
    const std::string text = text_of(markdown);
    EXPECT_THAT(text, Not(HasSubstr("\x1b")));
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      const size_t first = line.find_first_not_of(" |");
      if (first != std::string::npos) {
        EXPECT_NE(line.substr(first, 7), "::error") << line;
      }
      EXPECT_FALSE(line.starts_with("::")) << line;
    }
  }
}

TEST(RunOutput, HostileNamesAreNoMarkupInMarkdown) {
  const std::string text = text_of(true);
  std::istringstream lines(text);
  size_t table_lines = 0, columns = 0;
  std::string before = "x";
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("|")) {
      size_t bars = 0;
      for (size_t i = 0; i < line.size(); ++i)
        bars += line[i] == '|' && (i == 0 || line[i - 1] != '\\') ? 1 : 0;
      if (columns == 0) columns = bars;
      ++table_lines;
      EXPECT_EQ(bars, columns) << line;
    } else {
      columns = 0;  // of the next table
    }
    if (line.starts_with("    ")) {  // code, if the line before it is code or empty
      EXPECT_TRUE(before.empty() || before.starts_with("    ")) << line;
    } else {
      EXPECT_THAT(line, Not(HasSubstr("<img")));
      EXPECT_THAT(line, Not(HasSubstr(" @team")));
    }
    before = line;
  }
  EXPECT_GT(table_lines, 2u);
}

}  // namespace
}  // namespace topspin
