// One report in three formats: they have the same sections in the same order, no text is left
// unescaped by accident, and tables fit a terminal. Also the documents of doctor, load and A/A.
#include <algorithm>
#include <sstream>
#include <type_traits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/tick/numbers.h"
#include "report/html/blocks.h"
#include "report/html/html_report.h"
#include "report/html/html_text.h"
#include "report/markdown/markdown_report.h"
#include "report/sections/all.h"
#include "report/sections/sections.h"
#include "report/text/text.h"
#include "report/text/text_report.h"
#include "tests/report/report_testing.h"

namespace topspin::test {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

static_assert(!std::is_constructible_v<Html, std::string>);
static_assert(!std::is_constructible_v<Markdown, std::string>);
static_assert(!std::is_constructible_v<Text, const char*>);
static_assert(!std::is_convertible_v<Markdown, Html>);

TEST(Escaped, KeepsWordsOfTheSourceAndEscapesTheRest) {
  const Html name = Html::escaped("<b>", 100);
  EXPECT_EQ((Html("<p>") + name).str(), "<p>&lt;b&gt;");
  EXPECT_EQ(Html::format("<p>{} {}</p>", name, 3).str(), "<p>&lt;b&gt; 3</p>");
  EXPECT_EQ(ended_line(Text::escaped("  ::error::x", 100)), "  \\x3a:error::x\n");
}

TEST(Document, SaysOneOrderInAllFormats) {
  TemporaryDirectory directory;
  const std::string id = store_report_run(directory.file(), {.name = "x"});
  const ReportPage page = read_page(directory.file(), {id});
  const document::Document document = sections::report(page);
  ASSERT_GE(document.sections.size(), 10u);
  const std::string text = text_report(page), html = html_report(page);
  const std::string markdown = markdown_report(page, kStepSummaryBytes);
  size_t in_text = 0, in_markdown = 0, in_html = 0;
  const auto next = [](const std::string& report, const std::string& mark, size_t from) {
    const size_t at = report.find(mark, from);
    EXPECT_NE(at, std::string::npos) << mark;
    return at == std::string::npos ? from : at;
  };
  for (const document::Section& section : document.sections) {
    // The text for terminals leaves out this section.
    if (section.id != "numbers") in_text = next(text, "\n" + section.title + "\n", in_text);
    const bool open = section.fold == document::Fold::kOpen;
    in_markdown =
        next(markdown, open ? "### " + section.title : "<summary>" + section.title, in_markdown);
    in_html = next(html, "<section id=\"" + section.id + "\">", in_html);
  }
}

size_t columns_of(const std::string& line) {
  return static_cast<size_t>(
      std::count_if(line.begin(), line.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

/// The width of the widest table row of a text. A row is a line with at least three gaps of two or
/// more spaces.
size_t widest_row(const std::string& text) {
  size_t widest = 0;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    size_t gaps = 0;
    for (size_t at = line.find("  ", 2); at != std::string::npos; at = line.find("  ", at)) {
      ++gaps;
      at = line.find_first_not_of(' ', at);
    }
    if (gaps >= 3) widest = std::max(widest, columns_of(line));
  }
  return widest;
}

TEST(Document, TablesAtATerminalFit) {
  TemporaryDirectory directory;
  const std::string id = store_report_run(directory.file(), {.name = "x"});
  const std::string text = text_report(read_page(directory.file(), {id}));
  EXPECT_GT(widest_row(text), 60u);
  EXPECT_LE(widest_row(text), 100u);
  // A table with more columns than fit says which ones it leaves out.
  EXPECT_NE(text.find("(no room for: "), std::string::npos) << text;
  Judgement judgement;
  Comparison c;
  c.metric = {"context_switches_per_packet", "1", Better::kLower, 0.1, false};
  c.a = 1234.5;
  c.b = 1357.9;
  c.change = c.ci_low = c.ci_high = 0.104;
  c.verdict = Verdict::kInconclusive;
  judgement.metrics = {c};
  const std::string compared = judgement_text(judgement);
  EXPECT_LE(widest_row(compared), 100u) << compared;
  EXPECT_NE(compared.find("(invalid)"), std::string::npos) << "it informs: " << compared;
}

TEST(Document, ReasonsForSleepingStandByTimeInAll) {
  TemporaryDirectory directory;
  const std::string id = store_report_run(directory.file(), {.name = "x"});
  ReportPage page = read_page(directory.file(), {id});
  const auto sections_of = [&] {
    std::vector<document::Section> found;
    for (document::Section& section : sections::report(page).sections)
      if (section.id == "blocked") found.push_back(std::move(section));
    return found;
  };
  page.runs[0].processes.clear();
  EXPECT_TRUE(sections_of().empty()) << "not measured";
  auto& by = page.runs[0].fold.merged.scheduler->blocked_by;
  for (auto& sleeps : by) sleeps.emplace();
  by[static_cast<size_t>(BlockedBy::kFutex)]->record_n(1'000'000, 3);
  by[static_cast<size_t>(BlockedBy::kPageFault)]->record(50'000'000);
  ASSERT_EQ(sections_of().size(), 1u);
  const std::string text = text_report(page);
  const size_t first = text.find("\n  page fault");
  const size_t second = text.find("\n  futex");
  EXPECT_LT(text.find("\nOff the CPU, by reason\n"), first) << text;
  EXPECT_LT(first, second) << "the longest in all stands first";
  EXPECT_NE(second, std::string::npos) << text;
}

TEST(Document, EachDistributionOfTheRegistryIsInEachReport) {
  TemporaryDirectory directory;
  const std::string id = store_report_run(directory.file(), {.name = "x"});
  const ReportPage page = read_page(directory.file(), {id});
  const std::string reports[] = {text_report(page), html_report(page),
                                 markdown_report(page, kStepSummaryBytes)};
  size_t measured = 0;
  for (const RegisteredNumber& number : numbers()) {
    if (!number.histogram) continue;
    const Histogram* values = number.histogram(page.runs[0].fold.merged);
    if (values == nullptr || values->empty()) continue;
    ++measured;
    // Markdown writes a colon as an entity.
    const std::string label(number.label.substr(1, number.label.find(':') - 1));
    for (const std::string& report : reports)
      EXPECT_NE(report.find(label), std::string::npos) << number.name;
  }
  EXPECT_GE(measured, 6u);
}

TEST(Document, DistributionsOfZerosAreNamedAndNotInTheTable) {
  TemporaryDirectory directory;
  const std::string id = store_report_run(directory.file(), {.name = "x"});
  ReportPage page = read_page(directory.file(), {id});
  auto& stretch = page.runs[0].fold.merged.scheduler->busy_stretch;
  auto& oversleep = page.runs[0].fold.merged.scheduler->timer_oversleep;
  stretch.emplace().record_n(0, 5);
  oversleep.emplace().record_n(0, 4);
  oversleep->record(1'000);
  const std::string text = text_report(page);
  EXPECT_THAT(text, ContainsRegex("because all their samples are 0: Busy stretches"));
  EXPECT_THAT(text, Not(HasSubstr("\n  Busy stretches ")));
  EXPECT_THAT(text, ContainsRegex("\n  Timer oversleep +5"));
}

TEST(Document, ChangesHaveTheirSignAndTheUnitsOfTheOthers) {
  Judgement judgement;
  Comparison c;
  c.metric = {"reply_ns", "ns", Better::kLower, 0.1, false};
  c.a = 10'000;
  c.b = 13'200;
  c.change = 3'200;
  judgement.causes = {c};
  c.change = -3'200;
  judgement.causes.push_back(c);
  const auto page = [&] {
    return html_section({"changes", "What changed", sections::causes_of_change(judgement)}).str();
  };
  const std::string html = page();
  EXPECT_THAT(html, HasSubstr("+3.20\u202fµs"));
  EXPECT_THAT(html, HasSubstr("-3.20\u202fµs"));
  EXPECT_THAT(html, HasSubstr("<p>Times are means")) << "nothing is said to be before it";
  judgement.why = "p99 +3.20us";
  EXPECT_THAT(page(), HasSubstr("<p>p99 +3.20us. Times are means"));
}

TEST(Document, OfADoctorSaysWhatMendsWhatAndHandsNothingOn) {
  DoctorReport report;
  report.host.os = "::error::x \x1b[31m";
  report.versions = "topspin 0.1.0\nlibpcap: 1.10\n";
  report.findings = {{"capture", "lo", true, "", ""},
                     {"scheduler", "tp_btf", false, "needs CAP_BPF", "sudo setcap cap_bpf+ep x"},
                     {"capture", "a very long name of an interface", true, "", ""}};
  const std::string text = doctor_text(report);
  EXPECT_THAT(text, ContainsRegex("\nlibpcap +1.10\n"));
  EXPECT_THAT(text, ContainsRegex("\n  ok  capture    lo\n"));
  EXPECT_THAT(text, ContainsRegex("\n  NO  scheduler  tp_btf +needs CAP_BPF\n"
                                  "      fix: sudo setcap cap_bpf[+]ep x\n"));
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
  EXPECT_THAT(text, Not(HasSubstr("\n::error")));
}

LoadResult http_load() {
  LoadResult load;
  load.workload = WorkloadKind::kHttp;
  load.target = "127.0.0.1:80 (::error::x \x1b[31m)";
  load.clients_max = 20;
  load.clients_joined = 20;
  load.own.wall_ns = 2'000'000'000;
  load.own.cpu_ns = 500'000'000;
  load.tcp.emplace();
  load.tcp->connected = 20;
  load.http.emplace();
  load.http->statuses = {{200, 900}, {500, 60}};
  load.kernel.tcp_listen_overflows = 3;
  for (const char* name : {"ramp_up", "hold"}) {
    LoadPart& stage = load.stages.emplace_back();
    stage.name = name;
    stage.accounts.scheduled = 500;
    stage.accounts.sent = 490;
    stage.accounts.never_scheduled = 10;
    stage.accounts.replied = 480;
    stage.accounts.lost = 10;
    stage.accounts.http_errors = 30;
    stage.latency_intended.record_n(2'000'000, 490);
    stage.latency_actual.record_n(1'500'000, 490);
    stage.own_lateness.record_n(100'000, 490);
    load.total.merge(stage);
  }
  return load;
}

TEST(Document, OfALoadHasItsAccountsLatenciesAndStages) {
  LoadResult load = http_load();
  const std::string text = load_result_text(load);
  EXPECT_THAT(text, StartsWith("VALID\n  The generator was not the bottleneck.\n\nworkload"));
  EXPECT_THAT(text, ContainsRegex("\nworkload +http to 127.0.0.1:80 "));
  EXPECT_THAT(text, ContainsRegex("\n  scheduled +1,000 = sent 980 [+] send errors 0 [+] never "
                                  "scheduled 20 [(]blocked 0[)]\n"));
  EXPECT_THAT(text, ContainsRegex("\n  sent +980 = replied 960 [+] late replies 0 [+] lost 20\n"));
  EXPECT_THAT(text, ContainsRegex("\n  blocked +the sent messages waited 392ms in all"));
  EXPECT_THAT(text, ContainsRegex("\n  http +200: 900, 500: 60; bodies 0 B\n"));
  EXPECT_THAT(text, ContainsRegex("\n +60 of 960 answers were errors [(]6.25%[)]\n"));
  EXPECT_THAT(text, ContainsRegex("\n  host +listen overflows 3\n"));
  EXPECT_THAT(text, ContainsRegex("\n  generator +CPU 25.0% of a core"));
  EXPECT_THAT(text, ContainsRegex("\n  From the intended moment +980 +2.00ms +2.00ms"));
  EXPECT_THAT(text, ContainsRegex("\nStages\n  Stage .*\n  ramp_up .*\n  hold .*\n  all "));
  EXPECT_LE(widest_row(text), 100u) << text;
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
  const std::string markdown = load_result_markdown(load, kStepSummaryBytes);
  EXPECT_THAT(markdown, StartsWith("## ✅ Valid\n"));
  EXPECT_THAT(markdown, HasSubstr("### Messages\n"));
  EXPECT_THAT(markdown, HasSubstr("| hold |"));
  load.invalid_reasons = {"nothing was due"};
  EXPECT_THAT(load_result_text(load),
              StartsWith("INVALID\n  These numbers do not describe the server.\n"
                         "  nothing was due\n"));
  load.expects_replies = false;
  EXPECT_THAT(load_result_text(load), ContainsRegex("\n  sent +490 packets/s\n"));
}

TEST(Document, OfAnAaCheckHasItsAlarmsAndWhatEachMetricDetects) {
  AaCheck check;
  EXPECT_EQ(aa_check_text(check), "A/A: not done\n");
  check.trials = 20;
  check.pairs = 5;
  check.passes = 18;
  check.alarm_rate_high = 0.139;
  check.reasons = {"run 7 was left out"};
  check.seed = 1234567;
  AaMetric metric;
  metric.metric.name = "cpu_per_flow";
  metric.metric.margin = 0.05;
  metric.passes = 18;
  check.metrics = {metric};
  const std::string text = aa_check_text(check);
  EXPECT_THAT(text, StartsWith("A/A: 0 false alarms in 20 judgements of 5 pairs: 0% (at most 14%"));
  EXPECT_THAT(text, HasSubstr("\n  18 passed, 2 were inconclusive\n"));
  EXPECT_THAT(text, HasSubstr("\n  run 7 was left out\n"));
  EXPECT_THAT(text, ContainsRegex("\n  cpu_per_flow +5.00% +- +0 +18\n"));
  EXPECT_THAT(text, HasSubstr("seed 1234567;")) << "no thousands: it is typed in again";
}

}  // namespace
}  // namespace topspin::test
