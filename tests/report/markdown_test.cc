// Reports in Markdown: they stay within GitHub's limits and are harmless whatever the names are.
#include <sstream>

#include <gtest/gtest.h>

#include "report/markdown/markdown_report.h"
#include "report/text/text_report.h"
#include "tests/report/report_testing.h"
#include "tests/support/every_night.h"

namespace topspin::test {
namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::string line;
  for (std::istringstream in(text); std::getline(in, line);) lines.push_back(line);
  return lines;
}

TEST(MarkdownText, LeavesNoMarkupLinkOrMention) {
  EXPECT_EQ(markdown_text("plain 1.5 s, 20% left: a/b"), "plain 1.5 s, 20% left: a/b");
  EXPECT_EQ(markdown_text("a|b"), "a&#124;b");
  EXPECT_EQ(markdown_text("@octocat"), "&#64;\u2060octocat");
  EXPECT_EQ(markdown_text("#12"), "&#35;\u206012");
  EXPECT_EQ(markdown_text("http://x"), "http&#58;//x");
  EXPECT_EQ(markdown_text("www.x"), "www&#46;x");
  EXPECT_EQ(markdown_text("<b>&"), "&#60;b&#62;&#38;");
  EXPECT_EQ(markdown_text("_a_b_"), "&#95;a_b&#95;");
  EXPECT_EQ(markdown_text("two  spaces"), "two spaces");
  const std::string harmless = markdown_text(kHostile, 1000);
  for (const char c : std::string("|`*_~[]()<>!\\$\"\n\r\x1b"))
    EXPECT_EQ(harmless.find(c), std::string::npos) << c;
  EXPECT_EQ(harmless.find("://"), std::string::npos);
}

/// Every row of a table has as many cells as its head, and the text has no tags but our own.
void expect_sound(const std::string& text) {
  size_t cells = 0;
  for (const std::string& line : lines_of(text)) {
    if (!line.starts_with("|")) {
      cells = 0;
      continue;
    }
    const auto bars = static_cast<size_t>(std::count(line.begin(), line.end(), '|'));
    if (cells == 0) cells = bars;
    EXPECT_EQ(bars, cells) << line;
  }
  for_each_tag(text, [](const std::string& name, bool) {
    EXPECT_TRUE(name == "code" || name == "details" || name == "summary" || name == "sub") << name;
  });
  EXPECT_EQ(text.find("@octocat"), std::string::npos);
  EXPECT_EQ(text.find("](http"), std::string::npos);
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
}

TEST(Markdown, OfARunIsSoundWithHostileNames) {
  TemporaryDirectory directory;
  const std::string a = store_report_run(directory.file());
  const std::string text = markdown_report(read_page(directory.file(), {a}), kStepSummaryBytes);
  EXPECT_TRUE(text.starts_with("## Findings\n\n- **")) << text.substr(0, 40);
  EXPECT_NE(text.find("\n## ✅ Usable\n"), std::string::npos);
  EXPECT_EQ(text.find("Left out"), std::string::npos);
  for (const char* part :
       {"Lateness p99", "Reply latency", "Over time", "Threads", "Busiest flows"})
    EXPECT_NE(text.find(part), std::string::npos) << part;
  expect_sound(text);

  ReportPage page = read_page(directory.file(), {a});
  page.runs[0].slos = {broken_rule()};
  const std::string broken = markdown_report(page, kStepSummaryBytes);
  EXPECT_NE(broken.find("\n## ❌ Rules broken\n"), std::string::npos);
  EXPECT_NE(broken.find("**broken**"), std::string::npos);
  EXPECT_NE(broken.find("\n| all | "), std::string::npos) << "the load as a whole";
  expect_sound(broken);
}

TEST(Traffic, NamesConnectionsThatWereNeverCompleted) {
  FileReading reading;
  reading.totals.tcp_half_open = 160;
  reading.totals.tcp_never_completed = 0;
  EXPECT_EQ(file_reading_text(reading).find("completed"), std::string::npos) << "just begun";
  reading.totals.tcp_never_completed = 150;
  EXPECT_NE(file_reading_text(reading).find("TCP connections never completed"), std::string::npos);
}

TEST(Markdown, DropsTheLeastImportantAndSaysSo) {
  TemporaryDirectory directory;
  const std::string a = store_report_run(directory.file());
  const ReportPage page = read_page(directory.file(), {a});
  const std::string whole = markdown_report(page, kStepSummaryBytes);
  EXPECT_LE(whole.size(), kCommentBytes);
  size_t last = whole.size() + 1;
  const auto step = static_cast<size_t>(test::repeats(1000, 250));
  for (size_t limit = whole.size() + 100; limit >= kLeastMarkdownBytes; limit -= step) {
    const std::string text = markdown_report(page, limit);
    EXPECT_LE(text.size(), limit);
    EXPECT_LE(text.size(), last);
    last = text.size();
    EXPECT_NE(text.find("## ✅ Usable\n"), std::string::npos);
    EXPECT_EQ(text.find("Left out") != std::string::npos, text != whole) << limit;
    expect_sound(text);
  }
  const std::string least = markdown_report(page, 0);
  EXPECT_LE(least.size(), kLeastMarkdownBytes);
  EXPECT_NE(least.find("Left out to fit: findings, headline numbers, the runs"), std::string::npos)
      << least;
}

Judgement failing() {
  Judgement judgement;
  judgement.mode = "ab";
  judgement.verdict = Verdict::kFail;
  judgement.exit_code = 1;
  judgement.reasons = {kHostile, "reply_latency_ns_p99 is worse by 12%"};
  Comparison c;
  c.metric = {kHostile, "ns", Better::kLower, 0.1, true};
  c.a = 1e6;
  c.b = 1.12e6;
  c.change = 0.12;
  c.ci_low = 0.11;
  c.ci_high = INFINITY;
  c.n = 20;
  c.verdict = Verdict::kFail;
  judgement.metrics = {c, c};
  return judgement;
}

TEST(Markdown, OfAGateSaysTheVerdictFirst) {
  const std::string text = judgement_markdown(failing(), kCommentBytes);
  EXPECT_TRUE(text.starts_with("## ❌ Fail\n"));
  EXPECT_NE(text.find("- reply_latency_ns_p99 is worse by 12%"), std::string::npos) << text;
  EXPECT_NE(text.find("**fail**"), std::string::npos);
  EXPECT_NE(text.find("+12.0%"), std::string::npos) << text;
  expect_sound(text);
}

TEST(Markdown, AFloodOfReasonsIsCutAndCounted) {
  Judgement judgement = failing();
  judgement.reasons.assign(10'000, kHostile);
  for (const size_t limit : {kLeastMarkdownBytes, size_t{5'000}, kCommentBytes}) {
    const std::string text = judgement_markdown(judgement, limit);
    EXPECT_LE(text.size(), limit);
    EXPECT_NE(text.find(" more\n"), std::string::npos);
    expect_sound(text);
  }
}

TEST(Markdown, OfAAndBAndOfAHistory) {
  TemporaryDirectory directory;
  store_report_run(directory.file(), {.name = "a"});
  store_report_run(directory.file(),
                   {.started_wall_ns = 1'700'001'000 * kSecond, .slow = 2, .side = "b"});
  const std::string compared =
      markdown_report(read_page(directory.file(), {"side=a", "side=b"}), kCommentBytes);
  EXPECT_NE(compared.find("| Metric | A | B | Change |"), std::string::npos);
  EXPECT_NE(compared.find("- **B** "), std::string::npos);
  expect_sound(compared);
  const std::string history =
      markdown_report(read_page(directory.file(), {"side=a", "side=b", "last"}), kCommentBytes);
  EXPECT_NE(history.find("History of 2 runs"), std::string::npos);
  expect_sound(history);
}

}  // namespace
}  // namespace topspin::test
